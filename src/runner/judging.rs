//! From what was said to a verdict: pure, and the same for a fresh run and for a record.

use super::reference::RecordedComparisons;
use crate::assertion::{Assertion, Evidence, Judgement, SpecError, judge};
use crate::generation::Conversation;
use crate::record::{CaseRecord, CaseVerdict, ControlRecord, RunRecord};
use crate::snapshot::Comparison;

/// Judges one conversation.
pub(super) fn judge_run(
    conversation: &Conversation,
    snapshot: Option<&Comparison>,
    assertions: &[Assertion],
) -> Judgement {
    let evidence = Evidence {
        conversation,
        snapshot,
    };
    judge(&evidence, assertions)
}

/// The assertions that a control had to break and did not.
pub(super) fn control_held(must_fail: &[String], judgement: &Judgement) -> Vec<String> {
    must_fail
        .iter()
        .filter(|kind| !judgement.failures().any(|check| check.kind == **kind))
        .cloned()
        .collect()
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
        let mut judgement = judge_run(&run.conversation, snapshot, &assertions);
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
    let control = case.control.as_ref().map(|control| {
        let run = again(&control.run, snapshots.control.as_ref());
        ControlRecord {
            held: control_held(&control.must_fail, &run.judgement),
            run,
            ..control.clone()
        }
    });
    Ok(CaseRecord {
        verdict: verdict(&run, control.as_ref()),
        run,
        control,
        ..case.clone()
    })
}
