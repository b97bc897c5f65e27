//! Executes a plan: talks to targets, plays the tools, judges, records. Never prints.
//!
//! [`run`] emits [`RunEvent`]s; who shows them, and how, is not its business. Cases run one after
//! the other, each with its control directly behind it, and each is recorded when it ends.

mod case;
mod conversation;
mod judging;
mod reference;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

pub use judging::rejudge;
pub use reference::{RecordedComparisons, compare_snapshots};

use crate::plan::Case;
use crate::record::{CaseRecord, CaseVerdict, RecordError, RecordWriter, Summary};
use crate::snapshot::SnapshotStore;
use crate::target::Target;

/// The targets of a run, by the resolved model name of their cases.
pub type Targets = BTreeMap<String, Arc<dyn Target>>;

/// What happens during a run.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// A case begins.
    CaseStarted {
        /// Its number, from 0.
        index: usize,
        /// The case.
        case: &'a Case,
    },
    /// A generation of the case, or of its control, made one more token.
    Token {
        /// Whether it is the control that runs.
        control: bool,
    },
    /// A case ended, and is recorded.
    CaseFinished {
        /// Its number, from 0.
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
    /// Whether outputs that differ are written beside their snapshot for review.
    pub write_pending: bool,
    /// Becomes true when the user wants to stop.
    pub interrupted: watch::Receiver<bool>,
}

/// Runs every case, appends each to the record, and closes it. An interrupted run leaves out the
/// case it was in and the ones behind it.
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
    let mut summary = Summary::default();
    for (index, case) in cases.iter().enumerate() {
        on_event(RunEvent::CaseStarted { index, case });
        let Some(finished) = case::run_case(case, context, on_event).await else {
            break;
        };
        match finished.verdict {
            CaseVerdict::Passed => summary.passed += 1,
            CaseVerdict::Failed => summary.failed += 1,
            CaseVerdict::Errored => summary.errored += 1,
        }
        record.append(&finished)?;
        on_event(RunEvent::CaseFinished {
            index,
            record: &finished,
        });
    }
    summary.not_run = cases.len() - summary.passed - summary.failed - summary.errored;
    summary.wall_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    record.finish(&summary)?;
    Ok(summary)
}
