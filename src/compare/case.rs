//! What changed in one case.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::{Divergence, divergence};
use crate::record::{CaseRecord, CaseVerdict, Record};

/// What a change means for a gate, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It passes now.
    Better,
    /// It is only in the later run.
    New,
    /// The verdict is the same, the answer is not.
    Different,
    /// It passed and fails now, or it is gone.
    Worse,
    /// It could be judged, and the target cannot answer now.
    Errored,
}

/// One case that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseChange {
    /// Its id.
    pub id: String,
    /// Path of the scenario file.
    pub scenario: String,
    /// Line of the test in it.
    pub line: usize,
    /// What it means.
    pub severity: Severity,
    /// The earlier verdict; nothing for a new case.
    pub before: Option<CaseVerdict>,
    /// The later verdict; nothing for a case that is gone.
    pub after: Option<CaseVerdict>,
    /// Where the answers first differ, if they do.
    pub divergence: Option<Divergence>,
    /// What was asked differently. If there is something, the model may be blameless.
    pub inputs: Vec<InputChange>,
    /// What keeps it from passing now and did not before.
    pub problems: Vec<String>,
}

/// Something that was asked differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputChange {
    /// Its name, such as `sampling.seed`.
    pub name: String,
    /// The earlier value.
    pub before: String,
    /// The later value.
    pub after: String,
}

/// The weights behind each name in two records.
pub(super) struct Weights<'a> {
    before: HashMap<&'a str, &'a str>,
    after: HashMap<&'a str, &'a str>,
}

impl<'a> Weights<'a> {
    pub(super) fn of(before: &'a Record, after: &'a Record) -> Self {
        let weights = |record: &'a Record| {
            let models = record.provenance.models.iter();
            models
                .map(|model| (model.name.as_str(), model.weights_sha256.as_str()))
                .collect()
        };
        Self {
            before: weights(before),
            after: weights(after),
        }
    }
}

impl CaseChange {
    /// What changed, if anything did.
    pub(super) fn between(
        before: &CaseRecord,
        after: &CaseRecord,
        weights: &Weights<'_>,
    ) -> Option<Self> {
        let divergence = first_divergence(before, after);
        if before.verdict == after.verdict && divergence.is_none() {
            return None;
        }
        let severity = match (before.verdict, after.verdict) {
            (one, other) if one == other => Severity::Different,
            (_, CaseVerdict::Errored) => Severity::Errored,
            (_, CaseVerdict::Passed) => Severity::Better,
            (CaseVerdict::Passed, CaseVerdict::Failed) => Severity::Worse,
            // Trouble is over, and what it hid is no news about the model.
            (_, CaseVerdict::Failed) => Severity::Different,
        };
        let known = problems(before);
        Some(Self {
            severity,
            before: Some(before.verdict),
            divergence,
            inputs: inputs(before, after, weights),
            problems: problems(after)
                .into_iter()
                .filter(|problem| !known.contains(problem))
                .collect(),
            ..Self::new_case(after)
        })
    }

    /// A case that the earlier run does not have.
    pub(super) fn new_case(case: &CaseRecord) -> Self {
        Self {
            id: case.id.clone(),
            scenario: case.scenario.clone(),
            line: case.scenario_line,
            severity: Severity::New,
            before: None,
            after: Some(case.verdict),
            divergence: None,
            inputs: Vec::new(),
            problems: problems(case),
        }
    }

    /// A case that the later run does not have: whoever leaves it out is not told that it passes.
    pub(super) fn gone(case: &CaseRecord) -> Self {
        Self {
            severity: Severity::Worse,
            before: Some(case.verdict),
            after: None,
            problems: Vec::new(),
            ..Self::new_case(case)
        }
    }

    /// Whether both runs have the case, and it says something else now.
    #[must_use]
    pub fn answer_changed(&self) -> bool {
        self.divergence.is_some()
    }

    /// The change in a few words.
    #[must_use]
    pub fn headline(&self) -> String {
        let word = |verdict: CaseVerdict| match verdict {
            CaseVerdict::Passed => "passed",
            CaseVerdict::Failed => "failed",
            CaseVerdict::Errored => "could not run",
        };
        match (self.before, self.after) {
            (Some(one), Some(other)) if one == other => format!("{}, changed", word(one)),
            (Some(one), Some(other)) => format!("{} -> {}", word(one), word(other)),
            (None, Some(other)) => format!("new, {}", word(other)),
            (Some(one), None) => format!("{} -> gone", word(one)),
            (None, None) => String::new(),
        }
    }
}

/// The first difference of all runs of a case, each beside the run of the same number. A run that
/// only one side has is no difference: how often a case is run is not what the model says.
fn first_divergence(before: &CaseRecord, after: &CaseRecord) -> Option<Divergence> {
    let (one, other) = (before.runs(), after.runs());
    let repeated = one.len().max(other.len()) > 1;
    one.iter().zip(&other).enumerate().find_map(|(at, pair)| {
        let found = divergence(&pair.0.conversation, &pair.1.conversation)?;
        let run = repeated.then_some(at + 1);
        Some(Divergence { run, ..found })
    })
}

/// What keeps a case from passing, each in a line or a few.
fn problems(case: &CaseRecord) -> Vec<String> {
    let mut found: Vec<String> = case.run.error.iter().cloned().collect();
    let failures = case.run.judgement.failures();
    found.extend(failures.map(|check| format!("{}: {}", check.label, check.message)));
    if let Some(control) = &case.control {
        let error = control.run.error.iter();
        found.extend(error.map(|error| format!("control: {error}")));
        let held = control.held.iter();
        found.extend(held.map(|held| format!("the control must fail '{held}' and does not")));
    }
    found
}

fn inputs(before: &CaseRecord, after: &CaseRecord, weights: &Weights<'_>) -> Vec<InputChange> {
    let mut changed = Vec::new();
    let mut note = |name: &str, before: String, after: String| {
        if before != after {
            changed.push(InputChange {
                name: name.to_owned(),
                before,
                after,
            });
        }
    };
    note("model", before.model.clone(), after.model.clone());
    let sha = |weights: &HashMap<&str, &str>, name: &str| {
        weights.get(name).copied().unwrap_or_default().to_owned()
    };
    note(
        "weights",
        sha(&weights.before, &before.model),
        sha(&weights.after, &after.model),
    );
    let target = |case: &CaseRecord| case.target.clone().unwrap_or_else(|| "engine".to_owned());
    note("target", target(before), target(after));
    let (one, other) = (fields(&before.run.sampling), fields(&after.run.sampling));
    for (name, value) in &one {
        let now = other.get(name).map(Value::to_string).unwrap_or_default();
        note(&format!("sampling.{name}"), value.to_string(), now);
    }
    note("asked", asked(before), asked(after));
    let kinds = |case: &CaseRecord| {
        let specs = case.assertions.iter().map(|spec| {
            let value = spec
                .value
                .as_ref()
                .map(Value::to_string)
                .unwrap_or_default();
            format!("{} {value}", spec.kind).trim_end().to_owned()
        });
        specs.collect::<Vec<_>>().join(", ")
    };
    note("assertions", kinds(before), kinds(after));
    changed
}

/// What was said first. Later messages may follow from another answer.
fn asked(case: &CaseRecord) -> String {
    let first = case.run.conversation.exchanges.first();
    let messages = first.into_iter().flat_map(|exchange| &exchange.added);
    let texts: Vec<&str> = messages.map(|message| message.content.as_str()).collect();
    texts.join(" / ")
}

/// The settings by name. The way through text writes numbers as a person would.
fn fields(sampling: &impl Serialize) -> Map<String, Value> {
    serde_json::to_string(sampling)
        .and_then(|json| serde_json::from_str(&json))
        .unwrap_or_default()
}
