//! One row for each setting, as text.

use serde::Serialize;

use super::words::{chance, percent};
use crate::sweep::{Analysis, Answer, Decision, TreatmentOutcome};

/// The heads of the columns that every sweep has.
const HEAD: [&str; 9] = [
    "setting",
    "loops",
    "95 % interval",
    "cured/caused",
    "tokens",
    "wasted",
    "good",
    "flips",
    "KL",
];
/// The head of one more column of an adaptive sweep.
const DECIDED: &str = "decided";

/// The heads of the columns.
#[must_use]
pub fn head(analysis: &Analysis) -> Vec<&'static str> {
    let more = analysis.adaptive.as_ref().map(|_| DECIDED);
    HEAD.into_iter().chain(more).collect()
}

/// One setting, a cell for each column of [`head`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The cells.
    pub cells: Vec<String>,
    /// Whether the verdict is about it.
    pub taken: bool,
}

/// The rows of an analysis, from the weakest setting to the strongest.
#[must_use]
pub fn rows(analysis: &Analysis) -> Vec<Row> {
    let subject = super::words::subject(analysis).map(|outcome| outcome.label.as_str());
    let row = |outcome: &TreatmentOutcome| Row {
        cells: cells(outcome)
            .into_iter()
            .chain(outcome.decision.as_ref().map(decided))
            .collect(),
        taken: subject == Some(outcome.label.as_str()),
    };
    analysis.settings.iter().map(row).collect()
}

/// How many runs a setting had, and what was found when it got no more: `above, 6 of 24 runs`.
fn decided(decision: &Decision) -> String {
    let planned = decision.runs + decision.spared;
    let answer = match decision.answer {
        Answer::Below => "below",
        Answer::Above => "above",
        Answer::Open => "open",
    };
    let early = match decision.spared {
        0 => "",
        _ => "early, ",
    };
    format!("{early}{answer}, {} of {planned} runs", decision.runs)
}

fn cells(outcome: &TreatmentOutcome) -> [String; 9] {
    let missing = || "–".to_owned();
    let loops = outcome.loops;
    let compared = outcome.comparison.map(|found| {
        let star = if found.adjusted_p < 0.05 {
            format!(" ({})", chance(found.adjusted_p))
        } else {
            String::new()
        };
        format!("{}/{}{star}", found.cured, found.caused)
    });
    let least = if outcome.stopped > 0 { "≥ " } else { "" };
    let mean = outcome.tokens as f64 / loops.share.of.max(1) as f64;
    let wasted = outcome.wasted_tokens as f64 / outcome.tokens.max(1) as f64;
    let flips = outcome.distortion.map(|found| percent(found.flips.value()));
    [
        outcome.label.clone(),
        format!(
            "{}/{} {}",
            loops.share.hits,
            loops.share.of,
            percent(loops.share.value())
        ),
        format!(
            "{}–{}",
            percent(loops.interval.low),
            percent(loops.interval.high)
        ),
        compared.unwrap_or_else(missing),
        format!("{least}{mean:.0}"),
        format!("{least}{}", percent(wasted)),
        outcome
            .good
            .map_or_else(missing, |good| percent(good.share.value())),
        flips.unwrap_or_else(missing),
        outcome
            .distortion
            .map_or_else(missing, |found| format!("{:.4}", found.mean_kl)),
    ]
}
