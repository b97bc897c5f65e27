//! `--events`: a line of JSON for each event, while the run goes on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::exit::{Exit, Explained};
use super::outputs::locate;
use crate::export::{CaseResult, Document, EventLine, SCHEMA_VERSION};
use crate::record::{PlanProvenance, Record};
use crate::runner::RunEvent;

/// The stream, or nothing if none was asked for.
pub(super) struct Events {
    out: Option<Box<dyn Write>>,
    started: Instant,
    /// The same as records write it: quarantines look at the day.
    started_at: String,
    /// The first line that could not be written ends the stream, not the run.
    problem: Option<String>,
}

impl Events {
    /// Whether this name means stdout.
    pub(super) fn is_stdout(file: Option<&PathBuf>) -> bool {
        file.is_some_and(|file| file == Path::new("-"))
    }

    /// Opens the stream.
    pub(super) fn open(file: Option<&PathBuf>) -> anyhow::Result<Self> {
        let out: Option<Box<dyn Write>> = match file {
            None => None,
            Some(_) if Self::is_stdout(file) => Some(Box::new(std::io::stdout())),
            Some(file) => {
                let refused =
                    |error| Explained::usage(format!("cannot write {}: {error}", file.display()));
                if let Some(folder) = file.parent() {
                    std::fs::create_dir_all(folder).map_err(refused)?;
                }
                Some(Box::new(File::create(file).map_err(refused)?))
            }
        };
        Ok(Self {
            out,
            started: Instant::now(),
            started_at: super::provenance::now(),
            problem: None,
        })
    }

    /// The first line.
    pub(super) fn start(&mut self, plan: &PlanProvenance, cases: usize, record: &Path) {
        self.write(&EventLine::RunStarted {
            schema_version: SCHEMA_VERSION,
            tool: concat!("loopwatch ", env!("CARGO_PKG_VERSION")).to_owned(),
            cases,
            recorded: plan.selected.len() - cases,
            shard: plan.shard.map(|shard| shard.to_string()),
            record: record.display().to_string(),
        });
    }

    /// One event. Tokens are too many to be told.
    pub(super) fn show(&mut self, event: &RunEvent<'_>) {
        if self.out.is_none() {
            return;
        }
        let at_ms = self.at_ms();
        match event {
            RunEvent::Token { .. } => {}
            RunEvent::CaseStarted { case, .. } => self.write(&EventLine::CaseStarted {
                at_ms,
                id: case.id.clone(),
            }),
            RunEvent::CaseFinished { record, .. } => self.write(&EventLine::CaseFinished {
                at_ms,
                case: Box::new(CaseResult::of(record, &self.started_at, &locate)),
            }),
        }
    }

    /// The last line. Returns what went wrong with the stream, if something did.
    pub(super) fn finish(mut self, record: &Record, exit: Exit) -> anyhow::Result<()> {
        if self.out.is_some() {
            let document = Document::of(record, &locate);
            self.write(&EventLine::RunFinished {
                at_ms: self.at_ms(),
                outcome: document.outcome,
                totals: document.totals,
                exit_code: exit.code(),
            });
        }
        match self.problem {
            Some(problem) => Err(anyhow::anyhow!(
                "the stream of events ended early: {problem}"
            )),
            None => Ok(()),
        }
    }

    fn at_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn write(&mut self, line: &EventLine) {
        let Some(out) = &mut self.out else {
            return;
        };
        let written = line
            .to_line()
            .map_err(std::io::Error::from)
            .and_then(|line| out.write_all(line.as_bytes()).and_then(|()| out.flush()));
        if let Err(error) = written {
            self.problem.get_or_insert(error.to_string());
            self.out = None;
        }
    }
}
