//! A threshold over a group of cases, as other programs read it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::gate::{Status, Verdict};

/// How a threshold came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdOutcome {
    /// It holds.
    Held,
    /// It does not hold.
    Broken,
    /// Some of its cases have not run, or could not be asked.
    NotJudged,
}

/// What a group of cases had to hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ThresholdResult {
    /// In words, such as `ttft{slow} p95 < 2000ms`.
    pub label: String,
    /// How it came out.
    pub outcome: ThresholdOutcome,
    /// The value that was measured, or why there is none.
    pub message: String,
    /// Path of the scenario file.
    pub scenario: String,
    /// The file where it stands.
    pub file: String,
    /// The line of that file, counted from 1.
    pub line: usize,
    /// The column in that line, counted from 1.
    pub column: usize,
}

impl ThresholdResult {
    pub(super) fn of(verdict: &Verdict, locate: &dyn Fn(&str) -> String) -> Self {
        Self {
            label: verdict.label(),
            outcome: match verdict.status {
                Status::Held => ThresholdOutcome::Held,
                Status::Broken => ThresholdOutcome::Broken,
                Status::NotJudged => ThresholdOutcome::NotJudged,
            },
            message: verdict.fact.clone(),
            scenario: locate(&verdict.planned.scenario),
            file: locate(verdict.file()),
            line: verdict.planned.line,
            column: verdict.planned.column,
        }
    }
}
