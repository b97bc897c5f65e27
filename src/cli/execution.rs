//! The running of a plan, or of other long work: its runtime, what stops it, and who hears of its
//! events.

use std::cell::Cell;
use std::time::Instant;

use tokio::sync::{oneshot, watch};

use super::exit::Exit;
use crate::plan::Case;
use crate::record::{CaseVerdict, RecordWriter, Summary};
use crate::runner::{self, RunContext, Targets};
use crate::snapshot::SnapshotStore;

/// What is to be run, and how.
pub(super) struct Execution<'a> {
    pub(super) cases: &'a [Case],
    pub(super) targets: &'a Targets,
    pub(super) snapshots: &'a SnapshotStore,
    pub(super) jobs: usize,
    /// Whether a generation ends once its loop is confirmed.
    pub(super) stop_loops: bool,
    pub(super) write_pending: bool,
    pub(super) fail_fast: bool,
    /// When the last case may begin.
    pub(super) deadline: Option<Instant>,
    /// Totals of the cases that are recorded already.
    pub(super) earlier: Summary,
}

impl Execution<'_> {
    /// Runs on a runtime of its own, and ends early at Ctrl-C or SIGTERM; then the exit code says
    /// which.
    pub(super) fn run(
        self,
        writer: RecordWriter,
        on_event: &mut dyn FnMut(&runner::RunEvent<'_>),
    ) -> anyhow::Result<(Summary, Option<Exit>)> {
        let failed = Cell::new(false);
        let may_begin = || {
            let late = self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline);
            let failed = self.fail_fast && failed.get();
            !late && !failed
        };
        let mut watched = |event: runner::RunEvent<'_>| {
            if let runner::RunEvent::CaseFinished { record, .. } = &event {
                failed.set(failed.get() || record.verdict != CaseVerdict::Passed);
            }
            on_event(&event);
        };
        let (summary, stopped) = stoppable(async |interrupted| {
            let context = RunContext {
                targets: self.targets,
                snapshots: self.snapshots,
                jobs: self.jobs,
                stop_loops: self.stop_loops,
                write_pending: self.write_pending,
                interrupted,
                may_begin: &may_begin,
                earlier: self.earlier,
            };
            runner::run(self.cases, &context, writer, &mut watched).await
        })?;
        Ok((summary?, stopped))
    }
}

/// Does work on a runtime of its own. At Ctrl-C or SIGTERM it is told to stop, and the exit code
/// says which it was.
pub(super) fn stoppable<T>(
    work: impl AsyncFnOnce(watch::Receiver<bool>) -> T,
) -> anyhow::Result<(T, Option<Exit>)> {
    // Without the event queue of the system, which only signals need: waking a thread that waits
    // for it costs microseconds, and every step of the model wakes this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mut signals = signals()?;
    let (stop, interrupted) = watch::channel(false);
    runtime.block_on(async {
        let mut work = std::pin::pin!(work(interrupted));
        tokio::select! {
            done = &mut work => Ok((done, None)),
            // Without the thread behind it there are no signals, and the work goes on.
            Ok(signal) = &mut signals => {
                // The work holds a receiver, so this cannot fail while it goes on.
                let _ = stop.send(true);
                Ok((work.await, Some(signal)))
            }
        }
    })
}

/// Listens for Ctrl-C and SIGTERM on a thread of its own, which ends with the program.
pub(super) fn signals() -> std::io::Result<oneshot::Receiver<Exit>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let exit = runtime.block_on(super::signals::asked_to_stop());
            // A run that is over needs no signal.
            let _ = sender.send(exit);
        })?;
    Ok(receiver)
}
