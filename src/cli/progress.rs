//! The live view of a run: a line per finished case, and on a terminal a running counter.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::Screen;
use super::table::Table;
use crate::plan::Case;
use crate::record::ModelProvenance;
use crate::runner::RunEvent;

/// A number of things, in the plural where it belongs.
fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Shows events as they come, where people read; the counter goes to stderr.
pub(super) struct Progress {
    bar: ProgressBar,
    screen: Screen,
    table: Table,
    /// The cases that have begun and not ended: number and id.
    current: Vec<(usize, String)>,
    tokens: usize,
    drawn: Instant,
}

/// The shortest time between two changes of the counter.
const REDRAW: Duration = Duration::from_millis(100);

impl Progress {
    /// Prints what will run.
    pub(super) fn start(cases: &[Case], models: &[ModelProvenance], screen: Screen) -> Self {
        let controls = cases.iter().filter(|case| case.control.is_some()).count();
        let mut files: Vec<&str> = cases.iter().map(|case| case.scenario.as_str()).collect();
        files.dedup();
        screen.line(&format!(
            "loopwatch {}: {} in {}, {controls} with a control",
            env!("CARGO_PKG_VERSION"),
            counted(cases.len(), "case"),
            counted(files.len(), "scenario"),
        ));
        for model in models {
            screen.line(&format!("model {} ({})", model.name, model.description));
        }
        screen.line("");
        let table = Table::new(cases.iter().map(|case| case.id.as_str()));
        screen.line(&table.head());
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
            screen,
            table,
            current: Vec::new(),
            tokens: 0,
            drawn: Instant::now(),
        }
    }

    /// Shows one event.
    pub(super) fn show(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::CaseStarted { index, case } => {
                self.current.push((*index, case.id.clone()));
                self.redraw();
            }
            RunEvent::Token { .. } => {
                self.tokens += 1;
                if self.drawn.elapsed() >= REDRAW {
                    self.redraw();
                }
            }
            RunEvent::CaseFinished { index, record } => {
                self.current.retain(|(number, _)| number != index);
                let row = self.table.row(record);
                self.bar.suspend(|| self.screen.line(&row));
                self.bar.inc(1);
                self.redraw();
            }
        }
    }

    /// What runs, and the tokens of all conversations so far.
    fn redraw(&mut self) {
        self.drawn = Instant::now();
        let what = match self.current.as_slice() {
            [] => return,
            [(_, id)] => id.clone(),
            [(_, id), others @ ..] => format!("{id} and {} more", others.len()),
        };
        self.bar
            .set_message(format!("{what}: {} tokens", self.tokens));
    }

    /// Takes the counter away.
    pub(super) fn stop(&self) {
        self.bar.finish_and_clear();
    }
}
