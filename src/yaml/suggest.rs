//! "Did you mean": the nearest of the words that would have been right.

/// The known word that `word` most likely stands for, if one is near enough.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            (strsim::damerau_levenshtein(&word, &lower), candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().max(word.chars().count()) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The remedy for an unknown word: the nearest known one, or all of them.
#[must_use]
pub fn remedy(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("asert", Some("assert"))]
    #[case("assret", Some("assert"))]
    #[case("Assert", Some("assert"))]
    #[case("sampling", None)]
    #[case("i", Some("id"))]
    fn the_nearest_word_within_a_third_of_its_length(
        #[case] word: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(nearest(word, ["assert", "id", "turns"]), expected);
    }
}
