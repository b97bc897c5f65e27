//! What a rule found in a conversation: whether it holds, and a fact that is true either way.

use super::TextDifference;

/// Whether a rule holds, and what was found.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) holds: bool,
    pub(super) fact: String,
    pub(super) diff: Option<TextDifference>,
    /// How much it holds, from 0 to 1; 0 or 1 for most.
    pub(super) score: f64,
}

/// A finding that is right or wrong, with nothing between.
pub(super) fn found(holds: bool, fact: impl Into<String>) -> Finding {
    Finding {
        holds,
        fact: fact.into(),
        diff: None,
        score: if holds { 1.0 } else { 0.0 },
    }
}
