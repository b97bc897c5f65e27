//! `--resume`: finds the record to go on with, and refuses one that was made with another plan.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::exit::Explained;
use super::paths;
use super::screen::Screen;
use crate::plan::Case;
use crate::record::{ModelProvenance, PlanProvenance, Record, RecordError, RecordWriter, Summary};

/// Continues with the newest run if it is unfinished and fits, and otherwise starts a new one.
const AUTO: &str = "auto";

/// An unfinished run that goes on.
pub(super) struct Begun {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// What it holds.
    pub(super) record: Record,
    /// Where it goes on.
    pub(super) writer: RecordWriter,
}

/// The run that `wanted` names: a folder, `latest` or `auto`. Nothing if a new run is to start;
/// `is_over` says of a record whether nothing is left to run.
pub(super) fn find(
    wanted: &Path,
    reports: &Path,
    plan: &PlanProvenance,
    is_over: &dyn Fn(&Record) -> bool,
) -> anyhow::Result<Option<Begun>> {
    if wanted != Path::new(AUTO) {
        let folder = paths::find_run(wanted, reports)?;
        let record = Record::read(&folder).map_err(Explained::usage)?;
        check(&record, plan).map_err(|problem| {
            Explained::usage(format!("cannot resume {}: {problem}", folder.display()))
        })?;
        return begin(folder).map(Some);
    }
    let Ok(folder) = paths::find_run(Path::new("latest"), reports) else {
        return Ok(None);
    };
    let record = match Record::read(&folder) {
        Ok(record) => record,
        // It died before it had anything to lose.
        Err(RecordError::Empty { .. }) => return Ok(None),
        Err(error) => return Err(Explained::usage(error)),
    };
    if check(&record, plan).is_err() || is_over(&record) {
        return Ok(None);
    }
    begin(folder).map(Some)
}

fn begin(folder: PathBuf) -> anyhow::Result<Begun> {
    let folder = match folder.is_dir() {
        true => folder,
        false => folder.parent().map(Path::to_path_buf).unwrap_or_default(),
    };
    let (writer, record) = RecordWriter::resume(&folder).map_err(Explained::usage)?;
    Ok(Begun {
        folder,
        record,
        writer,
    })
}

/// Whether the rest of `plan` belongs into this record.
fn check(record: &Record, plan: &PlanProvenance) -> Result<(), String> {
    let provenance = &record.provenance;
    let tool = concat!("loopwatch ", env!("CARGO_PKG_VERSION"));
    if provenance.tool != tool {
        return Err(format!(
            "it was made with {}, and this is {tool}",
            provenance.tool
        ));
    }
    let Some(begun) = &provenance.plan else {
        return Err("it does not say what was to be run".to_owned());
    };
    if begun.sha256 != plan.sha256 {
        return Err(format!(
            "the scenarios, the selection or the settings are not those of its command, which was: {}",
            provenance.command.join(" ")
        ));
    }
    if begun.shard != plan.shard {
        let shown = |plan: &PlanProvenance| {
            plan.shard.map_or_else(
                || "the whole plan".to_owned(),
                |shard| format!("shard {shard}"),
            )
        };
        return Err(format!(
            "it is of {}, and this is {}",
            shown(begun),
            shown(plan)
        ));
    }
    Ok(())
}

impl Begun {
    /// Takes out the cases that are recorded.
    pub(super) fn leave_the_rest(&self, cases: &mut Vec<Case>) {
        let done: HashSet<&str> = self
            .record
            .cases
            .iter()
            .map(|case| case.id.as_str())
            .collect();
        cases.retain(|case| !done.contains(case.id.as_str()));
    }

    /// Says how much is left.
    pub(super) fn tell(&self, rest: usize, screen: Screen) {
        let cut = match self.record.truncated {
            true => "; the case in flight was lost and runs again",
            false => "",
        };
        screen.line(&format!(
            "resuming {}: {} recorded, {rest} to run{cut}",
            self.folder.display(),
            self.record.cases.len(),
        ));
    }

    /// Where the rest is appended. Other weights are not let to answer it; servers do not say
    /// what theirs are.
    pub(super) fn continued(self, models: &[ModelProvenance]) -> anyhow::Result<RecordWriter> {
        for model in models {
            let known = self.record.provenance.models.iter();
            let mut same_name = known.filter(|known| known.name == model.name);
            let fits = |known: &ModelProvenance| model.weights_sha256.is_empty() || known == model;
            if !same_name.any(fits) {
                return Err(Explained::usage(format!(
                    "cannot resume {}: the model {} is not the one that answered so far; start a new run",
                    self.folder.display(),
                    model.name
                )));
            }
        }
        Ok(self.writer)
    }

    /// Totals so far.
    pub(super) fn totals(&self) -> Summary {
        totals(&self.record)
    }
}

/// The totals of the cases in a record; none is counted as not run.
pub(super) fn totals(record: &Record) -> Summary {
    let mut summary = Summary {
        wall_ms: record.summary.map_or(0, |summary| summary.wall_ms),
        ..Summary::default()
    };
    for case in &record.cases {
        summary.count(case.verdict);
    }
    summary
}
