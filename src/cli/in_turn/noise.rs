//! What `aa` found out about a runner, for people and for programs.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::Serialize;

use super::super::style::{BOLD, DIM, LOOP, RESET};
use super::pairs::Measured;
use crate::compare::{Comparison, LatencyChange, LatencyVerdict, Noise, compare, noise};

/// Version of the document that `aa --json` prints.
const SCHEMA_VERSION: u32 = 1;

/// The noise of every time, and what was compared to find it.
#[derive(Debug, Serialize)]
pub(super) struct Noises {
    schema_version: u32,
    /// Pairs of each case.
    pairs: usize,
    /// The limit of the comparison that is planned, as a share.
    max_slowdown: f64,
    noise: Vec<Noise>,
    comparison: Comparison,
}

impl Noises {
    pub(super) fn of(measured: &Measured, max_slowdown: f64) -> Self {
        let (before, after) = (&measured.before, &measured.after);
        let comparison = compare(before, after, None);
        let counts = counts(comparison.latency.iter().map(|one| one.pairs));
        Self {
            schema_version: SCHEMA_VERSION,
            pairs: measured.pairs,
            max_slowdown,
            noise: noise(before, after, max_slowdown, &counts),
            comparison,
        }
    }

    /// Whether as many pairs as were made find so small a slow-down in every time.
    pub(super) fn finds(&self, slowdown: f64) -> bool {
        let mut all = self.noise.iter();
        all.all(|one| one.finds(slowdown, one.pairs))
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for change in &self.comparison.changes {
            let id = &change.id;
            writeln!(
                out,
                "{LOOP}{id}{RESET} {}: its times do not count",
                what(change)
            )?;
        }
        let counts = self.noise.first().map(|one| one.detectable.as_slice());
        let counts = counts.unwrap_or_default();
        let heads: Vec<String> = counts
            .iter()
            .map(|one| format!("{:>9}", format!("{} pairs", one.pairs)))
            .collect();
        writeln!(
            out,
            "{BOLD}{:<20} {:>12}  {:<26}{}{RESET}",
            "the same, in turn",
            "half within",
            "difference",
            heads.join(" ")
        )?;
        for (noise, change) in self.noise.iter().zip(&self.comparison.latency) {
            row(out, noise, change)?;
        }
        writeln!(
            out,
            "{DIM}Below pairs: the smallest slow-down that --max-slowdown {} finds in nine of ten \
             comparisons.{RESET}",
            percent(self.max_slowdown)
        )
    }
}

fn what(change: &crate::compare::CaseChange) -> &'static str {
    match change.divergence {
        Some(_) => "does not say the same twice",
        None => "does not fare the same twice",
    }
}

fn row(out: &mut dyn Write, noise: &Noise, change: &LatencyChange) -> io::Result<()> {
    let signed = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
    let difference = match (change.ratio, &change.interval) {
        (Some(ratio), Some(interval)) => format!(
            "{} [{}, {}]",
            signed(ratio),
            signed(interval.low),
            signed(interval.high)
        ),
        (Some(ratio), None) => format!("{}, of {} pairs", signed(ratio), change.pairs),
        (None, _) => "no pairs".to_owned(),
    };
    let found = noise.detectable.iter().map(|one| {
        let least = one.slowdown.map_or_else(|| "-".to_owned(), percent);
        format!("{least:>9}")
    });
    writeln!(
        out,
        "{:<20} {:>12}  {difference:<26}{}",
        noise.metric.name(),
        noise.half_within.map_or_else(|| "-".to_owned(), percent),
        found.collect::<Vec<_>>().join(" ")
    )?;
    if change.verdict != LatencyVerdict::Inconclusive {
        writeln!(
            out,
            "{LOOP}  the same seems to differ from itself: one of twenty such measurements does by \
             chance; if it comes again, this machine is no place to compare times{RESET}"
        )?;
    }
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The numbers of pairs that are told: those that were made of each time, and some fewer and more.
fn counts(made: impl Iterator<Item = usize>) -> Vec<usize> {
    let told = [8, 16, 32, 64].into_iter().chain(made);
    let counts: BTreeSet<usize> = told.filter(|pairs| *pairs > 0).collect();
    counts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time that fewer pairs have is still asked about with its own number.
    #[test]
    fn every_number_of_pairs_that_was_made_is_told() {
        assert_eq!(counts([9, 5, 9].into_iter()), [5, 8, 9, 16, 32, 64]);
        assert_eq!(counts([16, 0, 16].into_iter()), [8, 16, 32, 64]);
    }
}
