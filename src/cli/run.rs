//! `loopwatch run`: the scenarios, their verdicts, the record and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::backend::BackendFlags;
use super::events::Events;
use super::execution::{Execution, signals};
use super::exit::Exit;
use super::outputs::Outputs;
use super::progress::Progress;
use super::resume::{self, Begun};
use super::screen::Screen;
use super::selection::{Planned, Selection};
use super::style::{BOLD, DIM, RESET};
use super::targets::Answering;
use super::watch::Watched;
use super::{list, paths, provenance, sampling, summary};
use crate::backend::Precision;
use crate::engine::EngineOptions;
use crate::gate::Gate;
use crate::plan::{self, Case};
use crate::record::{PlanProvenance, Provenance, Record, RecordWriter, Summary};
use crate::report;
use crate::runner;
use crate::snapshot::{PendingSnapshot, SnapshotKey, SnapshotStore, UpdatePolicy};

/// Run scenarios and judge what the model says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    #[command(flatten)]
    selection: Selection,
    /// Where snapshots are kept
    #[arg(long, value_name = "DIR", default_value = "snapshots")]
    snapshots: PathBuf,
    /// Where the folder of this run is made
    #[arg(long, value_name = "DIR", default_value = "reports")]
    report: PathBuf,
    #[command(flatten)]
    backend: BackendFlags,
    /// Most conversations that go on at the same time; changes no answer, but their times: 1 is
    /// for measuring
    #[arg(long, value_name = "N", default_value_t = JOBS,
          value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// End with 100 if a snapshot is there that no test asks for
    #[arg(long)]
    fail_on_unreferenced: bool,
    /// Run again whenever a scenario, a file beside or below it, or a snapshot changes
    #[arg(long, conflicts_with_all = ["list", "resume", "shard"])]
    watch: bool,
    /// List the selected cases, as 'loopwatch list' does, and run nothing
    #[arg(long)]
    list: bool,
    /// Begin no case after the first that does not pass; those that have begun are ended
    #[arg(long)]
    fail_fast: bool,
    /// Begin no case after this time, such as 50m, and end with 5 if some are left and none failed
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_time: Option<Duration>,
    /// Go on with an unfinished run of the same command: its folder, 'latest', or 'auto', which
    /// starts a new one if there is none to go on with
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Write a line of JSON for each event meanwhile; - is stdout, and people then read stderr
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
}

fn time(text: &str) -> Result<Duration, String> {
    crate::yaml::duration(text).ok_or_else(|| "write it as 30s or 50m; at most a day".to_owned())
}

/// Conversations that go on together unless asked for otherwise: more gain little on a few cores.
const JOBS: u16 = 16;

const EXAMPLES: &str = "\
Ends with 0 if all cases pass, 100 if one fails, 101 if a model cannot be loaded or a server not
answer, 2 for a broken scenario, 4 if nothing is selected, 5 if some are left. docs/exit-codes.md
has the rest, docs/ci.md shows how to use it in CI.

Examples:
  loopwatch run
  loopwatch run scenarios/read-readme.yaml
  loopwatch run --filter tag:agent
  loopwatch run --watch scenarios/read-readme.yaml
  loopwatch run --junit results.xml --shard auto --resume auto
  loopwatch run scenarios/read-readme.yaml --set sampling.repetition_penalty=1.0";

impl Run {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self.watch {
            true => self.again_and_again(),
            false => self.once(),
        }
    }

    /// Runs whenever a file changes, until the user has seen enough.
    fn again_and_again(&self) -> anyhow::Result<Exit> {
        // Listens all the time: between two runs nobody else does.
        let mut signals = signals()?;
        loop {
            let mut watched = Watched::new(self.selection.paths(), &self.snapshots, &self.report)?;
            // A file that is broken while somebody writes it ends nothing.
            match self.once() {
                Ok(exit @ (Exit::Interrupted | Exit::Terminated)) => return Ok(exit),
                Ok(_) => {}
                Err(error) => {
                    super::explain(error);
                }
            }
            anstream::eprintln!(
                "{DIM}watching {}; a change runs again, Ctrl-C ends{RESET}",
                watched.files()
            );
            match watched.wait(&mut signals)? {
                Ok(path) => anstream::eprintln!("{BOLD}{} changed{RESET}\n", path.display()),
                Err(signal) => return Ok(signal),
            }
        }
    }

    fn once(&self) -> anyhow::Result<Exit> {
        let started = Instant::now();
        let screen = match Events::is_stdout(self.events.as_ref()) {
            true => Screen::Stderr,
            false => Screen::Stdout,
        };
        let Some(planned) = self.selection.plan(screen)? else {
            return Ok(Exit::NothingSelected);
        };
        if self.list {
            return list::print(&planned.cases).map(|()| Exit::Passed);
        }
        let deadline = self.max_time.map(|time| started + time);
        self.start(planned, deadline, screen)
    }

    /// Runs the cases of a plan, or the rest of them.
    fn start(
        &self,
        planned: Planned,
        deadline: Option<Instant>,
        screen: Screen,
    ) -> anyhow::Result<Exit> {
        let Planned {
            mut cases,
            plan,
            with_snapshot,
        } = planned;
        let options = self.backend.options()?;
        self.outputs.prepare()?;
        let mut events = Events::open(self.events.as_ref())?;
        let begun = match &self.resume {
            Some(wanted) => {
                let is_over = |record: &Record| record.cases.len() == plan.selected.len();
                resume::find(wanted, &self.report, &plan, &is_over)?
            }
            None => None,
        };
        let folder = match &begun {
            Some(begun) => {
                begun.leave_the_rest(&mut cases);
                begun.tell(cases.len(), screen);
                begun.folder.clone()
            }
            None => paths::new_run_folder(&self.report)?,
        };
        let planned = cases.clone();
        events.start(&plan, cases.len(), &folder.join("record.jsonl"));
        let answering = match Answering::prepare(&mut cases, &options, &folder) {
            Ok(answering) => answering,
            Err(error) => {
                // A folder that holds a log stays.
                let _ = std::fs::remove_dir(&folder);
                let record = unanswered(begun.map(|begun| begun.record), plan, &planned, &error);
                self.outputs.write(&record, screen)?;
                events.finish(&record, super::exit::of_error(&error))?;
                return Err(error);
            }
        };
        let snapshots = Snapshots {
            store: SnapshotStore::new(&self.snapshots),
            write_pending: !self.is_experiment(&options)
                && update_policy() == UpdatePolicy::WritePending,
            asked_for: with_snapshot,
        };
        let earlier = begun.as_ref().map(Begun::totals).unwrap_or_default();
        let writer = match begun {
            Some(begun) => begun.continued(&answering.models)?,
            None => {
                let provenance = provenance::of_plan(
                    plan,
                    options.threads,
                    usize::from(self.jobs),
                    self.selection.told(),
                    &answering.models,
                );
                RecordWriter::create(&folder, &provenance)?
            }
        };
        let mut progress = Progress::start(&cases, &answering.models, screen);
        let execution = Execution {
            cases: &cases,
            targets: &answering.targets,
            snapshots: &snapshots.store,
            jobs: usize::from(self.jobs),
            write_pending: snapshots.write_pending,
            stop_loops: false,
            fail_fast: self.fail_fast,
            deadline,
            earlier,
        };
        let outcome = execution.run(writer, &mut |event| {
            progress.show(event);
            events.show(event);
        })?;
        progress.stop();
        drop(answering);
        self.conclude(&folder, &snapshots, outcome, events, screen)
    }

    /// Writes the report and the results, and tells how the run ended.
    fn conclude(
        &self,
        folder: &Path,
        snapshots: &Snapshots,
        (summary, stopped): (Summary, Option<Exit>),
        events: Events,
        screen: Screen,
    ) -> anyhow::Result<Exit> {
        let record = Record::read(folder)?;
        std::fs::write(folder.join("index.html"), report::html(&record))?;
        let pending = snapshots.pending(&record)?;
        let unreferenced = snapshots.store.unreferenced(&snapshots.asked_for)?;
        summary::print(&record, &summary, folder, &pending, &unreferenced, screen)?;
        self.outputs.write(&record, screen)?;
        let mut exit = exit(&summary, stopped, &Gate::of(&record));
        let clean = matches!(exit, Exit::Passed | Exit::Regressed | Exit::Outstanding);
        if self.fail_on_unreferenced && !unreferenced.is_empty() && clean {
            exit = Exit::Failed;
        }
        events.finish(&record, exit)?;
        Ok(exit)
    }

    /// An overridden run is an experiment: its outputs are not meant to become references.
    fn is_experiment(&self, options: &EngineOptions) -> bool {
        !self.selection.told().is_empty()
            || !sampling::environment_as_text().is_empty()
            || options.precision != Precision::Exact
    }
}

/// The snapshots of a run.
struct Snapshots {
    store: SnapshotStore,
    write_pending: bool,
    /// The tests that want one, by scenario.
    asked_for: BTreeMap<String, Vec<String>>,
}

impl Snapshots {
    /// What a run has left for review.
    fn pending(&self, record: &Record) -> anyhow::Result<Vec<PendingSnapshot>> {
        if !self.write_pending {
            return Ok(Vec::new());
        }
        let keys = record.cases.iter().map(|case| {
            let (scenario, test) = plan::scenario_and_test(&case.id);
            SnapshotKey {
                scenario: scenario.to_owned(),
                test: test.to_owned(),
                model: case.model.clone(),
            }
        });
        let of_run: BTreeSet<PathBuf> = keys.map(|key| self.store.path(&key)).collect();
        let mut pending = self.store.pending()?;
        pending.retain(|snapshot| of_run.contains(&snapshot.reference));
        Ok(pending)
    }
}

/// What other programs are told if nobody can answer: every case that was to run is in trouble.
fn unanswered(
    begun: Option<Record>,
    plan: PlanProvenance,
    cases: &[Case],
    error: &anyhow::Error,
) -> Record {
    let error = format!("{error:#}");
    let mut record = begun.unwrap_or_else(|| Record {
        provenance: Provenance {
            plan: Some(plan),
            ..provenance::collect(0, 0, Vec::new(), Vec::new(), Vec::new())
        },
        cases: Vec::new(),
        summary: None,
        truncated: false,
    });
    let rest = cases.iter().map(|case| runner::unanswered(case, &error));
    record.cases.extend(rest);
    record.summary = Some(resume::totals(&record));
    record
}

fn update_policy() -> UpdatePolicy {
    let variable = |name| std::env::var(name).ok();
    UpdatePolicy::from_environment(variable("CI").as_deref(), variable("TF_BUILD").as_deref())
}

/// The more serious outcome wins; `stopped` is the code of the signal that ended the run, if one
/// did.
pub(super) fn exit(summary: &Summary, stopped: Option<Exit>, gate: &Gate) -> Exit {
    if summary.errored > 0 {
        Exit::Target
    } else if let (Some(signal), 1..) = (stopped, summary.not_run) {
        signal
    } else if summary.failed > gate.tolerated {
        Exit::Failed
    } else if gate.is_broken() {
        Exit::Regressed
    } else if summary.not_run > 0 {
        Exit::Outstanding
    } else {
        Exit::Passed
    }
}
