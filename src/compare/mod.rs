//! What changed from one record to another: verdicts, answers token by token, and times.
//!
//! Cases are paired by their ids. An answer that differs is shown where it first does; whether
//! that is good or bad only the verdicts say. Pure: the same two records always compare alike.

mod answer;
mod case;
mod latency;
mod noise;
mod work;

use std::collections::HashMap;

use serde::Serialize;

pub use answer::{Divergence, TokenChange};
pub use case::{CaseChange, InputChange, Severity};
pub use latency::{Interval, LatencyChange, LatencyVerdict, Metric};
pub use noise::{Detectable, Noise, noise};
pub use work::{Counters, Work};

use crate::record::{CaseRecord, Record};

/// Version of the document that `compare --json` prints.
pub const SCHEMA_VERSION: u32 = 1;

/// Whether a limit on the slow-down was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Every interval ends below the limit.
    Passed,
    /// Some interval begins above it.
    Regressed,
    /// Neither.
    Inconclusive,
}

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Cases with a difference, in the order of the plan; those that are gone come last.
    pub changes: Vec<CaseChange>,
    /// Cases with the same verdict and the same answer.
    pub unchanged: usize,
    /// How times changed.
    pub latency: Vec<LatencyChange>,
    /// How much was computed for the same answers.
    pub work: Work,
    /// Whether the limit on the slow-down was kept, if there was one.
    pub gate: Option<Gate>,
    /// What makes the two less comparable.
    pub notes: Vec<String>,
}

/// Compares `after` with `before`. `max_slowdown` is a limit on how much longer anything may
/// take: 0.1 allows a tenth.
#[must_use]
pub fn compare(before: &Record, after: &Record, max_slowdown: Option<f64>) -> Comparison {
    let earlier = by_id(before);
    let later = by_id(after);
    let pairs = pairs(&earlier, after);
    let weights = case::Weights::of(before, after);
    let of_after = after
        .cases
        .iter()
        .filter_map(|case| match earlier.get(case.id.as_str()) {
            Some(other) => CaseChange::between(other, case, &weights),
            None => Some(CaseChange::new_case(case)),
        });
    let gone = before
        .cases
        .iter()
        .filter(|case| !later.contains_key(case.id.as_str()));
    let changes: Vec<CaseChange> = of_after.chain(gone.map(CaseChange::gone)).collect();
    let latency = latency::changes(&pairs);
    let changed_pairs = changes
        .iter()
        .filter(|change| change.before.is_some() && change.after.is_some())
        .count();
    Comparison {
        schema_version: SCHEMA_VERSION,
        unchanged: pairs.len() - changed_pairs,
        changes,
        gate: max_slowdown.map(|most| gate(&latency, 1.0 + most)),
        latency,
        work: work::work(&pairs),
        notes: notes(before, after),
    }
}

fn by_id(record: &Record) -> HashMap<&str, &CaseRecord> {
    let cases = record.cases.iter();
    cases.map(|case| (case.id.as_str(), case)).collect()
}

/// The cases that both have, the earlier one first.
fn pairs<'a>(
    earlier: &HashMap<&str, &'a CaseRecord>,
    after: &'a Record,
) -> Vec<(&'a CaseRecord, &'a CaseRecord)> {
    let cases = after.cases.iter();
    cases
        .filter_map(|case| Some((*earlier.get(case.id.as_str())?, case)))
        .collect()
}

fn gate(latency: &[LatencyChange], limit: f64) -> Gate {
    let intervals: Vec<Option<&Interval>> = latency
        .iter()
        .map(|change| change.interval.as_ref())
        .collect();
    if intervals
        .iter()
        .flatten()
        .any(|interval| interval.low > limit)
    {
        Gate::Regressed
    } else if !intervals.is_empty()
        && intervals
            .iter()
            .all(|interval| interval.is_some_and(|interval| interval.high <= limit))
    {
        Gate::Passed
    } else {
        Gate::Inconclusive
    }
}

fn notes(before: &Record, after: &Record) -> Vec<String> {
    let (one, other) = (&before.provenance, &after.provenance);
    let mut notes = Vec::new();
    let mut differ = |name: &str, before: String, after: String| {
        if before != after {
            notes.push(format!("{name}: {before} -> {after}"));
        }
    };
    differ("program", one.tool.clone(), other.tool.clone());
    differ("platform", one.platform.clone(), other.platform.clone());
    differ("processor", one.processor.clone(), other.processor.clone());
    differ(
        "threads",
        one.threads.to_string(),
        other.threads.to_string(),
    );
    differ("jobs", one.jobs.to_string(), other.jobs.to_string());
    for (name, record) in [("first", before), ("second", after)] {
        if record.summary.is_none_or(|summary| summary.not_run > 0) {
            notes.push(format!("the {name} run is unfinished"));
        }
    }
    notes
}
