//! The table of cases, a row as each case ends.

use super::style::{self, BAD, BOLD, DIM, GOOD, LOOP, RESET};
use crate::loops::LoopVerdict;
use crate::metrics::Timings;
use crate::record::{CaseRecord, CaseVerdict, ControlRecord, RunRecord};

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
        let timings: Vec<Timings> = case
            .run
            .conversation
            .exchanges
            .iter()
            .map(|exchange| Timings::of(&exchange.transcript))
            .collect();
        let found = loop_of(&case.run);
        let loop_colour = if found == "–" { DIM } else { LOOP };
        format!(
            "{colour}{word:<8}{RESET} {:<width$} {:>6} {:>9} {:>11}  {loop_colour}{found:<24}{RESET} {}",
            case.id,
            case.run.conversation.output_tokens(),
            style::milliseconds(timings.first().and_then(|timings| timings.ttft_us)),
            style::rate(decode_rate(&timings)),
            control_of(case.control.as_ref()),
            width = self.id_width,
        )
    }
}

/// Tokens per second over all generations of a conversation, first tokens left out.
fn decode_rate(timings: &[Timings]) -> Option<f64> {
    let gaps = timings.iter().flat_map(|timings| &timings.gaps_us);
    let (count, us) = gaps.fold((0u64, 0u64), |(count, us), gap| (count + 1, us + gap));
    (us > 0).then(|| count as f64 * 1e6 / us as f64)
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
