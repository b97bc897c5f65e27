//! `loopwatch run`: the scenarios, their verdicts, the record and the report.

use std::path::PathBuf;

use clap::Args;
use tokio::sync::{oneshot, watch};

use super::backend::BackendFlags;
use super::exit::{Exit, Explained};
use super::progress::Progress;
use super::targets::Answering;
use super::{paths, provenance, sampling, summary};
use crate::backend::Precision;
use crate::endpoint::TargetWire;
use crate::generation::Semantics;
use crate::plan::{self, Case, Filter, Overrides};
use crate::record::{Record, RecordWriter, Summary};
use crate::report;
use crate::runner::{self, RunContext};
use crate::scenario::Scenario;
use crate::snapshot::{SnapshotStore, UpdatePolicy};

/// Run scenarios and judge what the model says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// Scenario files, or folders that hold some
    #[arg(value_name = "PATH", default_value = "scenarios")]
    paths: Vec<PathBuf>,
    /// Only cases whose id contains this; tag:NAME selects by tag, commas mean 'or'
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Who answers instead of the scenarios' targets: engine, openai:URL, anthropic:URL or
    /// spawn:COMMAND; repeatable, and then each answers every case
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Override a scenario field: model, target.…, sampling.…, limits.… or template.…; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Sampling of every scenario: loopwatch, mlx-lm-0.28.3, mlx-lm-0.31.3 or mlx-lm-0.32.2;
    /// short for --set sampling.semantics=PROFILE
    #[arg(long, value_name = "PROFILE")]
    semantics: Option<Semantics>,
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
    /// List the selected cases and run nothing
    #[arg(long)]
    list: bool,
}

/// Conversations that go on together unless asked for otherwise: more gain little on a few cores.
const JOBS: u16 = 16;

const EXAMPLES: &str = "\
Ends with 0 if all cases pass, 100 if one fails, 101 if a model cannot be loaded, 2 for a broken
scenario, 4 if nothing is selected.

Examples:
  loopwatch run
  loopwatch run scenarios/read-readme.yaml
  loopwatch run --filter tag:agent
  loopwatch run scenarios/read-readme.yaml --set sampling.repetition_penalty=1.0";

impl Run {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let environment = sampling::environment()?;
        let set = self.overrides();
        let targets = self.target.iter().map(|text| TargetWire::parse(text));
        let overrides = Overrides {
            targets: targets
                .collect::<Result<_, _>>()
                .map_err(|problem| Explained::usage(format!("--target: {problem}")))?,
            ..Overrides::parse(&set).map_err(Explained::usage)?
        };
        let mut cases = self.cases(&overrides, &environment)?;
        if cases.is_empty() {
            let filter = self.filter.as_deref().unwrap_or_default();
            anstream::eprintln!("nothing to run: no case matches '{filter}'");
            return Ok(Exit::NothingSelected);
        }
        if self.list {
            return summary::list(&cases).map(|()| Exit::Passed);
        }
        let options = self.backend.options()?;
        let folder = paths::new_run_folder(&self.report)?;
        let answering = Answering::prepare(&mut cases, &options, &folder).inspect_err(|_| {
            // A folder that holds a log stays.
            let _ = std::fs::remove_dir(&folder);
        })?;
        let models = &answering.models;
        let variables = sampling::environment_as_text();
        // An overridden run is an experiment: its outputs are not meant to become references.
        let experiment = !set.is_empty()
            || !self.target.is_empty()
            || !variables.is_empty()
            || options.precision != Precision::Exact;
        let write_pending = !experiment && update_policy() == UpdatePolicy::WritePending;
        let writer = RecordWriter::create(
            &folder,
            &provenance::collect(
                options.threads,
                usize::from(self.jobs),
                self.told(set),
                variables,
                models.clone(),
            ),
        )?;

        let mut progress = Progress::start(&cases, models);
        let snapshots = SnapshotStore::new(&self.snapshots);
        let (summary, stopped) = execute(
            &cases,
            |interrupted| RunContext {
                targets: &answering.targets,
                snapshots: &snapshots,
                jobs: usize::from(self.jobs),
                write_pending,
                interrupted,
            },
            writer,
            &mut |event| progress.show(&event),
        )?;
        progress.stop();
        drop(answering);

        let record = Record::read(&folder)?;
        let page = folder.join("index.html");
        std::fs::write(&page, report::html(&record))?;
        let mut pending = snapshots.pending()?;
        pending.retain(|snapshot| {
            let of = |id: &str| snapshot.name.starts_with(&format!("{id}."));
            record.cases.iter().any(|case| of(&case.id))
        });
        summary::print(&record, &summary, &folder, &pending, write_pending)?;
        Ok(exit(&summary, stopped))
    }

    /// What is laid over every scenario, in the form of `--set`.
    fn overrides(&self) -> Vec<String> {
        let semantics = self
            .semantics
            .map(|name| format!("sampling.semantics={name}"));
        self.set.iter().cloned().chain(semantics).collect()
    }

    /// Overrides as the record has them.
    fn told(&self, mut set: Vec<String>) -> Vec<String> {
        set.extend(
            self.target
                .iter()
                .map(|target| format!("--target={target}")),
        );
        set
    }

    fn cases(
        &self,
        overrides: &Overrides,
        environment: &crate::generation::SamplingSettings,
    ) -> anyhow::Result<Vec<Case>> {
        let filter = match &self.filter {
            Some(text) => Some(Filter::parse(text).map_err(Explained::usage)?),
            None => None,
        };
        let scenarios = plan::discover(&self.paths)
            .map_err(Explained::usage)?
            .iter()
            .map(|path| Scenario::load(path))
            .collect::<Result<Vec<_>, _>>()?;
        let mut cases =
            plan::expand(&scenarios, overrides, environment).map_err(Explained::usage)?;
        if let Some(filter) = filter {
            cases.retain(|case| filter.matches(case));
        }
        Ok(cases)
    }
}

/// Runs cases on a runtime of its own, and ends early at Ctrl-C or SIGTERM; then the exit code
/// says which. `context` is given what becomes true at such an end.
pub(super) fn execute<'a>(
    cases: &[Case],
    context: impl FnOnce(watch::Receiver<bool>) -> RunContext<'a>,
    writer: RecordWriter,
    on_event: &mut dyn FnMut(runner::RunEvent<'_>),
) -> anyhow::Result<(Summary, Option<Exit>)> {
    // Without the event queue of the system, which only signals need: waking a thread that
    // waits for it costs microseconds, and every step of the model wakes this one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mut signals = signals()?;
    let (stop, interrupted) = watch::channel(false);
    let context = context(interrupted);
    runtime.block_on(async {
        let run = runner::run(cases, &context, writer, on_event);
        let mut run = std::pin::pin!(run);
        tokio::select! {
            summary = &mut run => Ok((summary?, None)),
            // Without the thread behind it there are no signals, and the run goes on.
            Ok(signal) = &mut signals => {
                // The run holds a receiver, so this cannot fail while it goes on.
                let _ = stop.send(true);
                Ok((run.await?, Some(signal)))
            }
        }
    })
}

/// Listens on a thread of its own, which ends with the program.
fn signals() -> std::io::Result<oneshot::Receiver<Exit>> {
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

fn update_policy() -> UpdatePolicy {
    let variable = |name| std::env::var(name).ok();
    UpdatePolicy::from_environment(variable("CI").as_deref(), variable("TF_BUILD").as_deref())
}

/// The more serious outcome wins; `stopped` is the code of an early end, if there was one.
pub(super) fn exit(summary: &Summary, stopped: Option<Exit>) -> Exit {
    if summary.errored > 0 {
        Exit::Target
    } else if summary.not_run > 0 {
        stopped.unwrap_or(Exit::Interrupted)
    } else if summary.failed > 0 {
        Exit::Failed
    } else {
        Exit::Passed
    }
}
