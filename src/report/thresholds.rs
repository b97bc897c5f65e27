//! What groups of runs had to hold together, and whether they did.
//!
//! It knows judged thresholds. What a broken one does to the verdict over the run, `page` says.

use super::case::CheckView;
use super::page::Mark;
use crate::gate::{Gate, Status};

/// One line for each threshold, in the order of the plan.
pub(super) fn thresholds(gate: &Gate) -> Vec<CheckView> {
    let verdicts = gate.verdicts.iter();
    verdicts
        .map(|verdict| CheckView {
            mark: match verdict.status {
                Status::Held => Mark::good(verdict.label()),
                Status::Broken => Mark::bad(verdict.label()),
                Status::NotJudged => Mark::warn(format!("{}: not judged", verdict.label())),
            },
            place: format!("{}:{}", verdict.file(), verdict.planned.line),
            message: verdict.fact.clone(),
        })
        .collect()
}
