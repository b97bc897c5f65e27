//! The results of judging: one check per assertion, and the loops that were seen.

use serde::{Deserialize, Serialize};

use crate::loops::LoopVerdict;

/// Whether an assertion held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// It held.
    Passed,
    /// It did not hold.
    Failed,
}

/// One assertion, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The assertion as the scenario names it, such as `not-loop`,
    /// `contains "tokio"` or `turn 2: not-loop`.
    pub label: String,
    /// Its type alone, such as `not-loop`.
    pub kind: String,
    /// The turn of the user to whose answers it belongs, from 1; the whole conversation without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<usize>,
    /// The file where it stands, if that is not the scenario's: one that the scenario extends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file where it stands, counted from 1.
    pub line: usize,
    /// Whether it held.
    pub status: CheckStatus,
    /// Why, in one sentence or a few lines: what was expected and what was found.
    pub message: String,
    /// The texts around the first difference, where a text was compared with another and differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<TextDifference>,
}

/// Two texts that should be the same, cut around their first difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextDifference {
    /// What was expected.
    pub expected: String,
    /// What came.
    pub actual: String,
}

impl Check {
    /// Whether the assertion did not hold.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.status == CheckStatus::Failed
    }
}

/// A loop in one generation of the conversation, with its fragment as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopEvidence {
    /// Index of the exchange in the conversation.
    pub exchange: usize,
    /// The detector's verdict, in tokens of that generation.
    pub verdict: LoopVerdict,
    /// The repeated unit as text, escaped and at most 200 characters.
    pub fragment: String,
}

/// All checks of one run of a case, and every loop the detector saw in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// In the order of the scenario file.
    pub checks: Vec<Check>,
    /// In the order of the conversation; at most one per generation.
    pub loops: Vec<LoopEvidence>,
}

impl Judgement {
    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.failed())
    }

    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }
}
