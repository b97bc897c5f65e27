//! The table of cases, a row as each case ends.

use super::style::{self, BAD, BOLD, DIM, GOOD, LOOP, RESET};
use crate::loops::LoopVerdict;
use crate::record::{CaseRecord, CaseVerdict, ControlRecord, RunRecord};
use crate::report::{pooled_decode_tps, slowest_ttft};

/// Column widths, fixed before the first row is known.
#[derive(Debug)]
pub(super) struct Table {
    id_width: usize,
}

impl Table {
    /// A table for cases with these ids.
    pub(super) fn new<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let longest = ids.map(|id| id.chars().count()).max().unwrap_or(0);
        Self {
            id_width: longest.max("case".len()),
        }
    }

    /// The headings.
    pub(super) fn head(&self) -> String {
        format!(
            "{BOLD}{:<8} {:<width$} {:>6} {:>9} {:>11}  {:<24} control{RESET}",
            "verdict",
            "case",
            "tokens",
            "TTFT",
            "decode",
            "loop",
            width = self.id_width,
        )
    }

    /// One case.
    pub(super) fn row(&self, case: &CaseRecord) -> String {
        let (colour, word) = match case.verdict {
            CaseVerdict::Passed => (GOOD, "✓ pass"),
            CaseVerdict::Failed => (BAD, "✗ FAIL"),
            CaseVerdict::Errored => (BAD, "! ERROR"),
        };
        let conversation = &case.run.conversation;
        let found = loop_of(&case.run);
        let loop_colour = if found == "–" { DIM } else { LOOP };
        format!(
            "{colour}{word:<8}{RESET} {:<width$} {:>6} {:>9} {:>11}  {loop_colour}{found:<24}{RESET} {}",
            case.id,
            conversation.output_tokens(),
            style::milliseconds(slowest_ttft(conversation)),
            style::rate(pooled_decode_tps(conversation)),
            control_of(case.control.as_ref()),
            width = self.id_width,
        )
    }
}

/// The worst loop of a run in a few words.
fn loop_of(run: &RunRecord) -> String {
    let confirmed = run
        .judgement
        .loops
        .iter()
        .find(|found| found.verdict.state.is_confirmed());
    match confirmed.or(run.judgement.loops.first()) {
        Some(found) => brief(&found.verdict),
        None => "–".to_owned(),
    }
}

fn brief(verdict: &LoopVerdict) -> String {
    format!(
        "{}, {} × {:.1}",
        verdict.state.name(),
        verdict.period,
        verdict.copies()
    )
}

/// Whether the control did its work.
fn control_of(control: Option<&ControlRecord>) -> String {
    match control {
        None => format!("{DIM}none{RESET}"),
        Some(control) if control.run.error.is_some() => format!("{BAD}error{RESET}"),
        Some(control) if control.held.is_empty() => {
            let why = match loop_of(&control.run) {
                found if control.must_fail.iter().any(|kind| kind == "not-loop") => found,
                _ => control.must_fail.join(", "),
            };
            format!("{GOOD}fails as it must{RESET} {DIM}({why}){RESET}")
        }
        Some(control) => format!("{BAD}does not fail: {}{RESET}", control.held.join(", ")),
    }
}
