//! The stretch of time in which all sequences of a batch decode together.

use std::time::{Duration, Instant};

/// How long `steps` decode steps of all sequences took, from the times of their tokens.
///
/// It begins with the first token of the sequence that joined last, so no prefill is in it, and
/// ends when each sequence has `steps` more tokens: exactly `steps` tokens of every sequence lie
/// behind the beginning and up to the end. `None` if one of them has not that many.
pub(super) fn together(times: &[Vec<Instant>], steps: usize) -> Option<Duration> {
    let first_tokens = times.iter().map(|tokens| tokens.first().copied());
    let start = first_tokens
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()?;
    let last_tokens = times.iter().map(|tokens| {
        let before = tokens.partition_point(|at| *at <= start);
        tokens.get(before + steps.checked_sub(1)?).copied()
    });
    let end = last_tokens.collect::<Option<Vec<_>>>()?.into_iter().max()?;
    Some(end.duration_since(start))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one_sequence(vec![vec![5, 10, 20, 30]], 3, Some(25))]
    #[case::fewer_steps_than_there_are(vec![vec![5, 10, 20, 30]], 2, Some(15))]
    #[case::the_first_decodes_alone_until_the_last_joins(
        vec![vec![1, 2, 3, 13, 23, 33], vec![4, 14, 24]], 2, Some(20)
    )]
    #[case::the_last_to_join_is_the_first_in_a_step(
        vec![vec![4, 14, 24], vec![1, 5, 15, 25]], 2, Some(20)
    )]
    #[case::one_ended_too_early(vec![vec![1, 2, 3, 13], vec![4, 14, 24]], 2, None)]
    #[case::no_token_at_all(vec![vec![], vec![4, 14, 24]], 2, None)]
    #[case::no_sequence(vec![], 2, None)]
    fn it_begins_when_all_have_a_token(
        #[case] times: Vec<Vec<u64>>,
        #[case] steps: usize,
        #[case] expected: Option<u64>,
    ) {
        let zero = Instant::now();
        let at = |ms: &u64| zero + Duration::from_millis(*ms);
        let times: Vec<Vec<Instant>> = times
            .iter()
            .map(|tokens| tokens.iter().map(at).collect())
            .collect();
        assert_eq!(together(&times, steps), expected.map(Duration::from_millis));
    }
}
