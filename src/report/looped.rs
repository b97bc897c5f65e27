//! The loops of a run in words: what repeats, how often, since when, and what that cost.
//!
//! It knows verdicts of the detector. Whether a loop is good or bad is for the assertions to say.

use serde::Serialize;

use super::numbers::{MISSING, copies, count, micros, things};
use super::page::Mark;
use crate::assertion::LoopEvidence;
use crate::record::RunRecord;

/// The evidence for a loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LoopView {
    pub(super) title: String,
    /// Names and values.
    pub(super) facts: Vec<(&'static str, String)>,
    /// The repeated block on one line; empty if it has no visible text.
    pub(super) fragment: String,
}

/// The loop of a run that weighs most: a confirmed one, or else the first.
pub(super) fn main_loop(run: &RunRecord) -> Option<&LoopEvidence> {
    let loops = &run.judgement.loops;
    let mut confirmed = loops
        .iter()
        .filter(|evidence| evidence.verdict.state.is_confirmed());
    confirmed.next().or(loops.first())
}

/// Period and copies, such as `12 tokens × 14.5`.
pub(super) fn extent(evidence: &LoopEvidence) -> String {
    let verdict = &evidence.verdict;
    format!(
        "{} × {}",
        things(verdict.period, "token"),
        copies(verdict.copies())
    )
}

/// What the detector saw in the run. Whether that is good is for the assertions to say.
pub(super) fn loop_mark(run: &RunRecord) -> Mark {
    match main_loop(run) {
        Some(evidence) if evidence.verdict.state.is_confirmed() => Mark::none(extent(evidence)),
        Some(evidence) => {
            let state = evidence.verdict.state.name();
            Mark::none(format!("{} ({state})", extent(evidence)))
        }
        None if run.conversation.exchanges.is_empty() => Mark::none(MISSING),
        None => Mark::none("none"),
    }
}

pub(super) fn loop_view(run: &RunRecord, evidence: &LoopEvidence) -> LoopView {
    let verdict = &evidence.verdict;
    let token = |index: usize| format!("token {}", count(index));
    let mut title = format!("Loop {}", verdict.state.name());
    if run.conversation.exchanges.len() > 1 {
        title += &format!(" in generation {}", evidence.exchange + 1);
    }
    let noticed = if verdict.state.is_confirmed() {
        "detected"
    } else {
        "suspected"
    };
    let mut facts = vec![
        ("period", things(verdict.period, "token")),
        ("copies", copies(verdict.copies())),
        ("onset", token(verdict.onset)),
        (noticed, token(verdict.detected_at)),
    ];
    facts.extend(verdict.ended_at.map(|at| ("ended", token(at))));
    let wasted = things(verdict.wasted_tokens, "token");
    facts.push((
        "wasted",
        match wasted_us(run, evidence) {
            Some(us) => format!("{wasted}, {}", micros(Some(us))),
            None => wasted,
        },
    ));
    LoopView {
        title,
        facts,
        fragment: evidence.fragment.clone(),
    }
}

/// The time from the end of the first copy to the end of the repetition.
fn wasted_us(run: &RunRecord, evidence: &LoopEvidence) -> Option<u64> {
    let verdict = &evidence.verdict;
    let at = &run
        .conversation
        .exchanges
        .get(evidence.exchange)?
        .transcript
        .token_at_us;
    let last_of = |tokens: usize| verdict.onset.checked_add(tokens)?.checked_sub(1);
    let first_copy = at.get(last_of(verdict.period)?)?;
    let end = at.get(last_of(verdict.span)?)?;
    end.checked_sub(*first_copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_time_wasted_is_that_after_the_first_copy() {
        let case = fixture::record().cases.remove(1);
        let mut evidence = case.run.judgement.loops[0].clone();
        evidence.verdict.onset = 2;
        evidence.verdict.period = 3;
        evidence.verdict.span = 9;
        let at = &case.run.conversation.exchanges[0].transcript.token_at_us;
        assert_eq!(wasted_us(&case.run, &evidence), Some(at[10] - at[4]));
        evidence.verdict.span = usize::MAX;
        assert_eq!(wasted_us(&case.run, &evidence), None);
    }
}
