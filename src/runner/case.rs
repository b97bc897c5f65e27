//! One case: the run under test, its control, and their verdict.

use super::conversation::{Ending, converse};
use super::judging::{control_held, judge_run, verdict};
use super::reference::{SnapshotIdentity, compare_or_pend};
use super::{RunContext, RunEvent};
use crate::assertion::{Check, CheckStatus};
use crate::generation::SamplingParams;
use crate::plan::Case;
use crate::record::{CaseRecord, ControlRecord, RunRecord};
use crate::snapshot::Comparison;

/// Runs a case and its control; `None` if the user interrupts.
pub(super) async fn run_case(
    case: &Case,
    context: &RunContext<'_>,
    on_event: &mut dyn FnMut(RunEvent<'_>),
) -> Option<CaseRecord> {
    let run = run_once(case, &case.sampling, true, context, &mut || {
        on_event(RunEvent::Token { control: false });
    })
    .await?;
    let control = match &case.control {
        Some(control) => {
            let run = run_once(case, &control.resolved, false, context, &mut || {
                on_event(RunEvent::Token { control: true });
            })
            .await?;
            Some(ControlRecord {
                sampling: control.sampling.clone(),
                must_fail: control.must_fail.clone(),
                held: control_held(&control.must_fail, &run.judgement),
                run,
            })
        }
        None => None,
    };
    Some(CaseRecord {
        id: case.id.clone(),
        scenario: case.scenario.clone(),
        scenario_line: case.line,
        description: case.description.clone(),
        why: case.why.clone(),
        model: case.model.written.clone(),
        template: case.template.clone(),
        assertions: case.specs.clone(),
        verdict: verdict(&run, control.as_ref()),
        run,
        control,
    })
}

/// One conversation, judged. Only the run under test may leave a pending snapshot: a control is
/// not reviewed, it only has to fail.
async fn run_once(
    case: &Case,
    sampling: &SamplingParams,
    under_test: bool,
    context: &RunContext<'_>,
    on_token: &mut dyn FnMut(),
) -> Option<RunRecord> {
    let Some(target) = context.targets.get(&case.model.resolved) else {
        return Some(failed_run(
            sampling,
            format!("no target for {}", case.model.resolved),
        ));
    };
    let (conversation, ending) = converse(
        case,
        sampling,
        target.as_ref(),
        &context.interrupted,
        on_token,
    )
    .await;
    let error = match &ending {
        Ending::Interrupted => return None,
        Ending::Error(error) => Some(error.clone()),
        Ending::Complete | Ending::Limit(_) => None,
    };
    let mut run = RunRecord {
        sampling: sampling.clone(),
        conversation,
        judgement: Default::default(),
        error,
    };
    let pend = under_test && run.error.is_none() && context.write_pending;
    let snapshot = match look_up(case, &run, context, pend) {
        Ok(comparison) => Some(comparison),
        Err(error) => {
            run.error.get_or_insert(error);
            None
        }
    };
    run.judgement = judge_run(&run.conversation, snapshot.as_ref(), &case.assertions);
    if let Ending::Limit(limit) = ending {
        run.judgement.checks.push(Check {
            label: "limits".to_owned(),
            kind: "limits".to_owned(),
            line: case.line,
            status: CheckStatus::Failed,
            message: limit,
        });
    }
    Some(run)
}

/// Compares with the reviewed snapshot; with `pend`, leaves a pending one where they differ.
fn look_up(
    case: &Case,
    run: &RunRecord,
    context: &RunContext<'_>,
    pend: bool,
) -> Result<Comparison, String> {
    let identity = SnapshotIdentity {
        id: &case.id,
        scenario: &case.scenario,
        why: &case.why,
        model: &case.model.written,
        sampling: &run.sampling,
    };
    let wanted = case.assertions.iter().any(|a| a.kind == "snapshot");
    compare_or_pend(
        &identity,
        &run.conversation,
        context.snapshots,
        wanted && pend,
    )
    .map_err(|error| error.to_string())
}

fn failed_run(sampling: &SamplingParams, error: String) -> RunRecord {
    RunRecord {
        sampling: sampling.clone(),
        conversation: Default::default(),
        judgement: Default::default(),
        error: Some(error),
    }
}
