//! Executes a plan: talks to targets, plays the tools, judges, records. Never prints.
//!
//! [`run`] emits [`RunEvent`]s; who shows them, and how, is not its business. Several
//! conversations go on at the same time, all with one model, because models in one process
//! compete for its cores. A case is recorded when it and its control have ended.

mod case;
mod conversation;
mod early_stop;
mod in_turn;
mod judging;
mod limits;
mod reference;
mod rerun;
mod slots;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use indexmap::IndexMap;
use tokio::sync::watch;

pub use case::unanswered;
pub use in_turn::{InTurn, Sides, in_turn};
pub use judging::rejudge;
pub use reference::{RecordedComparisons, compare_snapshots};

use case::Session;
use slots::Slots;

use crate::plan::{Answerer, Case};
use crate::record::{CaseRecord, RecordError, RecordWriter, Summary};
use crate::snapshot::SnapshotStore;
use crate::target::Target;

/// The targets of a run, by who answers their cases.
pub type Targets = BTreeMap<Answerer, Arc<dyn Target>>;

/// What happens during a run.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// A case begins.
    CaseStarted {
        /// Its place in the plan, from 0.
        index: usize,
        /// The case.
        case: &'a Case,
    },
    /// A generation of the case, or of its control, made one more token.
    Token {
        /// The place of the case in the plan.
        index: usize,
        /// Whether it is the control that runs.
        control: bool,
    },
    /// A case ended, and is recorded.
    CaseFinished {
        /// Its place in the plan, from 0.
        index: usize,
        /// Everything about it.
        record: &'a CaseRecord,
    },
}

/// What a run needs besides its cases.
pub struct RunContext<'a> {
    /// Who answers.
    pub targets: &'a Targets,
    /// Where reviewed outputs are.
    pub snapshots: &'a SnapshotStore,
    /// Most conversations that go on at the same time, at least 1.
    pub jobs: usize,
    /// Whether a generation ends once its loop is confirmed, and its conversation with it.
    pub stop_loops: bool,
    /// Whether outputs that differ are written beside their snapshot for review.
    pub write_pending: bool,
    /// Becomes true when the user wants to stop.
    pub interrupted: watch::Receiver<bool>,
    /// Whether one more case may begin; asked before each. Cases that have begun are ended.
    pub may_begin: &'a dyn Fn() -> bool,
    /// Totals of the cases that an earlier start of this run has recorded.
    pub earlier: Summary,
}

/// Runs every case, appends each to the record when it ends, and closes the record. An
/// interrupted run leaves out the cases that it was in and those that had not begun; one that
/// `may_begin` stops leaves out only the latter.
///
/// Outputs do not depend on `jobs`. Cases whose verdict may depend on their company, because they
/// judge a time or an answer given again, run alone, behind the other cases of their model.
///
/// # Errors
/// If the record cannot be written.
pub async fn run(
    cases: &[Case],
    context: &RunContext<'_>,
    mut record: RecordWriter,
    on_event: &mut dyn FnMut(RunEvent<'_>),
) -> Result<Summary, RecordError> {
    let start = Instant::now();
    let mut summary = context.earlier;
    let mut ended = 0;
    let slots = Slots::new(context.jobs);
    let on_event = RefCell::new(on_event);
    let emit = |event: RunEvent<'_>| (*on_event.borrow_mut())(event);
    for group in by_model(cases) {
        let outcomes = group.into_iter().map(|index| {
            let session = Session {
                index: cases[index].index,
                case: &cases[index],
                context,
                slots: &slots,
                begun: Cell::new(false),
                emit: &emit,
            };
            session.run()
        });
        let mut outcomes = stream::iter(outcomes).buffer_unordered(context.jobs.max(1));
        while let Some(outcome) = outcomes.next().await {
            let Some(finished) = outcome else {
                continue;
            };
            summary.count(finished.verdict);
            ended += 1;
            record.append(&finished)?;
            emit(RunEvent::CaseFinished {
                index: finished.index,
                record: &finished,
            });
        }
    }
    summary.not_run = cases.len() - ended;
    let wall_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    summary.wall_ms = summary.wall_ms.saturating_add(wall_ms);
    record.finish(&summary)?;
    Ok(summary)
}

/// The numbers of the cases, by who answers in the order in which the plan names them first; those that
/// want no company last.
fn by_model(cases: &[Case]) -> Vec<Vec<usize>> {
    let mut groups: IndexMap<Answerer, Vec<usize>> = IndexMap::new();
    for (index, case) in cases.iter().enumerate() {
        groups.entry(case.answerer()).or_default().push(index);
    }
    let sorted = groups.into_values().map(|mut group| {
        group.sort_by_key(|index| slots::wants_no_company(&cases[*index]));
        group
    });
    sorted.collect()
}

#[cfg(test)]
mod tests;
