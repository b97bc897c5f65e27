//! Looking at a sample while it grows, and being wrong no more often than who looks at its end.
//!
//! It knows how much of the sample each look has, and shares out the chance of an error among
//! them. What is decided at a look is not its business.

use statrs::distribution::{ContinuousCDF, Normal};

use super::share::exact;
use super::{Clusters, Interval, normal_quantile};

/// Looks at a growing sample, planned before the first of them.
///
/// Errors add up to the promised level whatever the looks have to do with each other (Bonferroni),
/// and whatever made a sample end at one of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Looks {
    /// The share of the whole sample that each has, rising to 1.
    parts: Vec<f64>,
}

impl Looks {
    /// Looks after so many of a sample, the last of them at all of it.
    #[must_use]
    pub fn after(ends: &[usize]) -> Self {
        let all = ends.last().copied().unwrap_or(1).max(1) as f64;
        let parts = ends.iter().map(|end| *end as f64 / all).collect();
        Self { parts }
    }

    /// How many there are, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.len().max(1)
    }

    /// The part of the level `alpha` that the look has, counted from 0, if nearly all of it is kept
    /// for the end: the steps of the spending function of the type of O'Brien and Fleming (Lan and
    /// DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983), 659-663).
    /// The parts of all looks add up to `alpha`.
    #[must_use]
    pub fn late(&self, look: usize, alpha: f64) -> f64 {
        let reach = normal_quantile(1.0 - alpha / 2.0);
        let spent = |part: f64| 2.0 * Normal::standard().sf(reach / part.sqrt());
        let before = look.checked_sub(1).and_then(|at| self.parts.get(at));
        let now = self.parts.get(look).copied().unwrap_or(1.0);
        spent(now) - before.map_or(0.0, |part| spent(*part))
    }

    /// The part of the level `alpha` that a look has if all have the same.
    #[must_use]
    pub fn even(&self, alpha: f64) -> f64 {
        alpha / self.count() as f64
    }

    /// An interval for a share at a look, such that all those of the looks together cover the truth
    /// with this confidence (repeated confidence intervals: Jennison and Turnbull, "Interim
    /// analyses: the repeated confidence interval approach", JRSS B 51 (1989), 305-361).
    ///
    /// The upper end is Wilson's, and its level is kept for the end, where a rate near 0 is shown
    /// to be small. The lower end has the same level at each look, so that a high rate is seen
    /// early, and is exact (Clopper and Pearson's, as Korn and Graubard use it): the lower end of
    /// Wilson's interval promises too much of few trials.
    #[must_use]
    pub fn interval(
        &self,
        look: usize,
        clusters: &Clusters,
        correlation: f64,
        confidence: f64,
    ) -> Interval {
        let tail = (1.0 - confidence) / 2.0;
        let above = 1.0 - 2.0 * self.late(look, tail);
        let below = 1.0 - 2.0 * self.even(tail);
        let trials = clusters.effective_trials(correlation, below);
        let hits = clusters.total().value() * trials;
        Interval {
            low: exact(hits, trials, below).low,
            high: clusters.interval(correlation, above).high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Share;

    fn of(hits: usize, of: usize) -> Clusters {
        let one = |at: usize| Share {
            hits: usize::from(at < hits),
            of: 1,
        };
        Clusters::new((0..of).map(one))
    }

    /// `2 - 2 Φ(2.2414 / √t)`, with the tails as the error function of C has them.
    #[test]
    fn what_is_spent_adds_up_and_most_of_it_is_kept() {
        let looks = Looks::after(&[30, 60, 90, 120]);
        let parts: Vec<f64> = (0..4).map(|look| looks.late(look, 0.025)).collect();
        let spent = parts.iter().scan(0.0, |sum, part| {
            *sum += part;
            Some(*sum)
        });
        for (spent, expected) in spent.zip([0.000_007_4, 0.001_525, 0.009_649, 0.025]) {
            assert!((spent / expected - 1.0).abs() < 0.01, "{spent} {expected}");
        }
        assert!((looks.even(0.025) * 4.0 - 0.025).abs() < 1e-12);
    }

    #[test]
    fn one_look_has_wilsons_upper_end_and_the_exact_lower_end() {
        let looks = Looks::after(&[40]);
        let found = looks.interval(0, &of(5, 40), 0.0, 0.95);
        assert!((found.high - of(5, 40).interval(0.0, 0.95).high).abs() < 1e-9);
        // Where five or more of 40 have a chance of 2.5 %, by summing the binomial distribution.
        assert!((found.low - 0.041_86).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn one_hit_of_one_trial_shows_nothing_and_six_of_six_do() {
        let looks = Looks::after(&[1, 2, 3, 4]);
        assert!(looks.interval(0, &of(1, 1), 1.0, 0.95).low < 0.05);
        let looks = Looks::after(&[6, 12, 18, 24]);
        assert!(looks.interval(0, &of(6, 6), 1.0, 0.95).low > 0.05);
        // Without a hit an early look is less sure than the last one with as many.
        let early = looks.interval(0, &of(0, 6), 1.0, 0.95).high;
        assert!(early > looks.interval(3, &of(0, 6), 1.0, 0.95).high);
    }
}
