//! The lines of `record.jsonl`, versioned.
//!
//! A record starts with one [`Line::Run`], has one [`Line::Case`] per finished case in the order
//! in which they ended (each says its place in the plan), and closes with one [`Line::End`]. A record without its closing line was
//! interrupted; what it holds is still good.

use serde::{Deserialize, Serialize};

use crate::assertion::{AssertionSpec, Judgement, Quarantine, Rerun};
use crate::generation::{Conversation, SamplingParams, SamplingSettings, TemplateVariables};

/// Version of the format; a reader refuses others.
pub const FORMAT_VERSION: u32 = 1;

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first line: what ran, where, and with which command.
    Run(Box<Provenance>),
    /// One finished case.
    Case(Box<CaseRecord>),
    /// The last line.
    End(Summary),
}

/// What ran, where, and with which command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// [`FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// Name and version of the tool, such as `loopwatch 0.1.0`.
    pub tool: String,
    /// The command line, program name first.
    pub command: Vec<String>,
    /// Start of the run, RFC 3339 in UTC.
    pub started_at: String,
    /// Operating system and architecture, such as `linux x86_64`.
    pub platform: String,
    /// The processor's name, where the system tells it.
    pub processor: String,
    /// Threads that the engine used.
    pub threads: usize,
    /// Most conversations that were held at the same time. Times of one in company are not those
    /// of one alone; cases that judge a time ran alone whatever stands here.
    #[serde(default = "one")]
    pub jobs: usize,
    /// Settings laid over every scenario with `--set`, as `key=value`.
    pub overrides: Vec<String>,
    /// Environment variables that changed a default, as `NAME=value`.
    pub environment: Vec<String>,
    /// The models that were loaded.
    pub models: Vec<ModelProvenance>,
    /// What was to be run, so that a reader can tell what is missing, and a later start can go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanProvenance>,
}

/// What a run was to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanProvenance {
    /// SHA-256 over everything that decides what is asked and how it is judged, in all shards
    /// together; hexadecimal. Runs with one plan can be merged, and continued.
    pub sha256: String,
    /// Cases of all shards together.
    pub total: usize,
    /// Which part of the plan this run takes; nothing for the whole of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardProvenance>,
    /// The cases of this run, in the order of the plan.
    pub selected: Vec<PlannedCase>,
    /// What groups of cases of the whole plan must hold together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<PlannedThreshold>,
}

/// A threshold over a group of cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedThreshold {
    /// What is looked at, such as `ttft`.
    pub metric: String,
    /// What is asked, such as `p95 < 500ms`.
    pub expression: String,
    /// Of the tests with this tag; of all of the scenario without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Path of the scenario file as given.
    pub scenario: String,
    /// The file where it stands, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file, counted from 1.
    pub line: usize,
    /// The column in that line, counted from 1.
    pub column: usize,
    /// Every case of the group, also those that this run leaves out.
    pub cases: Vec<String>,
}

/// A part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardProvenance {
    /// Which part, from 1.
    pub index: usize,
    /// How many parts there are.
    pub count: usize,
}

impl std::fmt::Display for ShardProvenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A case that is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCase {
    /// Its id.
    pub id: String,
    /// Its place in the whole plan, from 0.
    pub index: usize,
    /// Path of the scenario file as given.
    pub scenario: String,
    /// Line of the test in that file, counted from 1.
    pub line: usize,
}

/// Before there were jobs, there was one.
fn one() -> usize {
    1
}

/// Which model was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelProvenance {
    /// The name as the scenario gives it, such as `builtin:readme`.
    pub name: String,
    /// One line: architecture, parameters, quantisation.
    pub description: String,
    /// SHA-256 over the weights, hexadecimal; empty where they are a server's.
    pub weights_sha256: String,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseVerdict {
    /// Every assertion held, and the control failed as it must.
    Passed,
    /// An assertion failed, or the control did not fail as it must.
    Failed,
    /// The target could not answer.
    Errored,
}

/// One case: the run under test and, where the scenario has one, its control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRecord {
    /// `<scenario>/<test>`, unique in the run.
    pub id: String,
    /// Its place in the whole plan, from 0; a shard has some of the places.
    #[serde(default)]
    pub index: usize,
    /// Path of the scenario file as given.
    pub scenario: String,
    /// Line of the test in that file, counted from 1.
    pub scenario_line: usize,
    /// What the scenario is about, one line.
    pub description: String,
    /// Why the scenario exists.
    pub why: String,
    /// The model's name.
    pub model: String,
    /// Who answered, such as `openai:http://127.0.0.1:8080/v1`; nothing for this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Variables that the chat template was given.
    #[serde(default, skip_serializing_if = "TemplateVariables::is_empty")]
    pub template: TemplateVariables,
    /// The assertions, so that the record can be judged again.
    pub assertions: Vec<AssertionSpec>,
    /// The verdict over run and control together.
    pub verdict: CaseVerdict,
    /// The run under test. If there were several, one that tells why they pass or fail together.
    pub run: RunRecord,
    /// The other runs, where the case is run several times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
    /// The same run with the cure removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlRecord>,
    /// Until when its failures are excused, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
}

impl CaseRecord {
    /// The runs under test in the order in which they were asked for: all of them where the case is
    /// run several times, or else the one.
    #[must_use]
    pub fn runs(&self) -> Vec<&RunRecord> {
        let (others, shown) = match &self.repeats {
            Some(repeats) => (repeats.others.as_slice(), repeats.shown),
            None => (&[][..], 0),
        };
        let mut runs: Vec<&RunRecord> = others.iter().collect();
        runs.insert(shown.min(runs.len()), &self.run);
        runs
    }
}

/// What several runs of one case came to together, and those that are not shown as its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeats {
    /// When they pass together, as written, such as `at_least 4/5`.
    pub reduce: String,
    /// How many passed.
    pub passed: usize,
    /// Which of them, from 0, is the case's run.
    pub shown: usize,
    /// The other runs, in their order.
    pub others: Vec<RunRecord>,
}

/// One execution of a case's conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The sampling parameters that were used.
    pub sampling: SamplingParams,
    /// Everything that was said, as far as it came.
    pub conversation: Conversation,
    /// What the assertions say of it.
    pub judgement: Judgement,
    /// The same conversation, held once more in the ways that assertions ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reruns: Vec<Rerun>,
    /// Why the target could not finish, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The control: what was changed, what must fail because of it, and what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlRecord {
    /// The sampling fields that the control changes.
    pub sampling: SamplingSettings,
    /// The types of the assertions that must fail, such as `not-loop`.
    pub must_fail: Vec<String>,
    /// The assertions of `must_fail` that held although they had to fail; empty if the control
    /// did its work.
    pub held: Vec<String>,
    /// The execution.
    pub run: RunRecord,
}

/// Totals over the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases whose target could not answer.
    pub errored: usize,
    /// Cases that were selected but not run, because the run was interrupted.
    pub not_run: usize,
    /// Milliseconds from the start of the run to its end, model loading included.
    pub wall_ms: u64,
}

impl Summary {
    /// Counts one more case that has ended.
    pub fn count(&mut self, verdict: CaseVerdict) {
        match verdict {
            CaseVerdict::Passed => self.passed += 1,
            CaseVerdict::Failed => self.failed += 1,
            CaseVerdict::Errored => self.errored += 1,
        }
    }
}
