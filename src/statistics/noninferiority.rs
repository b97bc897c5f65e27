//! Whether a setting is worse than another by more than can be borne.
//!
//! Not having seen a difference is no proof that there is none; here the proof has to be given.
//! It knows pairs of yes and no.

use serde::{Deserialize, Serialize};

use super::{Interval, two_sided};

/// Pairs of trials of an old and a new setting. Counts need not be whole: pairs that hang
/// together are worth fewer than they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedCounts {
    /// Pairs.
    pub pairs: f64,
    /// Of them, those in which only the new setting succeeded.
    pub only_new: f64,
    /// And those in which only the old one did.
    pub only_old: f64,
}

impl PairedCounts {
    /// The counts over clusters, each with its pairs, those that only the new and those that only
    /// the old setting won; reduced to as many as they are worth. The variance of the
    /// difference is that over clusters (Obuchowski, "On the comparison of correlated proportions
    /// for clustered data", Statistics in Medicine 17 (1998), 1495-1507), and never taken for
    /// smaller than that of independent pairs.
    #[must_use]
    pub fn of_clusters(clusters: &[(usize, usize, usize)]) -> Self {
        let sum = |part: fn(&(usize, usize, usize)) -> usize| {
            clusters.iter().map(part).sum::<usize>() as f64
        };
        let (pairs, only_new, only_old) = (sum(|c| c.0), sum(|c| c.1), sum(|c| c.2));
        let counts = Self {
            pairs,
            only_new,
            only_old,
        };
        let difference = counts.difference();
        let independent = (only_new + only_old) / pairs - difference * difference;
        let many = clusters.len() as f64;
        if clusters.len() < 2 || pairs <= 0.0 || independent <= 0.0 {
            return counts;
        }
        let residuals = clusters.iter().map(|(pairs, only_new, only_old)| {
            let net = *only_new as f64 - *only_old as f64;
            (net - difference * *pairs as f64).powi(2)
        });
        let clustered = many / (many - 1.0) * residuals.sum::<f64>() / pairs;
        let effect = (clustered / independent).max(1.0);
        Self {
            pairs: pairs / effect,
            only_new: only_new / effect,
            only_old: only_old / effect,
        }
    }

    /// The success rate of the new setting minus that of the old one.
    #[must_use]
    pub fn difference(&self) -> f64 {
        match self.pairs {
            0.0 => 0.0,
            pairs => (self.only_new - self.only_old) / pairs,
        }
    }

    /// The score interval of the difference by Tango, "Equivalence test and confidence interval
    /// for the difference in proportions for the paired-sample design", Statistics in Medicine
    /// 17 (1998), 891-908.
    #[must_use]
    pub fn interval(&self, confidence: f64) -> Interval {
        if self.pairs <= 0.0 {
            return Interval {
                low: -1.0,
                high: 1.0,
            };
        }
        let z = two_sided(confidence);
        // The score falls as the supposed difference grows.
        let where_it_is = |score: f64| {
            let (mut low, mut high) = (-1.0, 1.0);
            for _ in 0..80 {
                let middle = f64::midpoint(low, high);
                if self.score(middle) > score {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            f64::midpoint(low, high)
        };
        Interval {
            low: where_it_is(z),
            high: where_it_is(-z),
        }
    }

    /// Tango's score, equations 9 and 10, if the difference were `supposed`.
    fn score(&self, supposed: f64) -> f64 {
        let (n, new, old) = (self.pairs, self.only_new, self.only_old);
        let a = 2.0 * n;
        let b = -new - old + (2.0 * n - new + old) * supposed;
        let c = -old * supposed * (1.0 - supposed);
        let only_old = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
        let variance = n * (2.0 * only_old + supposed * (1.0 - supposed));
        let distance = new - old - n * supposed;
        if variance <= 0.0 {
            // What cannot vary is exactly there, or infinitely far.
            return if distance == 0.0 {
                0.0
            } else {
                distance * f64::INFINITY
            };
        }
        distance / variance.sqrt()
    }

    /// Whether the new setting is shown to be worse by less than `margin`, with an error of at
    /// most `alpha`: the lower end of the interval with `alpha` on each side is above `-margin`.
    #[must_use]
    pub fn non_inferior(&self, margin: f64, alpha: f64) -> bool {
        self.interval(1.0 - 2.0 * alpha).low > -margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_difference_the_number_of_pairs_decides() {
        let same = |pairs| PairedCounts {
            pairs,
            ..PairedCounts::default()
        };
        assert!(!same(20.0).non_inferior(0.1, 0.05));
        assert!(same(30.0).non_inferior(0.1, 0.05));
        assert!(!same(0.0).non_inferior(0.99, 0.05));
    }

    #[test]
    fn the_interval_turns_with_the_settings() {
        let counts = PairedCounts {
            pairs: 40.0,
            only_new: 3.0,
            only_old: 9.0,
        };
        let turned = PairedCounts {
            only_new: 9.0,
            only_old: 3.0,
            ..counts
        };
        let (one, other) = (counts.interval(0.95), turned.interval(0.95));
        assert!((one.low + other.high).abs() < 1e-9 && (one.high + other.low).abs() < 1e-9);
        assert!(one.low < counts.difference() && counts.difference() < one.high);
    }

    #[test]
    fn runs_of_one_prompt_are_worth_fewer_pairs() {
        let alike = PairedCounts::of_clusters(&[(4, 0, 4), (4, 4, 0), (4, 0, 0), (4, 0, 0)]);
        assert!(alike.pairs < 4.0, "{alike:?}");
        let apart = PairedCounts::of_clusters(&[(1, 0, 1), (1, 1, 0), (1, 0, 0), (1, 0, 0)]);
        assert!((apart.pairs - 3.0).abs() < 1e-9, "{apart:?}");
    }
}
