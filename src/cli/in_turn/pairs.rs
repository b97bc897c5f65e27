//! The pairs themselves: which cases, how often, and the records of both sides.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, builder::RangedU64ValueParser};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::backend::BackendFlags;
use super::super::execution::stoppable;
use super::super::exit::{Exit, Explained};
use super::super::screen::Screen;
use super::super::selection::{Planned, Selection};
use super::super::style::{DIM, RESET};
use super::super::targets::Answering;
use super::super::{paths, provenance};
use crate::engine::EngineOptions;
use crate::record::{
    CaseRecord, CaseVerdict, ModelProvenance, Provenance, Record, RecordWriter, Summary,
};
use crate::runner::{InTurn, RunContext, Sides, Targets, in_turn};
use crate::snapshot::SnapshotStore;

/// What `ab` and `aa` have in common.
#[derive(Debug, Args)]
pub(super) struct Pairs {
    #[command(flatten)]
    selection: Selection,
    /// How often each case is run on each side
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = RangedU64ValueParser::<usize>::new().range(2..=1000))]
    pairs: usize,
    /// Where the folder with both records is made
    #[arg(long, value_name = "DIR", default_value = "reports")]
    report: PathBuf,
    /// Where snapshots are kept; none is written
    #[arg(long, value_name = "DIR", default_value = "snapshots")]
    snapshots: PathBuf,
    #[command(flatten)]
    backend: BackendFlags,
}

/// Both sides, measured.
pub(super) struct Measured {
    pub(super) before: Record,
    pub(super) after: Record,
    folder: PathBuf,
    pub(super) pairs: usize,
    /// The code of the signal that ended it early.
    stopped: Option<Exit>,
}

impl Measured {
    /// Where the records are.
    pub(super) fn tell_where(&self, out: &mut dyn Write) -> io::Result<()> {
        let folder = self.folder.display();
        writeln!(out, "{DIM}records{RESET} {folder}/before {folder}/after")
    }

    /// The exit code, given the one that the comparison deserves: a side that could not answer has
    /// not been compared, and what was interrupted has not been measured as asked for.
    pub(super) fn exit(&self, compared: Exit) -> Exit {
        let cases = self.before.cases.iter().chain(&self.after.cases);
        let mut errors = cases.map(|case| case.verdict == CaseVerdict::Errored);
        match self.stopped {
            _ if errors.any(|errored| errored) => Exit::Target,
            Some(signal) => signal,
            None => compared,
        }
    }
}

impl Pairs {
    pub(super) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The same cases for each `--target`.
    pub(super) fn sides(&self) -> Vec<Selection> {
        self.selection.by_target()
    }

    /// Runs all pairs and records both sides; nothing, and people are told so, if there is no case.
    /// With `quiet`, people read stderr.
    pub(super) fn measure(
        &self,
        before: &Selection,
        after: &Selection,
        quiet: bool,
    ) -> anyhow::Result<Option<Measured>> {
        let screen = if quiet {
            Screen::Stderr
        } else {
            Screen::Stdout
        };
        let Some(earlier) = before.plan(screen)? else {
            return Ok(None);
        };
        let Some(later) = after.plan(screen)? else {
            return Ok(None);
        };
        // A prompt that is remembered makes the second of two runs shorter.
        let options = EngineOptions {
            prefix_cache_bytes: 0,
            ..self.backend.options()?
        };
        let folder = paths::new_run_folder(&self.report)?;
        let many = earlier.cases.len();
        let mut cases = [earlier.cases.as_slice(), later.cases.as_slice()].concat();
        let answering = Answering::prepare(&mut cases, &options, &folder).inspect_err(|_| {
            // A folder that holds a log stays.
            let _ = std::fs::remove_dir(&folder);
        })?;
        let after_cases = cases.split_off(many);
        let sides = cases.into_iter().zip(after_cases);
        let sides: Vec<Sides> = sides
            .map(|(before, after)| Sides { before, after })
            .collect();
        tell(&sides, self.pairs, &answering.models, screen);
        let (measured, stopped) = self.turns(&sides, &answering.targets)?;
        drop(answering.targets);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for InTurn { before, after } in measured {
            first.push(before);
            second.push(after);
        }
        let provenance = |side: &Selection, planned: Planned| {
            let models = &answering.models;
            provenance::of_plan(planned.plan, options.threads, 1, side.told(), models)
        };
        Ok(Some(Measured {
            before: record(
                &folder.join("before"),
                &provenance(before, earlier),
                &first,
                many,
            )?,
            after: record(
                &folder.join("after"),
                &provenance(after, later),
                &second,
                many,
            )?,
            folder,
            pairs: self.pairs,
            stopped,
        }))
    }

    fn turns(
        &self,
        sides: &[Sides],
        targets: &Targets,
    ) -> anyhow::Result<(Vec<InTurn>, Option<Exit>)> {
        let bar = ProgressBar::new((sides.len() * self.pairs) as u64);
        let style =
            ProgressStyle::with_template("{spinner} pair {pos}/{len} {elapsed}, {eta} left {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let snapshots = SnapshotStore::new(&self.snapshots);
        let (measured, stopped) = stoppable(async |interrupted| {
            let context = RunContext {
                targets,
                snapshots: &snapshots,
                jobs: 1,
                stop_loops: false,
                write_pending: false,
                interrupted,
                may_begin: &|| true,
                earlier: Summary::default(),
            };
            in_turn(sides, &context, self.pairs, &mut |case| {
                bar.set_message(case.before.id.clone());
                bar.inc(1);
            })
            .await
        })?;
        bar.finish_and_clear();
        Ok((measured.map_err(Explained::usage)?, stopped))
    }
}

/// What is about to run.
fn tell(sides: &[Sides], pairs: usize, models: &[ModelProvenance], screen: Screen) {
    let cases = match sides.len() {
        1 => "1 case".to_owned(),
        many => format!("{many} cases"),
    };
    screen.line(&format!(
        "loopwatch {}: {cases}, {pairs} pairs each",
        env!("CARGO_PKG_VERSION")
    ));
    for model in models {
        screen.line(&format!("model {} ({})", model.name, model.description));
    }
    screen.line("");
}

/// Writes the record of one side and reads it back.
fn record(
    folder: &Path,
    provenance: &Provenance,
    cases: &[CaseRecord],
    planned: usize,
) -> anyhow::Result<Record> {
    let mut writer = RecordWriter::create(folder, provenance)?;
    let mut summary = Summary {
        not_run: planned - cases.len(),
        ..Summary::default()
    };
    for case in cases {
        summary.count(case.verdict);
        writer.append(case)?;
    }
    writer.finish(&summary)?;
    Ok(Record::read(folder)?)
}
