//! One case: the run under test, its control, and their verdict.

use std::cell::Cell;

use super::conversation::{Ending, converse};
use super::judging::{control_held, judge_run, together, verdict};
use super::reference::{SnapshotIdentity, compare_or_pend, redactions};
use super::rerun::hold_again;
use super::slots::{Slots, wants_no_company};
use super::{RunContext, RunEvent};
use crate::assertion::{Check, CheckStatus, Redactions, unjudgeable};
use crate::generation::SamplingParams;
use crate::plan::{Case, Endpoint};
use crate::record::{CaseRecord, ControlRecord, Repeats, RunRecord};
use crate::snapshot::Comparison;

/// One case on its way through a run.
pub(super) struct Session<'a> {
    /// Its place in the plan.
    pub(super) index: usize,
    pub(super) case: &'a Case,
    pub(super) context: &'a RunContext<'a>,
    pub(super) slots: &'a Slots,
    /// Whether a run under test, which takes its slot before the control, has begun.
    pub(super) begun: Cell<bool>,
    pub(super) emit: &'a dyn Fn(RunEvent<'_>),
}

impl Session<'_> {
    /// Runs the case and its control, at the same time if there are slots for both; `None` if the
    /// user interrupts.
    pub(super) async fn run(self) -> Option<CaseRecord> {
        let case = self.case;
        let under_test = self.under_test();
        let control = async {
            match &case.control {
                Some(control) => Some(self.run_once(&control.resolved, true).await),
                None => None,
            }
        };
        let (run, control) = tokio::join!(under_test, control);
        let (run, repeats) = run?;
        let control = match (&case.control, control) {
            (Some(control), Some(run)) => {
                let run = run?;
                Some(ControlRecord {
                    sampling: control.sampling.clone(),
                    must_fail: control.must_fail.clone(),
                    held: control_held(&control.must_fail, &run),
                    run,
                })
            }
            _ => None,
        };
        Some(record_of(case, run, repeats, control))
    }

    /// The run under test, or all of them: each with the seed after that of the one before, so that
    /// none says again what another said.
    async fn under_test(&self) -> Option<(RunRecord, Option<Repeats>)> {
        let case = self.case;
        let Some(repeat) = &case.repeat else {
            return Some((self.run_once(&case.sampling, false).await?, None));
        };
        let first = case.sampling.seed.unwrap_or(0);
        let settings: Vec<SamplingParams> = (0..repeat.runs)
            .map(|number| SamplingParams {
                seed: Some(first.wrapping_add(number as u64)),
                ..case.sampling.clone()
            })
            .collect();
        let runs = settings
            .iter()
            .map(|sampling| self.run_once(sampling, false));
        let runs = futures_util::future::join_all(runs).await;
        let runs: Vec<RunRecord> = runs.into_iter().collect::<Option<_>>()?;
        together(runs, repeat, case.line).map(|(run, repeats)| (run, Some(repeats)))
    }

    /// One conversation, judged. Only the run under test may leave a pending snapshot: a control
    /// is not reviewed, it only has to fail.
    pub(super) async fn run_once(
        &self,
        sampling: &SamplingParams,
        control: bool,
    ) -> Option<RunRecord> {
        let (case, context) = (self.case, self.context);
        let Some(target) = context.targets.get(&case.answerer()) else {
            let error = format!("no target {} with {}", case.target, case.model.resolved);
            return Some(failed_run(sampling, error));
        };
        let _slot = self.slots.take(wants_no_company(case)).await?;
        let stopped = !self.begun.get() && !(context.may_begin)();
        if stopped || *context.interrupted.borrow() {
            return None;
        }
        let first = !self.begun.replace(true);
        let index = self.index;
        if !control && first {
            (self.emit)(RunEvent::CaseStarted { index, case });
        }
        let (conversation, ending) =
            converse(case, sampling, target.as_ref(), context, &mut || {
                (self.emit)(RunEvent::Token { index, control })
            })
            .await;
        let error = match &ending {
            Ending::Interrupted => return None,
            Ending::Error(error) => Some(error.clone()),
            Ending::Complete | Ending::Looped | Ending::Limit(_) => None,
        };
        let mut run = RunRecord {
            sampling: sampling.clone(),
            conversation,
            judgement: Default::default(),
            reruns: Vec::new(),
            error,
        };
        let mut limits: Vec<String> = Vec::new();
        match ending {
            Ending::Limit(limit) => limits.push(limit),
            _ if run.error.is_some() => {}
            _ => limits.extend(hold_again(self, &mut run, target.as_ref()).await?),
        }
        if run.error.is_none() {
            run.error = unjudgeable(&run.conversation, &case.assertions);
        }
        let pend = !control && run.error.is_none() && context.write_pending;
        let snapshot = match look_up(case, &run, context, pend) {
            Ok(comparison) => Some(comparison),
            Err(error) => {
                run.error.get_or_insert(error);
                None
            }
        };
        run.judgement = judge_run(
            &run.conversation,
            snapshot.as_ref(),
            &run.reruns,
            &case.assertions,
        );
        for limit in limits {
            run.judgement.checks.push(Check {
                label: "limits".to_owned(),
                kind: "limits".to_owned(),
                turn: None,
                file: None,
                line: case.line,
                status: CheckStatus::Failed,
                message: limit,
                diff: None,
            });
        }
        Some(run)
    }
}

/// The record of a case, with the verdict over all of it.
pub(super) fn record_of(
    case: &Case,
    run: RunRecord,
    repeats: Option<Repeats>,
    control: Option<ControlRecord>,
) -> CaseRecord {
    CaseRecord {
        id: case.id.clone(),
        index: case.index,
        scenario: case.scenario.clone(),
        scenario_line: case.line,
        description: case.description.clone(),
        why: case.why.clone(),
        model: case.model.written.clone(),
        target: match &case.target {
            Endpoint::Engine => None,
            server => Some(server.to_string()),
        },
        template: case.template.clone(),
        assertions: case.specs.clone(),
        verdict: verdict(&run, control.as_ref()),
        run,
        repeats,
        control,
        quarantine: case.quarantine.clone(),
    }
}

/// The record of a case that could not even be asked, because of `error`.
#[must_use]
pub fn unanswered(case: &Case, error: &str) -> CaseRecord {
    record_of(
        case,
        failed_run(&case.sampling, error.to_owned()),
        None,
        None,
    )
}

/// Compares with the reviewed snapshot; with `pend`, leaves a pending one where they differ.
fn look_up(
    case: &Case,
    run: &RunRecord,
    context: &RunContext<'_>,
    pend: bool,
) -> Result<Comparison, String> {
    let none = Redactions::default();
    let identity = SnapshotIdentity {
        id: &case.id,
        scenario: &case.scenario,
        why: &case.why,
        model: &case.model.written,
        sampling: &run.sampling,
        redactions: redactions(&case.assertions).unwrap_or(&none),
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
        reruns: Vec::new(),
        error: Some(error),
    }
}
