//! A run as one JSON document: what a gate, and whoever looks behind it, wants to know.
//!
//! Unlike the record it has no tokens and no texts of answers. Its fields are a promise, with a
//! schema and a version.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use super::problem::{Problem, problems};
use super::threshold::ThresholdResult;
use crate::gate::{Excuse, Gate};
use crate::metrics::Timings;
use crate::record::{
    CaseRecord, CaseVerdict, ControlRecord, ModelProvenance, PlannedCase, Record, Repeats,
    RunRecord,
};

/// Version of the document. A field that changes its meaning, or goes, makes a new one; a new
/// field does not.
pub const SCHEMA_VERSION: u32 = 1;

/// How a run, a case or a control ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything held.
    Passed,
    /// An assertion did not hold, or a control did not fail as it must.
    Failed,
    /// A target could not answer.
    Errored,
    /// Nothing failed so far, and something has not been run.
    Incomplete,
}

impl Outcome {
    /// The word in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Incomplete => "incomplete",
        }
    }

    pub(super) fn of(verdict: CaseVerdict) -> Self {
        match verdict {
            CaseVerdict::Passed => Self::Passed,
            CaseVerdict::Failed => Self::Failed,
            CaseVerdict::Errored => Self::Errored,
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "loopwatch results")]
pub struct Document {
    /// Version of this format: 1.
    pub schema_version: u32,
    /// Name and version of the program that ran.
    pub tool: String,
    /// The command line, program name first.
    pub command: Vec<String>,
    /// Start of the run, RFC 3339 in UTC.
    pub started_at: String,
    /// Operating system and architecture.
    pub platform: String,
    /// The processor's name, where the system tells it.
    pub processor: String,
    /// What was laid over every scenario.
    pub overrides: Vec<String>,
    /// Environment variables that changed a default.
    pub environment: Vec<String>,
    /// The models that were loaded.
    pub models: Vec<Model>,
    /// The part of the plan that this run took, such as `2/4`, if it was not the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The worst of the cases' outcomes, or `incomplete`.
    pub outcome: Outcome,
    /// Totals.
    pub totals: Totals,
    /// What groups of cases had to hold together.
    pub thresholds: Vec<ThresholdResult>,
    /// Every case that ran, in the order of the plan.
    pub cases: Vec<CaseResult>,
    /// Cases that were selected and did not run, as far as they are known.
    pub not_run: Vec<NotRun>,
}

/// Totals of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases whose target could not answer.
    pub errored: usize,
    /// Cases that did not run.
    pub not_run: usize,
    /// Milliseconds from start to end; absent if the run could not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Model {
    /// As the scenario names it.
    pub name: String,
    /// Architecture, parameters, quantisation; or the server's address.
    pub description: String,
    /// SHA-256 over the weights; empty where they are a server's.
    pub weights_sha256: String,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CaseResult {
    /// `<scenario>/<test>`, and `@<target>` if there are several.
    pub id: String,
    /// Path of the scenario file.
    pub scenario: String,
    /// Line of the test in it, counted from 1.
    pub line: usize,
    /// What the scenario is about.
    pub description: String,
    /// Why it exists.
    pub why: String,
    /// How it ended, the control counted in.
    pub outcome: Outcome,
    /// The model's name.
    pub model: String,
    /// Who answered; absent for this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Seed of the sampler, where one was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Assertions of the case.
    pub assertions: usize,
    /// Generated tokens, all generations together.
    pub output_tokens: usize,
    /// Time to the first token of the first generation, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// All generations together, from request to last event.
    pub duration_ms: f64,
    /// The runs of a case that is run several times; what else stands here is of one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RepeatResult>,
    /// What excuses its failure, until when: absent if it passed, or if nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excused: Option<String>,
    /// Requests that were sent again, and passed or failed in the end.
    pub retries: usize,
    /// What keeps it from passing: nothing if it passed.
    pub problems: Vec<Problem>,
    /// Loops that were seen in the run under test, whether or not an assertion asks for them.
    pub loops: Vec<LoopResult>,
    /// The same run with the cure removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlResult>,
}

/// One loop. Positions and lengths are tokens, or units of text where the tokens are not known.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LoopResult {
    /// The generation, from 1.
    pub generation: usize,
    /// How far it came: suspected, ended, confirmed, recovered or relapsed.
    pub state: String,
    /// How its copies resemble each other, such as `exact`.
    pub kind: String,
    /// Length of the repeated block.
    pub period: usize,
    /// How often it came.
    pub copies: f64,
    /// Where the first copy begins, from 0.
    pub onset: usize,
    /// The repeated block, escaped and cut.
    pub fragment: String,
}

/// The runs of a case that is run several times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RepeatResult {
    /// How many there were.
    pub runs: usize,
    /// How many passed.
    pub passed: usize,
    /// When they pass together, such as `at_least 4/5`.
    pub reduce: String,
}

/// A control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ControlResult {
    /// `passed` if it failed as it must.
    pub outcome: Outcome,
    /// Assertions that it must fail.
    pub must_fail: Vec<String>,
    /// Those of them that held.
    pub held: Vec<String>,
}

/// A case that did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotRun {
    /// Its id.
    pub id: String,
    /// Path of the scenario file.
    pub scenario: String,
    /// Line of the test in it.
    pub line: usize,
}

impl Document {
    /// What a record means. `locate` turns the path of a scenario as it was given into the path
    /// that readers look for.
    #[must_use]
    pub fn of(record: &Record, locate: &dyn Fn(&str) -> String) -> Self {
        let cases: Vec<CaseResult> = record
            .cases
            .iter()
            .map(|case| CaseResult::of(case, &record.provenance.started_at, locate))
            .collect();
        let not_run = not_run(record, locate);
        let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
        let unknown = record.summary.map_or(0, |summary| summary.not_run);
        let totals = Totals {
            passed: count(Outcome::Passed),
            failed: count(Outcome::Failed),
            errored: count(Outcome::Errored),
            not_run: not_run.len().max(unknown),
            wall_ms: record.summary.map(|summary| summary.wall_ms),
        };
        let gate = Gate::of(record);
        let provenance = &record.provenance;
        let shard = provenance.plan.as_ref().and_then(|plan| plan.shard);
        Self {
            schema_version: SCHEMA_VERSION,
            tool: provenance.tool.clone(),
            command: provenance.command.clone(),
            started_at: provenance.started_at.clone(),
            platform: provenance.platform.clone(),
            processor: provenance.processor.clone(),
            overrides: provenance.overrides.clone(),
            environment: provenance.environment.clone(),
            models: provenance.models.iter().map(Model::of).collect(),
            shard: shard.map(|shard| shard.to_string()),
            outcome: totals.outcome(record.summary.is_none(), &gate),
            totals,
            thresholds: gate
                .verdicts
                .iter()
                .map(|verdict| ThresholdResult::of(verdict, locate))
                .collect(),
            cases,
            not_run,
        }
    }

    /// The document as text, with a line break at its end.
    ///
    /// # Errors
    /// If a number is not finite.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Totals {
    fn outcome(&self, unfinished: bool, gate: &Gate) -> Outcome {
        if self.errored > 0 {
            Outcome::Errored
        } else if self.failed > gate.tolerated || gate.is_broken() {
            Outcome::Failed
        } else if self.not_run > 0 || unfinished {
            Outcome::Incomplete
        } else {
            Outcome::Passed
        }
    }
}

impl Model {
    fn of(model: &ModelProvenance) -> Self {
        Self {
            name: model.name.clone(),
            description: model.description.clone(),
            weights_sha256: model.weights_sha256.clone(),
        }
    }
}

/// The cases of the plan that are not in the record.
fn not_run(record: &Record, locate: &dyn Fn(&str) -> String) -> Vec<NotRun> {
    let ran: std::collections::HashSet<&str> =
        record.cases.iter().map(|case| case.id.as_str()).collect();
    let plan = record.provenance.plan.as_ref();
    let planned: &[PlannedCase] = plan.map_or(&[], |plan| &plan.selected);
    let missing = planned
        .iter()
        .filter(|case| !ran.contains(case.id.as_str()));
    missing
        .map(|case| NotRun {
            id: case.id.clone(),
            scenario: locate(&case.scenario),
            line: case.line,
        })
        .collect()
}

impl CaseResult {
    /// What the record of a case means, in a run that began at this time.
    #[must_use]
    pub fn of(case: &CaseRecord, started_at: &str, locate: &dyn Fn(&str) -> String) -> Self {
        let holds = Excuse::of(case, started_at) == Some(Excuse::Holds);
        let quarantine = case.quarantine.as_ref().filter(|_| holds);
        let exchanges = &case.run.conversation.exchanges;
        let first = exchanges.first();
        let duration_us: u64 = exchanges
            .iter()
            .map(|exchange| exchange.transcript.e2e_us)
            .sum();
        let control = case.control.as_ref();
        let runs = std::iter::once(&case.run).chain(control.map(|control| &control.run));
        let others = case.repeats.iter().flat_map(|repeats| &repeats.others);
        let all = runs
            .chain(others)
            .flat_map(|run| &run.conversation.exchanges);
        Self {
            id: case.id.clone(),
            scenario: locate(&case.scenario),
            line: case.scenario_line,
            description: case.description.clone(),
            why: case.why.clone(),
            outcome: Outcome::of(case.verdict),
            model: case.model.clone(),
            target: case.target.clone(),
            seed: case.run.sampling.seed,
            assertions: case.assertions.len(),
            output_tokens: case.run.conversation.output_tokens(),
            ttft_ms: first
                .and_then(|exchange| Timings::of(&exchange.transcript).ttft_us)
                .map(|us| us as f64 / 1e3),
            duration_ms: duration_us as f64 / 1e3,
            excused: quarantine
                .map(|one| format!("in quarantine until {}: {}", one.until, one.why)),
            retries: all.map(|exchange| exchange.transcript.retries.len()).sum(),
            problems: problems(case, locate),
            repeats: case.repeats.as_ref().map(RepeatResult::of),
            loops: loops(&case.run),
            control: control.map(ControlResult::of),
        }
    }

    /// The second half of the id.
    #[must_use]
    pub fn test(&self) -> &str {
        self.id.split_once('/').map_or(&self.id, |(_, test)| test)
    }
}

impl RepeatResult {
    fn of(repeats: &Repeats) -> Self {
        Self {
            runs: repeats.others.len() + 1,
            passed: repeats.passed,
            reduce: repeats.reduce.clone(),
        }
    }
}

impl ControlResult {
    fn of(control: &ControlRecord) -> Self {
        Self {
            outcome: match &control.run.error {
                Some(_) => Outcome::Errored,
                None if control.held.is_empty() => Outcome::Passed,
                None => Outcome::Failed,
            },
            must_fail: control.must_fail.clone(),
            held: control.held.clone(),
        }
    }
}

fn loops(run: &RunRecord) -> Vec<LoopResult> {
    let of = |evidence: &crate::assertion::LoopEvidence| LoopResult {
        generation: evidence.exchange + 1,
        state: evidence.verdict.state.name().to_owned(),
        kind: evidence.verdict.kind.name().to_owned(),
        period: evidence.verdict.period,
        copies: evidence.verdict.copies(),
        onset: evidence.verdict.onset,
        fragment: evidence.fragment.clone(),
    };
    run.judgement.loops.iter().map(of).collect()
}

/// The JSON Schema of [`Document`], draft-07.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<Document>().to_value()
}
