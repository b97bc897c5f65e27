//! What a detector has to say about a sequence: the state of its loop, and the evidence.
//!
//! All positions count tokens from 0 at the first token read; all lengths are in tokens.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::requested::Requested;

/// The longest stored copy of a repeated block, in tokens.
pub const FRAGMENT_TOKENS: usize = 512;

/// How the copies of a loop resemble each other, which is also what found it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum LoopKind {
    /// Token for token.
    #[default]
    Exact,
    /// But for a number that grows or falls by the same step.
    Counter,
    /// But for numbers and white space.
    Template,
    /// But for some words.
    NearDuplicate,
    /// They are made of the same few phrases, in any order or with more in each round.
    LowNovelty,
    /// Calls of tools, with the same results.
    ToolCalls,
    /// Whole messages of a conversation.
    Replay,
    /// Not known: the model has merely stopped being surprised by what it writes.
    Surprisal,
}

impl LoopKind {
    /// The kinds that are found in what a model writes in one answer.
    pub const OF_TEXT: [Self; 5] = [
        Self::Exact,
        Self::Counter,
        Self::Template,
        Self::NearDuplicate,
        Self::LowNovelty,
    ];

    /// The name in files: that of reports, in one word.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::LowNovelty => "low-novelty",
            Self::ToolCalls => "tool-calls",
            Self::Surprisal => "no-surprise",
            other => other.name(),
        }
    }

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Counter => "counter",
            Self::Template => "template",
            Self::NearDuplicate => "near-duplicate",
            Self::LowNovelty => "low novelty",
            Self::ToolCalls => "tool calls",
            Self::Replay => "replay",
            Self::Surprisal => "no surprise",
        }
    }

    fn is_exact(&self) -> bool {
        *self == Self::Exact
    }
}

/// How far a loop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopState {
    /// Repeats enough for a warning, and still did at the last token read.
    Suspected,
    /// Was suspected, and stopped repeating before it was confirmed. Tables and lists do this.
    Ended,
    /// Repeats enough to call it a loop, and still did at the last token read.
    Confirmed,
    /// Was confirmed and then stopped repeating, and no other loop was confirmed after it.
    Recovered,
    /// Was confirmed and then stopped repeating, but another loop was confirmed as well. So it
    /// goes when one token of a loop changes, or when each copy of a long block contains a loop.
    Relapsed,
}

impl LoopState {
    /// The state in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspected => "suspected",
            Self::Ended => "ended",
            Self::Confirmed => "confirmed",
            Self::Recovered => "recovered",
            Self::Relapsed => "relapsed",
        }
    }

    /// Whether the repetition was enough to call it a loop, whatever became of it.
    #[must_use]
    pub fn is_confirmed(self) -> bool {
        matches!(self, Self::Confirmed | Self::Recovered | Self::Relapsed)
    }

    /// Whether the repetition went on to the last token read.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, Self::Suspected | Self::Confirmed)
    }
}

/// Something that became known with one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// How the copies of the loop resemble each other.
    pub kind: LoopKind,
    /// What the loop became; never [`LoopState::Relapsed`], which only a whole sequence can be.
    pub state: LoopState,
    /// The length of the repeated block, in tokens.
    pub period: usize,
    /// The first token of the first copy.
    pub onset: usize,
    /// The token that told.
    pub at: usize,
}

impl Change {
    /// Which of two changes at one token is reported: news of a loop before its end.
    pub(super) fn urgency(&self) -> u8 {
        match self.state {
            LoopState::Confirmed => 3,
            LoopState::Suspected => 2,
            LoopState::Recovered | LoopState::Relapsed => 1,
            LoopState::Ended => 0,
        }
    }
}

/// The loop found in a sequence, with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopVerdict {
    /// How its copies resemble each other. Only exact loops are ever confirmed.
    #[serde(default, skip_serializing_if = "LoopKind::is_exact")]
    pub kind: LoopKind,
    /// How far the loop came.
    pub state: LoopState,
    /// The length of the repeated block in tokens. The block is primitive: it is not itself a
    /// repetition of a shorter one.
    pub period: usize,
    /// The length of the whole repetition in tokens, an unfinished last copy included.
    pub span: usize,
    /// The first token of the first copy.
    pub onset: usize,
    /// The token at which the loop became suspected.
    pub suspected_at: usize,
    /// The token at which the loop became what the verdict says: confirmed if it ever was,
    /// suspected otherwise.
    pub detected_at: usize,
    /// The earliest token at which any detector with the same thresholds could have fired: where
    /// the copies and the tokens they ask for are first complete.
    pub earliest_possible: usize,
    /// The first token that broke the repetition; `None` while it goes on.
    pub ended_at: Option<usize>,
    /// The tokens after the first copy: what the repetition cost.
    pub wasted_tokens: usize,
    /// The first copy, cut after [`FRAGMENT_TOKENS`].
    pub fragment_tokens: Vec<u32>,
    /// The first byte of the first copy, where text was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset_byte: Option<usize>,
    /// What the loop is part of, where text was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Whether the prompt asked for it.
    #[serde(default, skip_serializing_if = "Requested::is_unknown")]
    pub requested: Requested,
}

impl LoopVerdict {
    /// How often the block came, with the fraction of an unfinished last copy.
    #[must_use]
    pub fn copies(&self) -> f64 {
        self.span as f64 / self.period as f64
    }

    /// How many tokens later than possible the loop was noticed. The detector promises 0.
    #[must_use]
    pub fn delay(&self) -> usize {
        self.detected_at.saturating_sub(self.earliest_possible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> LoopVerdict {
        LoopVerdict {
            kind: LoopKind::Exact,
            state: LoopState::Recovered,
            period: 4,
            span: 202,
            onset: 10,
            suspected_at: 105,
            detected_at: 201,
            earliest_possible: 201,
            ended_at: Some(212),
            wasted_tokens: 198,
            fragment_tokens: vec![1, 2, 3, 4],
            onset_byte: None,
            context: None,
            requested: Requested::Unknown,
        }
    }

    #[test]
    fn copies_are_rational() {
        assert_eq!(verdict().copies(), 50.5);
        assert_eq!(verdict().delay(), 0);
    }

    #[test]
    fn a_verdict_survives_json_and_refuses_unknown_fields() {
        let json = serde_json::to_string(&verdict()).unwrap_or_default();
        assert!(json.starts_with(r#"{"state":"recovered","period":4,"#));
        assert_eq!(serde_json::from_str(&json).ok(), Some(verdict()));
        let unknown = json.replacen('{', r#"{"confidence":0.999,"#, 1);
        assert!(serde_json::from_str::<LoopVerdict>(&unknown).is_err());
    }
}
