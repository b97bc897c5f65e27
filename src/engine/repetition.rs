//! Watches one answer for the repetition that is to end it: vLLM's rule, one token at a time.
//!
//! Knows token ids. Whether the answer ends for another reason first is not its business.

use crate::generation::RepetitionDetection;

/// The tokens of one answer, compared with those before them.
///
/// vLLM compares whole blocks at every token (`vllm/v1/core/sched/utils.py`,
/// `check_sequence_repetition`). A counter for each length tells the same: how many of the newest
/// tokens equal the one that far before them.
#[derive(Debug)]
pub(super) struct RepetitionWatch {
    rule: RepetitionDetection,
    tokens: Vec<u32>,
    /// At `length - 1`.
    equal: Vec<usize>,
}

impl RepetitionWatch {
    pub(super) fn new(rule: RepetitionDetection) -> Self {
        Self {
            rule,
            tokens: Vec::new(),
            equal: Vec::new(),
        }
    }

    /// Takes a token. True if some block now stands often enough at the end.
    pub(super) fn push(&mut self, token: u32) -> bool {
        let copies = self.rule.min_count.saturating_sub(1);
        let shortest = self.rule.min_pattern_size.max(1);
        let reach = self.tokens.len().min(self.rule.max_pattern_size);
        self.equal.resize(reach, 0);
        let before = self.tokens.iter().rev();
        let mut met = false;
        for (length, (equal, before)) in (1..).zip(self.equal.iter_mut().zip(before)) {
            *equal = if *before == token { *equal + 1 } else { 0 };
            met |= length >= shortest && *equal >= copies.saturating_mul(length);
        }
        self.tokens.push(token);
        met
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule as vLLM writes it.
    fn as_vllm(tokens: &[u32], rule: RepetitionDetection) -> bool {
        let repeats = |length: usize| {
            let enough = length.saturating_mul(rule.min_count) <= tokens.len();
            enough && {
                let last = &tokens[tokens.len() - length * rule.min_count..];
                last.iter().zip(&last[length..]).all(|(a, b)| a == b)
            }
        };
        (rule.min_pattern_size.max(1)..=rule.max_pattern_size).any(repeats)
    }

    fn first(tokens: &[u32], rule: RepetitionDetection) -> Option<usize> {
        let mut watch = RepetitionWatch::new(rule);
        tokens.iter().position(|token| watch.push(*token))
    }

    fn rule(
        max_pattern_size: usize,
        min_pattern_size: usize,
        min_count: usize,
    ) -> RepetitionDetection {
        RepetitionDetection {
            max_pattern_size,
            min_pattern_size,
            min_count,
        }
    }

    #[test]
    fn the_end_is_the_token_that_completes_the_last_copy() {
        let tokens = [9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1];
        assert_eq!(first(&tokens, rule(3, 2, 3)), Some(9));
        assert_eq!(first(&tokens, rule(3, 0, 2)), Some(6));
        assert_eq!(first(&tokens, rule(2, 0, 2)), None, "the block has three");
        assert_eq!(
            first(&tokens, rule(5, 4, 2)),
            None,
            "shorter than asked for"
        );
        assert_eq!(
            first(&[7, 7, 7, 7], rule(4, 2, 2)),
            Some(3),
            "two of (7, 7)"
        );
        assert_eq!(first(&[7; 4], rule(1, 1, usize::MAX)), None);
    }

    proptest! {
        #[test]
        fn it_is_vllms_rule(
            tokens in prop::collection::vec(0..3_u32, 0..60),
            longest in 1..12_usize,
            shortest in 0..6_usize,
            count in 2..5_usize,
        ) {
            let rule = rule(longest, shortest.min(longest), count);
            let expected = (0..tokens.len()).find(|at| as_vllm(&tokens[..=*at], rule));
            prop_assert_eq!(first(&tokens, rule), expected);
        }
    }
}
