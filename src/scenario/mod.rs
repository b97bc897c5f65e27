//! Reads scenario files, refuses anything it does not understand, and yields checked scenarios.
//!
//! `wire` is a file as written, `layers` the files that it extends; [`Scenario::load`] lowers them
//! once into types that cannot be wrong. Every error names file, line and column, and what would be right. This module does not
//! run anything and does not know targets.

mod asserted;
mod assertion_wire;
mod layers;
mod limits;
mod lower;
mod lower_test;
mod mock;
mod redacted;
mod schema;
mod slug;
mod template;
mod thresholds;
mod tool_names;
mod tools;
mod variables;
mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

pub use mock::{MockTools, Mocked};
pub use schema::json_schema;
pub use slug::slug;
pub use thresholds::GroupThreshold;
pub use wire::LimitsWire;

use crate::assertion::{Assertion, AssertionSpec, Quarantine, Repeat};
use crate::endpoint::TargetWire;
use crate::generation::{Message, SamplingSettings, TemplateVariables};
use crate::yaml::{self, YamlError};

/// The model of a scenario that names none.
pub const DEFAULT_MODEL: &str = "builtin:readme";
/// Most bytes of a scenario file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A checked scenario file.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its path as given.
    pub path: String,
    /// The file's name without its ending; the first half of case ids.
    pub name: String,
    /// What it is about, one line.
    pub description: String,
    /// Why it exists.
    pub why: String,
    /// Labels to select by.
    pub tags: Vec<String>,
    /// The model that answers.
    pub model: ModelName,
    /// Who answers, as written.
    pub target: TargetWire,
    /// Its tests, at least one.
    pub tests: Vec<Test>,
    /// What groups of its tests must hold together.
    pub thresholds: Vec<GroupThreshold>,
}

/// The name of a model. Folders and scripts in it are relative to the scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    /// As written. It names snapshots and stands in records, so it is the same wherever the
    /// repository lies.
    pub written: String,
    /// With its path resolved: what is loaded.
    pub resolved: String,
}

/// One test of a scenario: a conversation and what is asked of it.
#[derive(Debug, Clone)]
pub struct Test {
    /// Unique in the file: the id as written and, for one of several values, `+value`.
    pub id: String,
    /// The line where it stands, counted from 1.
    pub line: usize,
    /// Labels beside those of the file.
    pub tags: Vec<String>,
    /// What is said.
    pub script: Script,
    /// The tools that it may call.
    pub tools: MockTools,
    /// The file's sampling settings with the test's laid over them.
    pub sampling: SamplingSettings,
    /// The file's limits with the test's laid over them.
    pub limits: LimitsWire,
    /// The file's template variables with the test's laid over them.
    pub template: TemplateVariables,
    /// The same run with the cure removed, if there is one.
    pub control: Option<Control>,
    /// How often it is run, if more than once.
    pub repeat: Option<Repeat>,
    /// Until when its failures are excused, if they are.
    pub quarantine: Option<Quarantine>,
    /// What must hold, at least one.
    pub assertions: Vec<Assertion>,
    /// The same as written, for records.
    pub specs: Vec<AssertionSpec>,
}

/// What is said to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// The user's turns, each answered before the next.
    Turns {
        /// A system message before the first.
        system: Option<String>,
        /// What the user says.
        turns: Vec<String>,
    },
    /// A history that ends with the user, answered once.
    Messages(Vec<Message>),
    /// Text to continue, without a chat template.
    Prompt(String),
}

/// The same run with the cure removed: it must fail as stated, or the scenario proves nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// Laid over the sampling settings of the run.
    pub sampling: SamplingSettings,
    /// The types of the assertions that must fail, at least one.
    pub must_fail: Vec<String>,
}

/// Bounds on one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most generations in one conversation.
    pub max_turns: usize,
    /// Longest time for one conversation.
    pub time_limit: Duration,
    /// Most tokens of all its generations together.
    pub token_limit: Option<usize>,
    /// Longest pause of a generation once its first token has come.
    pub stall_limit: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_turns: 8,
            time_limit: Duration::from_secs(120),
            token_limit: None,
            stall_limit: None,
        }
    }
}

impl Scenario {
    /// Reads a scenario file, the files it extends, and the fixtures they name.
    ///
    /// # Errors
    /// If the file or a fixture cannot be read, or anything in it is not understood.
    pub fn load(path: &Path) -> Result<Self, YamlError> {
        let help = "give the path of a scenario file; 'loopwatch init' writes one";
        let text = yaml::read_text(path, MAX_FILE_BYTES, help)?;
        Self::parse(path, &text)
    }

    /// Reads a scenario from its text. Other files are looked for beside `path`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str) -> Result<Self, YamlError> {
        lower::lower(path, text)
    }
}

/// A commented scenario to begin with.
#[must_use]
pub fn starter() -> &'static str {
    include_str!("starter.yaml")
}
