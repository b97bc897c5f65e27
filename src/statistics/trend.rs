//! Whether a share falls or rises along a scale of levels.
//!
//! One question over all levels, instead of one for each pair of them. It knows counts per level
//! and stratum, and that levels are in order; distances between them it takes as equal.

use statrs::distribution::{ContinuousCDF, Discrete, Hypergeometric, Normal};

use super::share::Share;

/// What the test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// How far the trend is from none, in standard errors; negative if the share falls.
    pub z: f64,
    /// The chance of so strong a fall, or a stronger one, where there is no trend.
    pub falls: f64,
    /// The chance of so strong a rise, or a stronger one, where there is no trend.
    pub rises: f64,
    /// Whether the chances are exact, or those of a normal distribution.
    pub exact: bool,
}

/// Steps that the exact distribution may take, about a second's work.
const EXACT_STEPS: usize = 40_000_000;

/// Tests for a trend over the levels, with the same levels in every stratum.
///
/// With one stratum it is the test of Cochran, "Some methods for strengthening the common χ²
/// tests", Biometrics 10 (1954), 417-451, and Armitage, "Tests for linear trends in proportions
/// and frequencies", Biometrics 11 (1955), 375-386; with several that of Mantel, "Chi-square
/// tests with one degree of freedom; extensions of the Mantel-Haenszel procedure", JASA 58
/// (1963), 690-700. Levels have the scores 0, 1, 2, …. Given how many hits a stratum has, every
/// way to deal them out over its trials is equally likely where there is no trend, and that
/// distribution is computed where it is small enough.
///
/// A stratum may be a single prompt and seed with one trial at each level. Then hits of different
/// levels may hang together as they like, which they do when levels share their random numbers.
///
/// `None` if there is nothing to test: fewer than two levels, or no stratum with both hits and
/// misses.
#[must_use]
pub fn trend(strata: &[Vec<Share>]) -> Option<Trend> {
    let strata: Vec<Stratum> = strata.iter().filter_map(|s| Stratum::of(s)).collect();
    let variance: f64 = strata.iter().map(Stratum::variance).sum();
    if variance <= 0.0 {
        return None;
    }
    let seen: usize = strata.iter().map(|stratum| stratum.sum).sum();
    let expected: f64 = strata.iter().map(Stratum::expected).sum();
    let z = (seen as f64 - expected) / variance.sqrt();
    let normal = Normal::standard();
    let by_normal = Trend {
        z,
        falls: normal.cdf(z),
        rises: normal.cdf(-z),
        exact: false,
    };
    let work: usize = strata.iter().map(Stratum::steps).sum();
    let most: usize = strata.iter().map(Stratum::greatest).sum();
    // Joining the strata takes as many steps as all sums times the sums of each.
    let joining = strata.iter().map(|s| s.greatest() * most).sum::<usize>();
    if work.saturating_add(joining) > EXACT_STEPS {
        return Some(by_normal);
    }
    let Some(all) = distribution(&strata) else {
        return Some(by_normal);
    };
    // Sums of many small numbers.
    let at_least_one = |sum: f64| sum.clamp(0.0, 1.0);
    Some(Trend {
        falls: at_least_one(all.iter().take(seen + 1).sum()),
        rises: at_least_one(all.iter().skip(seen).sum()),
        exact: true,
        ..by_normal
    })
}

/// The chance of each sum over all strata.
fn distribution(strata: &[Stratum]) -> Option<Vec<f64>> {
    let mut all = vec![1.0];
    for stratum in strata {
        let one = stratum.distribution()?;
        let mut joined = vec![0.0; all.len() + one.len() - 1];
        for (a, left) in all.iter().enumerate() {
            for (b, right) in one.iter().enumerate() {
                joined[a + b] += left * right;
            }
        }
        all = joined;
    }
    Some(all)
}

/// A stratum in which something can be seen.
struct Stratum {
    /// Trials of each level.
    trials: Vec<usize>,
    hits: usize,
    /// The hits, each with the score of its level.
    sum: usize,
}

impl Stratum {
    fn of(levels: &[Share]) -> Option<Self> {
        let total = levels.iter().fold(Share::default(), |sum, one| sum + *one);
        let varies = total.hits > 0 && total.hits < total.of;
        varies.then(|| Self {
            trials: levels.iter().map(|level| level.of).collect(),
            hits: total.hits,
            sum: (levels.iter().enumerate())
                .map(|(score, level)| score * level.hits)
                .sum(),
        })
    }

    fn all(&self) -> usize {
        self.trials.iter().sum()
    }

    /// The mean of a power of the scores over the trials.
    fn moment(&self, power: i32) -> f64 {
        let scores = self.trials.iter().enumerate();
        let sum: f64 = scores
            .map(|(score, trials)| (score as f64).powi(power) * *trials as f64)
            .sum();
        sum / self.all() as f64
    }

    fn expected(&self) -> f64 {
        self.hits as f64 * self.moment(1)
    }

    /// Of a sum of scores drawn without putting back.
    fn variance(&self) -> f64 {
        let (all, hits) = (self.all() as f64, self.hits as f64);
        let spread = self.moment(2) - self.moment(1).powi(2);
        hits * (all - hits) / (all - 1.0) * spread
    }

    fn greatest(&self) -> usize {
        self.hits * self.trials.len().saturating_sub(1)
    }

    /// About how many steps the distribution takes.
    fn steps(&self) -> usize {
        let widest = self
            .trials
            .iter()
            .copied()
            .max()
            .unwrap_or(0)
            .min(self.hits);
        let states = (self.hits + 1).saturating_mul(self.greatest() + 1);
        states.saturating_mul(self.trials.len() * (widest + 1))
    }

    /// The chance of each sum: level by level, how many of the hits that are left fall on it is
    /// hypergeometric.
    fn distribution(&self) -> Option<Vec<f64>> {
        let width = self.greatest() + 1;
        // By the hits that are dealt out, the chance of each sum.
        let mut dealt = vec![vec![0.0; width]; self.hits + 1];
        dealt[0][0] = 1.0;
        let mut left = self.all();
        for (score, trials) in self.trials.iter().enumerate() {
            let mut next = vec![vec![0.0; width]; self.hits + 1];
            for (used, sums) in dealt.iter().enumerate() {
                let wanted = self.hits - used;
                if wanted > left {
                    continue;
                }
                let chance =
                    Hypergeometric::new(left as u64, *trials as u64, wanted as u64).ok()?;
                for here in 0..=wanted.min(*trials) {
                    let weight = chance.pmf(here as u64);
                    if weight <= 0.0 {
                        continue;
                    }
                    let shift = score * here;
                    for (sum, probability) in sums.iter().enumerate().take(width - shift) {
                        next[used + here][sum + shift] += probability * weight;
                    }
                }
            }
            dealt = next;
            left -= trials;
        }
        dealt.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::paired;

    fn levels(counts: &[(usize, usize)]) -> Vec<Share> {
        let share = |(hits, of): &(usize, usize)| Share {
            hits: *hits,
            of: *of,
        };
        counts.iter().map(share).collect()
    }

    #[test]
    fn nothing_that_varies_is_no_test() {
        assert_eq!(trend(&[]), None);
        assert_eq!(trend(&[levels(&[(0, 5), (0, 5)])]), None);
        assert_eq!(trend(&[levels(&[(1, 1), (1, 1)])]), None);
        assert_eq!(trend(&[levels(&[(3, 5)])]), None);
    }

    #[test]
    fn pairs_are_mcnemars() {
        // Of 12 pairs, 7 fall from a hit to a miss, 1 rises, and the rest stay.
        let pair = |a, b| levels(&[(a, 1), (b, 1)]);
        let mut pairs = vec![pair(1, 0); 7];
        pairs.push(pair(0, 1));
        pairs.extend([pair(1, 1), pair(0, 0), pair(0, 0), pair(1, 1)]);
        let found = trend(&pairs).expect("varies");
        assert!(found.exact && found.z < 0.0);
        let mcnemar = paired::mcnemar(7, 1);
        assert!((found.falls - mcnemar.one_sided).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_exact_chances_overlap_in_what_was_seen() {
        let found = trend(&[levels(&[(3, 9), (4, 9), (1, 8)])]).expect("varies");
        assert!(found.exact && found.falls + found.rises > 1.0, "{found:?}");
        let mirrored = trend(&[levels(&[(1, 8), (4, 9), (3, 9)])]).expect("varies");
        assert!((found.falls - mirrored.rises).abs() < 1e-12);
    }

    #[test]
    fn large_samples_fall_back_to_the_normal_distribution() {
        let large = levels(&[(300, 1000), (250, 1000), (240, 1000), (200, 1000)]);
        let found = trend(&[large]).expect("varies");
        assert!(!found.exact && found.falls < 1e-5, "{found:?}");
    }
}
