//! From what was said to a verdict: pure, and the same for a fresh run and for a record.

use super::reference::RecordedComparisons;
use crate::assertion::{
    Assertion, Check, CheckStatus, Evidence, Judgement, Repeat, Rerun, SpecError, judge,
};
use crate::generation::Conversation;
use crate::record::{CaseRecord, CaseVerdict, ControlRecord, Repeats, RunRecord};
use crate::snapshot::Comparison;

/// Judges one conversation.
pub(super) fn judge_run(
    conversation: &Conversation,
    snapshot: Option<&Comparison>,
    reruns: &[Rerun],
    assertions: &[Assertion],
) -> Judgement {
    let evidence = Evidence {
        conversation,
        snapshot,
        reruns,
    };
    judge(&evidence, assertions)
}

/// The assertions that a control had to break and did not.
///
/// A turn that was not reached is no evidence that the cure matters.
pub(super) fn control_held(must_fail: &[String], run: &RunRecord) -> Vec<String> {
    let seen = |check: &Check| {
        let mut turn = check.turn.iter();
        turn.all(|turn| run.conversation.turn(*turn).is_some())
    };
    let broken = |kind: &String| {
        let mut failures = run.judgement.failures();
        failures.any(|check| check.kind == *kind && seen(check))
    };
    must_fail
        .iter()
        .filter(|kind| !broken(kind))
        .cloned()
        .collect()
}

/// What several runs of a case come to. One of them stands for all: one that could not be ended,
/// or else one that fared as all together, so that what is shown of it says why. Nothing of none.
pub(super) fn together(
    mut runs: Vec<RunRecord>,
    repeat: &Repeat,
    line: usize,
) -> Option<(RunRecord, Repeats)> {
    let passed = |run: &RunRecord| run.error.is_none() && run.judgement.passed();
    let count = runs.iter().filter(|run| passed(run)).count();
    let (holds, message) = repeat.judge(count);
    let errored = runs.iter().position(|run| run.error.is_some());
    let typical = || runs.iter().position(|run| passed(run) == holds);
    let shown = errored.or_else(typical).unwrap_or(0);
    if shown >= runs.len() {
        return None;
    }
    let mut run = runs.remove(shown);
    run.judgement.checks.push(Check {
        label: format!("repeat {}, {repeat}", repeat.runs),
        kind: "repeat".to_owned(),
        turn: None,
        file: None,
        line,
        status: match holds {
            true => CheckStatus::Passed,
            false => CheckStatus::Failed,
        },
        message,
        diff: None,
    });
    let repeats = Repeats {
        reduce: repeat.to_string(),
        passed: count,
        shown,
        others: runs,
    };
    Some((run, repeats))
}

/// The verdict over a run and its control.
pub(super) fn verdict(run: &RunRecord, control: Option<&ControlRecord>) -> CaseVerdict {
    let control_errored = control.is_some_and(|control| control.run.error.is_some());
    let control_held = control.is_some_and(|control| !control.held.is_empty());
    if run.error.is_some() || control_errored {
        CaseVerdict::Errored
    } else if run.judgement.passed() && !control_held {
        CaseVerdict::Passed
    } else {
        CaseVerdict::Failed
    }
}

/// Judges a recorded case again, with today's detector and the given comparisons with its
/// snapshot. Failures of limits are facts of the recorded run and are kept.
///
/// # Errors
/// If the record holds an assertion that this version does not understand.
pub fn rejudge(
    case: &CaseRecord,
    snapshots: &RecordedComparisons,
) -> Result<CaseRecord, SpecError> {
    let assertions = case
        .assertions
        .iter()
        .map(crate::assertion::AssertionSpec::lower)
        .collect::<Result<Vec<_>, _>>()?;
    let again = |run: &RunRecord, snapshot: Option<&Comparison>| {
        let mut judgement = judge_run(&run.conversation, snapshot, &run.reruns, &assertions);
        let limits = run.judgement.checks.iter();
        judgement
            .checks
            .extend(limits.filter(|check| check.kind == "limits").cloned());
        RunRecord {
            judgement,
            ..run.clone()
        }
    };
    let run = again(&case.run, Some(&snapshots.run));
    let (run, repeats) = match &case.repeats {
        None => (run, None),
        Some(repeats) => {
            let broken = |problem| SpecError::Parameter {
                kind: "repeat".to_owned(),
                problem,
            };
            let count = repeats.others.len() + 1;
            let repeat = Repeat::new(count, Some(&repeats.reduce)).map_err(broken)?;
            // None of them is compared with a snapshot.
            let mut runs: Vec<RunRecord> =
                repeats.others.iter().map(|run| again(run, None)).collect();
            runs.insert(repeats.shown.min(runs.len()), run);
            let judged = together(runs, &repeat, case.scenario_line);
            let (run, repeats) = judged.ok_or_else(|| broken("there is no run".to_owned()))?;
            (run, Some(repeats))
        }
    };
    let control = case.control.as_ref().map(|control| {
        let run = again(&control.run, snapshots.control.as_ref());
        ControlRecord {
            held: control_held(&control.must_fail, &run),
            run,
            ..control.clone()
        }
    });
    Ok(CaseRecord {
        verdict: verdict(&run, control.as_ref()),
        run,
        repeats,
        control,
        ..case.clone()
    })
}
