//! `loopwatch sweep`: sampling settings over the same prompts, and what to take.

mod distortion;
mod print;
mod progress;
mod question;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::backend::BackendFlags;
use super::execution::Execution;
use super::exit::{Exit, Explained};
use super::targets::Answering;
use super::{paths, provenance, sampling};
use crate::record::{Provenance, Record, RecordWriter, Summary};
use crate::report;
use crate::snapshot::SnapshotStore;
use crate::sweep::{Analysis, Asked, DefinitionError, Design, Outcome, analyse};
use progress::Progress;
use question::Question;

/// Try sampling settings on the same prompts, and recommend one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sweep {
    #[command(flatten)]
    question: Question,
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
  loopwatch sweep my-prompts.yaml --axis penalty=1.0,1.1 --axis temperature=0,0.7 --repeats 5
  loopwatch sweep my-prompts.yaml --point penalty=1.05,window=20 --point penalty=1.2,window=64
  loopwatch sweep my-prompts.yaml --axis penalty=1..1.3:0.01 --axis window=16..128:16 --random 20";

impl Sweep {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let definition = self.question.definition()?;
        let prompts = self.question.prompts(&definition)?;
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
            self.question.set.clone(),
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
            stop_loops: definition.stop_loops,
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
            drawn: definition.space.drawn(),
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
