//! The live view of a run: a line per finished case, and on a terminal a running counter.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::Table;
use crate::plan::Case;
use crate::record::ModelProvenance;
use crate::runner::RunEvent;

/// A number of things, in the plural where it belongs.
fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Shows events as they come, on stdout; the counter goes to stderr.
pub(super) struct Progress {
    bar: ProgressBar,
    table: Table,
    current: String,
    tokens: usize,
}

impl Progress {
    /// Prints what will run.
    pub(super) fn start(cases: &[Case], models: &[ModelProvenance]) -> Self {
        let controls = cases.iter().filter(|case| case.control.is_some()).count();
        let mut files: Vec<&str> = cases.iter().map(|case| case.scenario.as_str()).collect();
        files.dedup();
        anstream::println!(
            "loopwatch {}: {} in {}, {controls} with a control",
            env!("CARGO_PKG_VERSION"),
            counted(cases.len(), "case"),
            counted(files.len(), "scenario"),
        );
        for model in models {
            anstream::println!("model {} ({})", model.name, model.description);
        }
        anstream::println!();
        let table = Table::new(cases.iter().map(|case| case.id.as_str()));
        anstream::println!("{}", table.head());
        let bar = ProgressBar::with_draw_target(
            Some(cases.len() as u64),
            ProgressDrawTarget::stderr_with_hz(10),
        );
        let style = ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            bar,
            table,
            current: String::new(),
            tokens: 0,
        }
    }

    /// Shows one event.
    pub(super) fn show(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::CaseStarted { case, .. } => {
                self.current.clone_from(&case.id);
                self.tokens = 0;
                self.bar.set_message(self.current.clone());
            }
            RunEvent::Token { control } => {
                self.tokens += 1;
                let what = if *control { ", control" } else { "" };
                self.bar
                    .set_message(format!("{}{what}: {} tokens", self.current, self.tokens));
            }
            RunEvent::CaseFinished { record, .. } => {
                let row = self.table.row(record);
                self.bar.suspend(|| anstream::println!("{row}"));
                self.bar.inc(1);
            }
        }
    }

    /// Takes the counter away.
    pub(super) fn stop(&self) {
        self.bar.finish_and_clear();
    }
}
