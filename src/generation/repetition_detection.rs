//! `repetition_detection`, as vLLM names and means it: which repetition at its end ends an answer.
//!
//! It knows the rule's numbers and their ranges. Who compares the tokens is not its business.

use serde::{Deserialize, Serialize};

use super::SamplingError;

/// Longest block that can be looked for, in tokens: every answer counts once for each length.
const MOST_PATTERN_SIZE: usize = 65_536;

/// An answer ends once some block of tokens stands `min_count` times in a row at its end.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct RepetitionDetection {
    /// Tokens of the longest block; 0, the default, switches the rule off. At most 65,536.
    pub max_pattern_size: usize,
    /// Tokens of the shortest block, at most `max_pattern_size`; 0, the default, means 1.
    pub min_pattern_size: usize,
    /// How often the block has to stand there, at least 2.
    pub min_count: usize,
}

impl RepetitionDetection {
    /// The rule, or `None` if it is switched off.
    ///
    /// # Errors
    /// The first number out of its range, by name.
    pub(super) fn resolve(self) -> Result<Option<Self>, SamplingError> {
        let refusal = |field, value: usize, expected: String| {
            Err(SamplingError {
                field,
                value: value.to_string(),
                expected,
            })
        };
        let most = self.max_pattern_size;
        if self.min_pattern_size > most {
            let expected = format!("at most max_pattern_size, which is {most}");
            let field = "repetition_detection.min_pattern_size";
            return refusal(field, self.min_pattern_size, expected);
        }
        if most == 0 {
            return Ok(None);
        }
        if most > MOST_PATTERN_SIZE {
            let expected = format!("at most {MOST_PATTERN_SIZE}");
            return refusal("repetition_detection.max_pattern_size", most, expected);
        }
        if self.min_count < 2 {
            let expected = "at least 2 (a max_pattern_size of 0 switches it off)".to_owned();
            let field = "repetition_detection.min_count";
            return refusal(field, self.min_count, expected);
        }
        Ok(Some(self))
    }
}
