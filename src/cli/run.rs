//! `loopwatch run`: the scenarios, their verdicts, the record and the report.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::backend::BackendFlags;
use super::events::Events;
use super::execution::Execution;
use super::exit::{Exit, Explained};
use super::outputs::Outputs;
use super::progress::Progress;
use super::resume::{self, Begun};
use super::screen::Screen;
use super::targets::Answering;
use super::{paths, provenance, sampling, shard, summary};
use crate::backend::Precision;
use crate::endpoint::TargetWire;
use crate::engine::EngineOptions;
use crate::generation::Semantics;
use crate::plan::{self, Case, Filter, Overrides};
use crate::record::{
    ModelProvenance, PlanProvenance, PlannedCase, Provenance, Record, RecordWriter,
    ShardProvenance, Summary,
};
use crate::report;
use crate::runner;
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
    /// Begin no case after the first that does not pass; those that have begun are ended
    #[arg(long)]
    fail_fast: bool,
    /// Begin no case after this time, such as 50m, and end with 5 if some are left and none failed
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_time: Option<Duration>,
    /// Run one part of the cases: I/N, or 'auto' or auto/N to take the place that GitLab, CircleCI,
    /// Buildkite, Kubernetes or Slurm gave this job
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
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
  loopwatch run --junit results.xml --shard auto --resume auto
  loopwatch run scenarios/read-readme.yaml --set sampling.repetition_penalty=1.0";

impl Run {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let started = Instant::now();
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
        let screen = match Events::is_stdout(self.events.as_ref()) {
            true => Screen::Stderr,
            false => Screen::Stdout,
        };
        let plan = self.plan(&mut cases, screen)?;
        if self.list {
            return summary::list(&cases).map(|()| Exit::Passed);
        }
        let deadline = self.max_time.map(|time| started + time);
        self.start(cases, plan, deadline, screen)
    }

    /// Runs the cases of a plan, or the rest of them.
    fn start(
        &self,
        mut cases: Vec<Case>,
        plan: PlanProvenance,
        deadline: Option<Instant>,
        screen: Screen,
    ) -> anyhow::Result<Exit> {
        let options = self.backend.options()?;
        self.outputs.prepare()?;
        let mut events = Events::open(self.events.as_ref())?;
        let begun = match &self.resume {
            Some(wanted) => resume::find(wanted, &self.report, &plan)?,
            None => None,
        };
        let folder = match &begun {
            Some(begun) => {
                begun.leave_the_rest(&mut cases);
                begun.tell(&cases, screen);
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
        let snapshots = SnapshotStore::new(&self.snapshots);
        let write_pending =
            !self.is_experiment(&options) && update_policy() == UpdatePolicy::WritePending;
        let earlier = begun.as_ref().map(Begun::totals).unwrap_or_default();
        let writer = match begun {
            Some(begun) => begun.continued(&answering.models)?,
            None => {
                let provenance = self.provenance(&options, plan, &answering.models);
                RecordWriter::create(&folder, &provenance)?
            }
        };
        let mut progress = Progress::start(&cases, &answering.models, screen);
        let execution = Execution {
            cases: &cases,
            targets: &answering.targets,
            snapshots: &snapshots,
            jobs: usize::from(self.jobs),
            write_pending,
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
        self.conclude(&folder, &snapshots, outcome, write_pending, events, screen)
    }

    /// Writes the report and the results, and tells how the run ended.
    fn conclude(
        &self,
        folder: &Path,
        snapshots: &SnapshotStore,
        (summary, stopped): (Summary, Option<Exit>),
        write_pending: bool,
        events: Events,
        screen: Screen,
    ) -> anyhow::Result<Exit> {
        let record = Record::read(folder)?;
        std::fs::write(folder.join("index.html"), report::html(&record))?;
        let mut pending = snapshots.pending()?;
        pending.retain(|snapshot| {
            let of = |id: &str| snapshot.name.starts_with(&format!("{id}."));
            record.cases.iter().any(|case| of(&case.id))
        });
        summary::print(&record, &summary, folder, &pending, write_pending, screen)?;
        self.outputs.write(&record, screen)?;
        let exit = exit(&summary, stopped);
        events.finish(&record, exit)?;
        Ok(exit)
    }

    /// An overridden run is an experiment: its outputs are not meant to become references.
    fn is_experiment(&self, options: &EngineOptions) -> bool {
        !self.overrides().is_empty()
            || !self.target.is_empty()
            || !sampling::environment_as_text().is_empty()
            || options.precision != Precision::Exact
    }

    fn provenance(
        &self,
        options: &EngineOptions,
        plan: PlanProvenance,
        models: &[ModelProvenance],
    ) -> Provenance {
        Provenance {
            plan: Some(plan),
            ..provenance::collect(
                options.threads,
                usize::from(self.jobs),
                self.told(self.overrides()),
                sampling::environment_as_text(),
                models.to_vec(),
            )
        }
    }

    /// What is to be done, with the cases of this shard alone left in `cases`.
    fn plan(&self, cases: &mut Vec<Case>, screen: Screen) -> anyhow::Result<PlanProvenance> {
        let sha256 = plan::fingerprint(cases);
        let total = cases.len();
        let shard = match &self.shard {
            Some(text) => Some(shard::find(text, &|name| std::env::var(name).ok())?),
            None => None,
        };
        if let Some((shard, found)) = &shard {
            shard.select(cases);
            let from = found
                .as_ref()
                .map_or_else(String::new, |found| format!(", from {found}"));
            screen.line(&format!(
                "shard {shard}{from}: {} of {total} cases",
                cases.len()
            ));
        }
        let planned = |case: &Case| PlannedCase {
            id: case.id.clone(),
            index: case.index,
            scenario: case.scenario.clone(),
            line: case.line,
        };
        Ok(PlanProvenance {
            sha256,
            total,
            shard: shard.map(|(shard, _)| ShardProvenance {
                index: shard.index(),
                count: shard.count(),
            }),
            selected: cases.iter().map(planned).collect(),
        })
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
pub(super) fn exit(summary: &Summary, stopped: Option<Exit>) -> Exit {
    if summary.errored > 0 {
        Exit::Target
    } else if let (Some(signal), 1..) = (stopped, summary.not_run) {
        signal
    } else if summary.failed > 0 {
        Exit::Failed
    } else if summary.not_run > 0 {
        Exit::Outstanding
    } else {
        Exit::Passed
    }
}
