//! A share of trials that hang together in clusters: runs of one prompt are more alike than runs
//! of two.
//!
//! Counting them as independent makes intervals too narrow. It knows counts per cluster, not what
//! a cluster is.

use super::share::{Share, wilson};
use super::{Interval, two_sided, two_sided_t};

/// The counts of each cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters(Vec<Share>);

impl Clusters {
    /// Clusters with these counts; empty ones are left out.
    #[must_use]
    pub fn new(counts: impl IntoIterator<Item = Share>) -> Self {
        Self(counts.into_iter().filter(|share| share.of > 0).collect())
    }

    /// The counts of all together.
    #[must_use]
    pub fn total(&self) -> Share {
        self.0.iter().fold(Share::default(), |sum, one| sum + *one)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// By what the variance of the share is larger than that of independent trials: the
    /// linearised variance of a ratio over clusters (Cochran, "Sampling Techniques", 1977,
    /// §11.8) over `p(1-p)/n`. `None` if nothing varies, or there are fewer than two clusters.
    #[must_use]
    pub fn design_effect(&self) -> Option<f64> {
        let (share, clusters) = (self.total(), self.0.len() as f64);
        let (n, p) = (share.of as f64, share.value());
        if self.0.len() < 2 || share.hits == 0 || share.hits == share.of {
            return None;
        }
        let residuals = self.0.iter().map(|one| {
            let residual = one.hits as f64 - p * one.of as f64;
            residual * residual
        });
        let variance = clusters / (clusters - 1.0) * residuals.sum::<f64>() / (n * n);
        Some(variance / (p * (1.0 - p) / n))
    }

    /// How alike trials of one cluster are, 0 to 1: the correlation that gives the design effect
    /// by `1 + (size - 1) · correlation` (Kish, "Survey Sampling", 1965, §5.4), with the mean
    /// size of the cluster that a trial is in. `None` if nothing varies or all clusters are of
    /// one trial.
    #[must_use]
    pub fn correlation(&self) -> Option<f64> {
        let size = self.size();
        (size > 1.0).then_some(())?;
        Some(((self.design_effect()? - 1.0) / (size - 1.0)).clamp(0.0, 1.0))
    }

    /// The mean size of the cluster that a trial is in.
    fn size(&self) -> f64 {
        let squares: f64 = self.0.iter().map(|one| (one.of * one.of) as f64).sum();
        squares / self.total().of.max(1) as f64
    }

    /// How many independent trials are worth as much as these, if trials of a cluster are at
    /// least as alike as `correlation` says: Korn and Graubard, "Confidence intervals for
    /// proportions with small expected number of positive counts estimated from survey data",
    /// Survey Methodology 24 (1998), 193-201, with their correction for few clusters.
    #[must_use]
    pub fn effective_trials(&self, correlation: f64, confidence: f64) -> f64 {
        let (trials, size) = (self.total().of as f64, self.size());
        if size <= 1.0 {
            return trials;
        }
        let assumed = 1.0 + (size - 1.0) * correlation.clamp(0.0, 1.0);
        let effect = self.design_effect().unwrap_or(1.0).max(assumed).max(1.0);
        // One cluster is one trial: nothing says how another one would be.
        if self.0.len() < 2 {
            return 1.0;
        }
        let few = two_sided(confidence) / two_sided_t(confidence, self.0.len() - 1);
        (trials / effect * few * few).max(1.0)
    }

    /// Wilson's interval over the effective number of trials.
    #[must_use]
    pub fn interval(&self, correlation: f64, confidence: f64) -> Interval {
        let effective = self.effective_trials(correlation, confidence);
        wilson(self.total().value() * effective, effective, confidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn clusters(counts: &[(usize, usize)]) -> Clusters {
        Clusters::new(counts.iter().map(|(hits, of)| Share {
            hits: *hits,
            of: *of,
        }))
    }

    #[test]
    fn clusters_of_one_are_wilsons() {
        let singles = clusters(&[(1, 1), (0, 1), (0, 1), (1, 1), (0, 1)]);
        let (low, high) = Share { hits: 2, of: 5 }.interval();
        assert_eq!(singles.interval(1.0, 0.95), Interval { low, high });
        assert_eq!(singles.correlation(), None);
    }

    #[test]
    fn copies_of_one_answer_are_worth_one_answer() {
        // Ten prompts, each answered ten times in the same way.
        let copies: Vec<_> = (0..10)
            .map(|at| (if at < 3 { 10 } else { 0 }, 10))
            .collect();
        let copies = clusters(&copies);
        assert_eq!(copies.correlation(), Some(1.0));
        let effective = copies.effective_trials(0.0, 0.95);
        assert!(effective < 10.0, "{effective}");
        let (low, high) = Share { hits: 3, of: 10 }.interval();
        let found = copies.interval(0.0, 0.95);
        assert!(found.low < low && found.high > high, "{found:?}");
    }

    #[rstest]
    #[case(0.0, 40.0)]
    #[case(0.5, 40.0 / 2.5)]
    #[case(1.0, 10.0)]
    fn without_a_hit_the_correlation_has_to_be_brought_along(
        #[case] correlation: f64,
        #[case] trials: f64,
    ) {
        let none = clusters(&[(0, 4); 10]);
        assert_eq!(none.design_effect(), None);
        let few = two_sided(0.95) / two_sided_t(0.95, 9);
        let found = none.effective_trials(correlation, 0.95);
        assert!((found - trials * few * few).abs() < 1e-9, "{found}");
    }

    #[test]
    fn one_prompt_says_nothing_of_others() {
        assert_eq!(clusters(&[(0, 50)]).effective_trials(0.0, 0.95), 1.0);
    }
}
