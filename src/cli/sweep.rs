//! `loopwatch sweep`: a grid of sampling settings over the same prompts, and what to take.

mod distortion;
mod print;
mod progress;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::backend::BackendFlags;
use super::execution::Execution;
use super::exit::{Exit, Explained};
use super::targets::Answering;
use super::{paths, provenance, sampling};
use crate::plan::{self, Case, Filter, Overrides};
use crate::record::{Provenance, Record, RecordWriter, Summary};
use crate::report;
use crate::scenario::Scenario;
use crate::snapshot::SnapshotStore;
use crate::sweep::{
    Analysis, Arrangement, Asked, Axis, Definition, DefinitionError, Design, Outcome, analyse,
};
use progress::Progress;

/// Try a grid of sampling settings on the same prompts, and recommend one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sweep {
    /// A sweep file, or scenarios whose tests are the prompts
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// A sampling field and its values, such as penalty=1.0,1.05,1.1 or window=20,64; repeatable,
    /// and replaces an axis of the file
    #[arg(long, value_name = "NAME=V1,V2,…")]
    axis: Vec<String>,
    /// Combine the first values of all axes, then the second ones, and so on, instead of each
    /// with each
    #[arg(long)]
    zip: bool,
    /// Seeds of sampled answers, one answer for each [default: 1]
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        conflicts_with = "repeats"
    )]
    seeds: Vec<u64>,
    /// Short for the seeds 1 to N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: Option<u16>,
    /// The loop rate that the 95 % upper bound must stay below [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    target_rate: Option<f64>,
    /// How much lower the share of answers with every other assertion passed may be
    /// [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    margin: Option<f64>,
    /// Only prompts whose id contains this; tag:NAME selects by tag, commas mean 'or'
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Override a scenario field: model, target.…, sampling.…, limits.… or template.…; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the folder of this sweep is made
    #[arg(long, value_name = "DIR", default_value = "reports")]
    report: PathBuf,
    /// Write the analysis as JSON to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendFlags,
    /// Most answers that are generated together
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
}

const EXAMPLES: &str = "\
Ends with 0 whatever the recommendation, 101 if a target cannot be loaded, 2 for a broken file or
axis, 130 or 143 if it was interrupted: then it says what the answers so far come to.

Examples:
  loopwatch sweep scenarios/sweeps/penalty.yaml
  loopwatch sweep scenarios/read-readme.yaml --axis penalty=1.0,1.05,1.1 --axis window=20,64
  loopwatch sweep my-prompts.yaml --axis penalty=1.0,1.1 --axis temperature=0,0.7 --repeats 5";

impl Sweep {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let definition = self.definition()?;
        let prompts = self.prompts(&definition)?;
        if prompts.is_empty() {
            anstream::eprintln!("nothing to sweep: no prompt matches the filter");
            return Ok(Exit::NothingSelected);
        }
        let mut design = Design::new(&definition, &prompts).map_err(explained)?;
        let options = self.backend.options()?;
        let folder = paths::new_run_folder(&self.report)?;
        let answering =
            Answering::prepare(&mut design.runs, &options, &folder).inspect_err(|_| {
                // A folder that holds a log stays.
                let _ = std::fs::remove_dir(&folder);
            })?;
        let provenance = provenance::collect(
            options.threads,
            usize::from(self.jobs),
            self.set.clone(),
            sampling::environment_as_text(),
            answering.models.clone(),
        );
        let writer = RecordWriter::create(&folder, &provenance)?;
        print::design(&design, &definition, &answering.models)?;
        let mut progress = Progress::start(design.runs.len());
        let snapshots = SnapshotStore::new(Path::new("snapshots"));
        let execution = Execution {
            cases: &design.runs,
            targets: &answering.targets,
            snapshots: &snapshots,
            jobs: usize::from(self.jobs),
            write_pending: false,
            fail_fast: false,
            deadline: None,
            earlier: Summary::default(),
        };
        let (summary, stopped) = execution.run(writer, &mut |event| progress.show(event))?;
        let record = Record::read(&folder)?;
        let outcomes = outcomes(&design, &record);
        let distortion = match stopped {
            Some(_) => Vec::new(),
            None => distortion::measure(&design, &record, &outcomes, &answering, &mut progress)?,
        };
        progress.stop();
        let asked = Asked {
            description: definition.description.clone(),
            target_rate: definition.target_rate,
            margin: definition.margin,
        };
        let analysis = analyse(&design, &outcomes, &distortion, &asked);
        self.write(&folder, &analysis, &provenance)?;
        print::analysis(&analysis, &folder, summary.wall_ms)?;
        print::errors(&record)?;
        Ok(match stopped {
            Some(signal) => signal,
            None if summary.errored > 0 => Exit::Target,
            None => Exit::Passed,
        })
    }

    /// The file, with the command line laid over it.
    fn definition(&self) -> anyhow::Result<Definition> {
        if let Some(missing) = self.paths.iter().find(|path| !path.exists()) {
            return Err(Explained::usage(format!(
                "there is no {}",
                missing.display()
            )));
        }
        let sweeps = |path: &PathBuf| Definition::is_at(path);
        let mut definition = match self.paths.as_slice() {
            [path] if sweeps(path) => Definition::load(path).map_err(explained)?,
            paths => match paths.iter().find(|path| sweeps(path)) {
                Some(path) => {
                    return Err(Explained::usage(format!(
                        "{} is a sweep file, and has to be given alone",
                        path.display()
                    )));
                }
                None => Definition::over(paths.to_vec()),
            },
        };
        for text in &self.axis {
            let axis = Axis::parse(text).map_err(|error| explained(error.into()))?;
            definition.set_axis(axis);
        }
        if self.zip {
            definition.arrangement = Arrangement::Zip;
        }
        if !self.seeds.is_empty() {
            definition.seeds.clone_from(&self.seeds);
        }
        if let Some(repeats) = self.repeats {
            definition.seeds = (1..=u64::from(repeats)).collect();
        }
        definition.target_rate = self.target_rate.unwrap_or(definition.target_rate);
        definition.margin = self.margin.unwrap_or(definition.margin);
        definition.check().map_err(explained)?;
        Ok(definition)
    }

    fn prompts(&self, definition: &Definition) -> anyhow::Result<Vec<Case>> {
        let mut overrides = Overrides::parse(&self.set).map_err(Explained::usage)?;
        if overrides.model.is_none() {
            overrides.model.clone_from(&definition.model);
        }
        let scenarios = plan::discover(&definition.scenarios)
            .map_err(Explained::usage)?
            .iter()
            .map(|path| Scenario::load(path))
            .collect::<Result<Vec<_>, _>>()?;
        let environment = sampling::environment()?;
        let mut cases =
            plan::expand(&scenarios, &overrides, &environment).map_err(Explained::usage)?;
        if let Some(filter) = &self.filter {
            let filter = Filter::parse(filter).map_err(Explained::usage)?;
            cases.retain(|case| filter.matches(case));
        }
        Ok(cases)
    }

    /// The analysis as page, Markdown, JSON and drawings.
    fn write(
        &self,
        folder: &Path,
        analysis: &Analysis,
        provenance: &Provenance,
    ) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(analysis)? + "\n";
        if let Some(file) = &self.json {
            std::fs::write(file, &json).map_err(|error| {
                Explained::usage(format!("cannot write {}: {error}", file.display()))
            })?;
        }
        std::fs::write(folder.join("sweep.json"), json)?;
        std::fs::write(
            folder.join("sweep.md"),
            report::sweep::markdown(analysis, provenance),
        )?;
        std::fs::write(
            folder.join("sweep.html"),
            report::sweep::html(analysis, provenance),
        )?;
        for drawing in report::sweep::drawings(analysis) {
            std::fs::write(folder.join(format!("{}.svg", drawing.name)), drawing.file())?;
        }
        Ok(())
    }
}

/// The outcome of each run of the design that was recorded.
fn outcomes(design: &Design, record: &Record) -> Vec<Option<Outcome>> {
    let mut found: HashMap<usize, Outcome> = record
        .cases
        .iter()
        .filter_map(|case| Some((case.index, Outcome::of(case)?)))
        .collect();
    (0..design.runs.len())
        .map(|run| found.remove(&run))
        .collect()
}

/// A broken file keeps its place.
fn explained(error: DefinitionError) -> anyhow::Error {
    match error {
        DefinitionError::Yaml(error) => error.into(),
        other => Explained::usage(other),
    }
}
