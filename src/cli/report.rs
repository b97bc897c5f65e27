//! `loopwatch report` and `loopwatch judge`: a recorded run, without a model.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Explained};
use super::outputs::Outputs;
use super::screen::Screen;
use super::table::Table;
use super::{paths, run, summary};
use crate::gate::Gate;
use crate::record::{CaseVerdict, Record, Summary};
use crate::report;
use crate::runner::{compare_snapshots, rejudge};
use crate::snapshot::SnapshotStore;

/// Write the HTML report of a recorded run again, and results for other programs.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The run's folder or record file, or 'latest'
    #[arg(value_name = "RUN", default_value = "latest")]
    run: PathBuf,
    /// Where to write [default: index.html beside the record]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where 'latest' looks
    #[arg(long, value_name = "DIR", default_value = "reports")]
    reports: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
}

/// Judge a recorded run again, without a model.
#[derive(Debug, Args)]
#[command(
    after_help = "Uses the recorded outputs and assertions, today's detector and today's snapshots. Ends like 'run'."
)]
pub(super) struct Judge {
    /// The run's folder or record file, or 'latest'
    #[arg(value_name = "RUN", default_value = "latest")]
    run: PathBuf,
    /// Where snapshots are kept
    #[arg(long, value_name = "DIR", default_value = "snapshots")]
    snapshots: PathBuf,
    /// Where 'latest' looks
    #[arg(long, value_name = "DIR", default_value = "reports")]
    reports: PathBuf,
}

impl Report {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let run = paths::find_run(&self.run, &self.reports)?;
        let record = Record::read(&run).map_err(Explained::usage)?;
        let page = self.output.unwrap_or_else(|| {
            let folder = if run.is_dir() {
                Some(run.as_path())
            } else {
                run.parent()
            };
            folder.unwrap_or(&run).join("index.html")
        });
        std::fs::write(&page, report::html(&record)).map_err(|error| {
            Explained::usage(format!("cannot write {}: {error}", page.display()))
        })?;
        anstream::println!("{}", page.display());
        self.outputs.prepare()?;
        self.outputs.write(&record, Screen::Stdout)?;
        Ok(Exit::Passed)
    }
}

impl Judge {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let run = paths::find_run(&self.run, &self.reports)?;
        let mut record = Record::read(&run).map_err(Explained::usage)?;
        let snapshots = SnapshotStore::new(&self.snapshots);
        let table = Table::new(record.cases.iter().map(|case| case.id.as_str()));
        anstream::println!("{}", table.head());
        for case in &mut record.cases {
            let compared = compare_snapshots(case, &snapshots).map_err(Explained::usage)?;
            *case = rejudge(case, &compared).map_err(Explained::usage)?;
            anstream::println!("{}", table.row(case));
        }
        let count = |verdict| {
            let cases = record.cases.iter();
            cases.filter(|case| case.verdict == verdict).count()
        };
        let totals = Summary {
            passed: count(CaseVerdict::Passed),
            failed: count(CaseVerdict::Failed),
            errored: count(CaseVerdict::Errored),
            not_run: record.summary.map_or(0, |summary| summary.not_run),
            wall_ms: record.summary.map_or(0, |summary| summary.wall_ms),
        };
        let mut out = anstream::stdout().lock();
        summary::failures(&mut out, &record)?;
        summary::totals(&mut out, &record, &totals)?;
        Ok(run::exit(&totals, None, &Gate::of(&record)))
    }
}
