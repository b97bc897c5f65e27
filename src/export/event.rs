//! The events of a run, each one line of JSON while the run goes on.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use super::document::{CaseResult, Outcome, Totals};

/// One line of the stream. Lines of other kinds may be added; `run_started` names the version.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[schemars(title = "loopwatch event")]
pub enum EventLine {
    /// The first line.
    RunStarted {
        /// Version of the documents: 1.
        schema_version: u32,
        /// Name and version of the program.
        tool: String,
        /// Cases that will run now.
        cases: usize,
        /// Cases that an earlier start has recorded.
        recorded: usize,
        /// The part of the plan, such as `2/4`, if it is not the whole.
        #[serde(skip_serializing_if = "Option::is_none")]
        shard: Option<String>,
        /// The record that grows meanwhile.
        record: String,
    },
    /// A case begins.
    CaseStarted {
        /// Milliseconds since the run started.
        at_ms: u64,
        /// Its id.
        id: String,
    },
    /// A case ended, and is on the disk.
    CaseFinished {
        /// Milliseconds since the run started.
        at_ms: u64,
        /// What it means.
        case: Box<CaseResult>,
    },
    /// The last line. A stream without it was cut short.
    RunFinished {
        /// Milliseconds since the run started.
        at_ms: u64,
        /// The outcome of the whole.
        outcome: Outcome,
        /// Totals.
        totals: Totals,
        /// What the program will end with.
        exit_code: u8,
    },
}

impl EventLine {
    /// The line, with its line break.
    ///
    /// # Errors
    /// If a number is not finite.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// The JSON Schema of [`EventLine`], draft-07.
#[must_use]
pub fn event_schema() -> serde_json::Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<EventLine>().to_value()
}
