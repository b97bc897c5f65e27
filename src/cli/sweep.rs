//! `loopwatch sweep`: sampling settings over the same prompts, and what to take.

mod distortion;
mod print;
mod progress;
mod question;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::Args;

use super::backend::BackendFlags;
use super::execution::Execution;
use super::exit::{Exit, Explained};
use super::resume::Begun;
use super::screen::Screen;
use super::targets::Answering;
use super::{paths, provenance, resume};
use crate::plan::Case;
use crate::record::{PlanProvenance, PlannedCase, Provenance, Record, RecordWriter, Summary};
use crate::report;
use crate::snapshot::SnapshotStore;
use crate::sweep::{
    Analysis, Asked, Course, Definition, DefinitionError, Design, Outcome, analyse,
};
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
    /// Go on with an unfinished sweep of the same command: its folder, 'latest', or 'auto', which
    /// starts a new one if there is none to go on with
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
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
axis, 130 or 143 if it was interrupted: then it says what the answers so far come to, and the same
command with --resume latest goes on.

Examples:
  loopwatch sweep scenarios/sweeps/penalty.yaml
  loopwatch sweep scenarios/read-readme.yaml --axis penalty=1.0,1.05,1.1 --axis window=20,64
  loopwatch sweep my-prompts.yaml --axis penalty=1.0,1.1 --axis temperature=0,0.7 --repeats 5
  loopwatch sweep my-prompts.yaml --point penalty=1.05,window=20 --point penalty=1.2,window=64
  loopwatch sweep my-prompts.yaml --axis penalty=1..1.3:0.01 --axis window=16..128:16 --random 20
  loopwatch sweep scenarios/sweeps/penalty.yaml --adaptive
  loopwatch sweep scenarios/sweeps/penalty.yaml --resume auto";

impl Sweep {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let definition = self.question.definition()?;
        let prompts = self.question.prompts(&definition)?;
        if prompts.is_empty() {
            anstream::eprintln!("nothing to sweep: no prompt matches the filter");
            return Ok(Exit::NothingSelected);
        }
        let mut design = Design::new(&definition, &prompts).map_err(explained)?;
        let asked = asked(&definition);
        let options = self.backend.options()?;
        let plan = planned(&design, &definition);
        let is_over = |record: &Record| course(&design, record, &asked).next().is_empty();
        let begun = match &self.resume {
            Some(wanted) => resume::find(wanted, &self.report, &plan, &is_over)?,
            None => None,
        };
        let folder = match &begun {
            Some(begun) => begun.folder.clone(),
            None => paths::new_run_folder(&self.report)?,
        };
        let answering =
            Answering::prepare(&mut design.runs, &options, &folder).inspect_err(|_| {
                // A folder that holds a log or a record stays.
                let _ = std::fs::remove_dir(&folder);
            })?;
        let earlier = begun.as_ref().map(Begun::totals).unwrap_or_default();
        let (course, writer) = match begun {
            Some(begun) => {
                let course = course(&design, &begun.record, &asked);
                begun.tell(course.at_most(), Screen::Stdout);
                (course, begun.continued(&answering.models)?)
            }
            None => {
                let provenance = provenance::of_plan(
                    plan,
                    options.threads,
                    usize::from(self.jobs),
                    self.question.set.clone(),
                    &answering.models,
                );
                let none = vec![None; design.runs.len()];
                (
                    Course::of(&design, &none, &HashSet::new(), &asked),
                    RecordWriter::create(&folder, &provenance)?,
                )
            }
        };
        print::design(&design, &definition, &answering.models)?;
        let sweeping = Sweeping {
            folder: &folder,
            design: &design,
            asked: &asked,
            answering: &answering,
            jobs: usize::from(self.jobs),
            stop_loops: definition.stop_loops,
        };
        let mut progress = Progress::start(course.at_most());
        let outcome = sweeping.run(course, writer, earlier, &mut progress)?;
        self.conclude(&sweeping, progress, outcome)
    }

    /// Analyses everything that is recorded, from whichever start, and tells what it comes to.
    fn conclude(
        &self,
        sweeping: &Sweeping<'_>,
        mut progress: Progress,
        (summary, stopped): (Summary, Option<Exit>),
    ) -> anyhow::Result<Exit> {
        let (folder, design) = (sweeping.folder, sweeping.design);
        let record = Record::read(folder)?;
        let outcomes = outcomes(design, &record);
        let distortion = match stopped {
            Some(_) => Vec::new(),
            None => {
                let answering = sweeping.answering;
                distortion::measure(design, &record, &outcomes, answering, &mut progress)?
            }
        };
        progress.stop();
        let errored = errored(&record);
        let analysis = analyse(design, &outcomes, &errored, &distortion, sweeping.asked);
        self.write(folder, &analysis, &record.provenance)?;
        print::analysis(&analysis, folder, summary.wall_ms)?;
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

/// The runs of a sweep, under way.
struct Sweeping<'a> {
    folder: &'a Path,
    design: &'a Design,
    asked: &'a Asked,
    answering: &'a Answering,
    jobs: usize,
    stop_loops: bool,
}

impl Sweeping<'_> {
    /// Runs what is left, up to a look if the sweep is adaptive, and then what is left after it.
    fn run(
        &self,
        mut course: Course,
        mut writer: RecordWriter,
        mut earlier: Summary,
        progress: &mut Progress,
    ) -> anyhow::Result<(Summary, Option<Exit>)> {
        loop {
            let runs = course
                .next()
                .iter()
                .map(|run| self.design.runs[*run].clone());
            let runs: Vec<Case> = runs.collect();
            let execution = Execution {
                cases: &runs,
                targets: &self.answering.targets,
                snapshots: &SnapshotStore::new(Path::new("snapshots")),
                jobs: self.jobs,
                stop_loops: self.stop_loops,
                write_pending: false,
                fail_fast: false,
                deadline: None,
                earlier,
            };
            let (summary, stopped) = execution.run(writer, &mut |event| progress.show(event))?;
            if stopped.is_some() || self.design.schedule.is_none() {
                return Ok((summary, stopped));
            }
            course = self::course(self.design, &Record::read(self.folder)?, self.asked);
            if course.next().is_empty() {
                return Ok((summary, None));
            }
            progress.left(course.at_most());
            (writer, _) = RecordWriter::resume(self.folder)?;
            earlier = summary;
        }
    }
}

/// How far a recorded sweep has come.
fn course(design: &Design, record: &Record, asked: &Asked) -> Course {
    Course::of(design, &outcomes(design, record), &errored(record), asked)
}

fn asked(definition: &Definition) -> Asked {
    Asked {
        description: definition.description.clone(),
        target_rate: definition.target_rate,
        margin: definition.margin,
        drawn: definition.space.drawn(),
    }
}

/// What is to be run, so that a later start can go on. What only the analysis needs, such as the
/// target rate, may be another one then; in an adaptive sweep it decides what is run.
fn planned(design: &Design, definition: &Definition) -> PlanProvenance {
    let planned = |case: &Case| PlannedCase {
        id: case.id.clone(),
        index: case.index,
        scenario: case.scenario.clone(),
        line: case.line,
    };
    let mut how = match definition.stop_loops {
        true => "answers end at their loops".to_owned(),
        false => String::new(),
    };
    if definition.adaptive {
        let (target, margin) = (definition.target_rate, definition.margin);
        how += &format!("; adaptive, target {target}, margin {margin}");
    }
    PlanProvenance {
        sha256: design.fingerprint(&how),
        total: design.runs.len(),
        shard: None,
        selected: design.runs.iter().map(planned).collect(),
        thresholds: Vec::new(),
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

/// The runs whose target could not answer.
fn errored(record: &Record) -> HashSet<usize> {
    let cases = record.cases.iter();
    let errored = cases.filter(|case| case.run.error.is_some());
    errored.map(|case| case.index).collect()
}

/// A broken file keeps its place.
fn explained(error: DefinitionError) -> anyhow::Error {
    match error {
        DefinitionError::Yaml(error) => error.into(),
        other => Explained::usage(other),
    }
}
