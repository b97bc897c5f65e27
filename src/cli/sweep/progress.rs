//! How far a sweep has come: a bar with the time that is left where someone watches, else a line
//! now and then.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::runner::RunEvent;

/// The shortest time between two lines where nobody watches.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shown on stderr.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    said: Instant,
    tokens: usize,
    loops: usize,
}

impl Progress {
    pub(super) fn start(runs: usize) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(runs as u64), target);
        let template = "{wide_bar} {pos}/{len} runs, {elapsed}, {eta} left, {msg}";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            started: Instant::now(),
            said: Instant::now(),
            tokens: 0,
            loops: 0,
        }
    }

    pub(super) fn show(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::CaseStarted { .. } => {}
            RunEvent::Token { .. } => self.tokens += 1,
            RunEvent::CaseFinished { record, .. } => {
                let loops = &record.run.judgement.loops;
                let looped = loops.iter().any(|found| found.verdict.state.is_confirmed());
                self.loops += usize::from(looped);
                self.bar.inc(1);
                self.say();
            }
        }
    }

    /// Settings were decided, and only so many runs are left.
    pub(super) fn left(&self, runs: usize) {
        self.bar.set_length(self.bar.position() + runs as u64);
    }

    /// The second part: healthy texts are read again.
    pub(super) fn distortion(&mut self, texts: usize) {
        self.bar.set_length(texts as u64);
        self.bar.set_position(0);
        self.bar.set_message("distortion of healthy text");
    }

    pub(super) fn text_read(&self) {
        self.bar.inc(1);
    }

    fn say(&mut self) {
        let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let told = format!("{} loops, {rate:.0} tokens/s", self.loops);
        if !self.bar.is_hidden() {
            self.bar.set_message(told);
            return;
        }
        if self.said.elapsed() < BETWEEN_LINES {
            return;
        }
        self.said = Instant::now();
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let left = self.started.elapsed().as_secs_f64() * (all - done.min(all)) as f64
            / done.max(1) as f64;
        anstream::eprintln!("{done}/{all} runs, about {left:.0} s left, {told}");
    }

    pub(super) fn stop(&self) {
        self.bar.finish_and_clear();
    }
}
