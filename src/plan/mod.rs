//! Expands scenarios into a flat list of cases, with every setting resolved.
//!
//! Settings are laid over each other here: default, environment, scenario file, test, `--set`,
//! and for a control its own on top. This module does not run cases and reads no environment.

mod discover;
mod filter;
mod fingerprint;
mod overrides;
mod shard;

use std::collections::HashSet;

use thiserror::Error;

pub use discover::discover;
pub use filter::Filter;
pub use fingerprint::fingerprint;
pub use overrides::Overrides;
pub use shard::Shard;

pub use crate::endpoint::{Api, Endpoint};
pub use crate::scenario::{GroupThreshold, Limits, MockTools, Mocked, ModelName, Script};

use crate::assertion::{ApiForm, Assertion, AssertionSpec, Quarantine, Repeat};
use crate::generation::{SamplingError, SamplingParams, SamplingSettings, TemplateVariables};
use crate::scenario::{Scenario, Test};

/// A plan that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PlanError(pub String);

/// One conversation to run and judge, perhaps with its control.
#[derive(Debug, Clone)]
pub struct Case {
    /// `<scenario>/<test>`, and `@<target>` if there are several; unique in the plan.
    pub id: String,
    /// Its place among all cases, from 0, before any are selected.
    pub index: usize,
    /// Path of the scenario file as given.
    pub scenario: String,
    /// Line of the test in that file, counted from 1.
    pub line: usize,
    /// What the scenario is about.
    pub description: String,
    /// Why it exists.
    pub why: String,
    /// Labels to select by.
    pub tags: Vec<String>,
    /// The model that answers.
    pub model: ModelName,
    /// Who answers.
    pub target: Endpoint,
    /// What is said.
    pub script: Script,
    /// What the tools answer.
    pub tools: MockTools,
    /// Variables of the chat template.
    pub template: TemplateVariables,
    /// The sampling parameters of the run under test.
    pub sampling: SamplingParams,
    /// Bounds.
    pub limits: Limits,
    /// The same run with the cure removed.
    pub control: Option<CaseControl>,
    /// How often it is run, if more than once.
    pub repeat: Option<Repeat>,
    /// Until when its failures are excused, if they are.
    pub quarantine: Option<Quarantine>,
    /// The thresholds of its scenario that it belongs to.
    pub thresholds: Vec<GroupThreshold>,
    /// What must hold.
    pub assertions: Vec<Assertion>,
    /// The same as written, for records.
    pub specs: Vec<AssertionSpec>,
}

/// Who answers a case: a key that is the same for cases that one target can answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answerer {
    /// The engine with this model, by its resolved name.
    Engine(String),
    /// A server.
    Server(Endpoint),
}

impl Case {
    /// The form in which its server is asked; nothing in this process.
    #[must_use]
    pub fn asked(&self) -> Option<ApiForm> {
        let api = match &self.target {
            Endpoint::Engine | Endpoint::Echo => return None,
            Endpoint::Http(http) => http.api,
            Endpoint::Spawn(spawn) => spawn.api,
        };
        let stream = self.target.options()?.stream;
        Some(match (api, stream) {
            (Api::OpenAi, true) => ApiForm::Openai,
            (Api::OpenAi, false) => ApiForm::OpenaiWhole,
            (Api::Anthropic, true) => ApiForm::Anthropic,
            (Api::Anthropic, false) => ApiForm::AnthropicWhole,
        })
    }

    /// Who answers it.
    #[must_use]
    pub fn answerer(&self) -> Answerer {
        match &self.target {
            Endpoint::Engine => Answerer::Engine(self.model.resolved.clone()),
            server => Answerer::Server(server.clone()),
        }
    }
}

/// The scenario and the test of a case's id, the target apart.
#[must_use]
pub fn scenario_and_test(id: &str) -> (&str, &str) {
    let (scenario, test) = id.split_once('/').unwrap_or((id, "case"));
    (scenario, test.split('@').next().unwrap_or(test))
}

/// A control, with its sampling parameters resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseControl {
    /// What it changes.
    pub sampling: SamplingSettings,
    /// What it runs with.
    pub resolved: SamplingParams,
    /// The types of the assertions that must fail.
    pub must_fail: Vec<String>,
}

/// The cases of all scenarios, in order.
///
/// # Errors
/// If two cases have one id, or an override takes a setting out of its range.
pub fn expand(
    scenarios: &[Scenario],
    overrides: &Overrides,
    environment: &SamplingSettings,
) -> Result<Vec<Case>, PlanError> {
    let mut ids = HashSet::new();
    let mut cases = Vec::new();
    for scenario in scenarios {
        for test in &scenario.tests {
            let case = case(scenario, test, overrides, environment)?;
            for (name, target) in overrides.endpoints(&scenario.target)? {
                let id = match name {
                    Some(name) => format!("{}@{name}", case.id),
                    None => case.id.clone(),
                };
                if !ids.insert(id.clone()) {
                    return Err(PlanError(format!(
                        "{}:{}: the case '{id}' exists in another file of the same name",
                        case.scenario, case.line
                    )));
                }
                let case = Case {
                    id,
                    index: cases.len(),
                    target,
                    ..case.clone()
                };
                refuse_pointless(&case)?;
                cases.push(case);
            }
        }
    }
    Ok(cases)
}

/// An assertion that holds a conversation beside itself must be able to fail, and to pass.
fn refuse_pointless(case: &Case) -> Result<(), PlanError> {
    let mut sampling = case.sampling.clone();
    if case.repeat.is_some() {
        // Each run has a seed then.
        sampling.seed = sampling.seed.or(Some(0));
    }
    for assertion in &case.assertions {
        for rule in assertion.reruns() {
            if let Some(why) = rule.pointless(&sampling, case.asked()) {
                let file = assertion.file.as_ref().unwrap_or(&case.scenario);
                return Err(PlanError(format!(
                    "{file}:{}: {}: {why}",
                    assertion.line, assertion.kind
                )));
            }
        }
    }
    Ok(())
}

fn case(
    scenario: &Scenario,
    test: &Test,
    overrides: &Overrides,
    environment: &SamplingSettings,
) -> Result<Case, PlanError> {
    let settings = environment
        .overlaid(&test.sampling)
        .overlaid(&overrides.sampling);
    // The file was checked when it was read, so only an override can be out of range here.
    let resolve = |settings: &SamplingSettings| {
        let refused = |error: SamplingError| PlanError(format!("--set: sampling.{error}"));
        settings.resolve().map_err(refused)
    };
    let control = match &test.control {
        None => None,
        Some(control) => Some(CaseControl {
            resolved: resolve(&settings.overlaid(&control.sampling))?,
            sampling: control.sampling.clone(),
            must_fail: control.must_fail.clone(),
        }),
    };
    let limits = test.limits.overlaid(&overrides.limits);
    let sampling = resolve(&settings)?;
    if test.repeat.is_some_and(|repeat| repeat.is_estimate()) && sampling.temperature == 0.0 {
        return Err(PlanError(format!(
            "--set: {}:{} is run several times, and at temperature 0 all runs are one answer",
            scenario.path, test.line
        )));
    }
    let mut tags = scenario.tags.clone();
    tags.extend(
        test.tags
            .iter()
            .filter(|tag| !scenario.tags.contains(tag))
            .cloned(),
    );
    Ok(Case {
        id: format!("{}/{}", scenario.name, test.id),
        index: 0,
        scenario: scenario.path.clone(),
        line: test.line,
        description: scenario.description.clone(),
        why: scenario.why.clone(),
        thresholds: {
            let groups = scenario.thresholds.iter();
            groups
                .filter(|group| group.is_about(&tags))
                .cloned()
                .collect()
        },
        tags,
        model: match &overrides.model {
            // On the command line, paths are relative to where it is typed.
            Some(name) => ModelName {
                written: name.clone(),
                resolved: name.clone(),
            },
            None => scenario.model.clone(),
        },
        target: Endpoint::Engine,
        script: test.script.clone(),
        tools: test.tools.clone(),
        template: test.template.overlaid(&overrides.template),
        sampling,
        limits: limits
            .resolve()
            .map_err(|problem| PlanError(format!("--set: {problem}")))?,
        control,
        repeat: test.repeat,
        quarantine: test.quarantine.clone(),
        assertions: test.assertions.clone(),
        specs: test.specs.clone(),
    })
}
