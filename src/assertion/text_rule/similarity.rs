//! How similar two texts are by the runs of words that they share.
//!
//! Both measures are those of promptfoo 0.121, word by word in lower case, so that a threshold means
//! the same.

use std::collections::HashMap;

/// The longest run that counts.
const MOST_WORDS: usize = 4;
/// What an order without a match counts for, so that the others are not lost.
const SMOOTHED: f64 = 1e-7;

/// BLEU of one sentence (Papineni et al. 2002): the geometric mean of clipped precisions of the
/// orders that the candidate is long enough for, times the brevity penalty against the reference of
/// the nearest length. 0 of an empty candidate.
pub(super) fn bleu(candidate: &str, references: &[String]) -> f64 {
    let candidate = words(candidate);
    let references: Vec<Vec<String>> = references.iter().map(|text| words(text)).collect();
    let length = candidate.len();
    let nearest = references
        .iter()
        .map(Vec::len)
        .min_by_key(|other| (other.abs_diff(length), *other));
    let Some(nearest) = nearest.filter(|_| length > 0) else {
        return 0.0;
    };
    let orders = MOST_WORDS.min(length);
    let logs: f64 = (1..=orders)
        .map(|order| {
            let of_candidate = runs(&candidate, order);
            let best = references
                .iter()
                .map(|reference| shared(&of_candidate, &runs(reference, order)))
                .max();
            let total = length - order + 1;
            let precision = best.unwrap_or(0) as f64 / total as f64;
            if precision == 0.0 {
                SMOOTHED.ln()
            } else {
                precision.ln()
            }
        })
        .sum();
    let brevity = match length > nearest {
        true => 1.0,
        false => (1.0 - nearest as f64 / length as f64).exp(),
    };
    brevity * (logs / orders as f64).exp()
}

/// GLEU (Wu et al. 2016, section 6): the smaller of precision and recall over all runs of one to
/// four words; the best reference counts. Full stops at the end of a word are left out.
pub(super) fn gleu(candidate: &str, references: &[String]) -> f64 {
    let bare = |text: &str| -> Vec<String> {
        let words = words(text).into_iter();
        words
            .map(|word| word.trim_end_matches('.').to_owned())
            .collect()
    };
    let candidate = bare(candidate);
    let scores = references.iter().map(|reference| {
        let reference = bare(reference);
        if candidate == reference {
            return 1.0;
        }
        let (mut hits, mut said, mut wanted) = (0, 0, 0);
        for order in 1..=MOST_WORDS {
            hits += shared(&runs(&candidate, order), &runs(&reference, order));
            said += (candidate.len() + 1).saturating_sub(order);
            wanted += (reference.len() + 1).saturating_sub(order);
        }
        match (said, wanted) {
            (0, _) | (_, 0) => 0.0,
            (said, wanted) => hits as f64 / said.max(wanted) as f64,
        }
    });
    scores.fold(0.0, f64::max)
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// How often each run of `order` words comes.
fn runs(words: &[String], order: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for run in words.windows(order) {
        *counts.entry(run).or_insert(0) += 1;
    }
    counts
}

/// Runs of one that come in the other, each as often as it does there at most.
fn shared(one: &HashMap<&[String], usize>, other: &HashMap<&[String], usize>) -> usize {
    one.iter()
        .map(|(run, count)| *count.min(other.get(run).unwrap_or(&0)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "The cat sat on the mat.";

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    /// By hand: of "the cat sat on a mat." 5 of 6 words, 3 of 5 pairs, 2 of 4 and 1 of 3 longer runs
    /// are in the reference.
    #[test]
    fn bleu_is_the_geometric_mean_of_precisions() {
        let expected: f64 = (5.0 / 6.0 * 3.0 / 5.0 * 2.0 / 4.0 * 1.0 / 3.0_f64).powf(0.25);
        close(
            bleu("The cat sat on a mat.", &[REFERENCE.to_owned()]),
            expected,
        );
        close(
            bleu(REFERENCE, &["x".to_owned(), REFERENCE.to_owned()]),
            1.0,
        );
        close(bleu(" ", &[REFERENCE.to_owned()]), 0.0);
        // Two of six words, and so e^(1 - 6/2).
        close(bleu("the cat", &[REFERENCE.to_owned()]), (-2.0_f64).exp());
    }

    /// By hand: 5 + 3 + 2 + 1 runs are shared, of 6 + 5 + 4 + 3 on both sides.
    #[test]
    fn gleu_is_the_smaller_of_precision_and_recall() {
        close(
            gleu("The cat sat on a mat", &[REFERENCE.to_owned()]),
            11.0 / 18.0,
        );
        close(gleu("the cat sat on the mat", &[REFERENCE.to_owned()]), 1.0);
        close(gleu("", &[REFERENCE.to_owned()]), 0.0);
    }
}
