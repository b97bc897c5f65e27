//! A share of independent trials with its uncertainty.
//!
//! It does not know trials that hang together; those are the neighbour `cluster`.

use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use super::{CONFIDENCE, Interval, two_sided};

/// How often something was so, out of how many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Times it was so.
    pub hits: usize,
    /// Times in all.
    pub of: usize,
}

impl Share {
    /// Counts one more.
    pub fn count(&mut self, hit: bool) {
        self.hits += usize::from(hit);
        self.of += 1;
    }

    /// The share itself; 0 of nothing.
    #[must_use]
    pub fn value(self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }

    /// The 95 % interval of Wilson (1927), which holds for shares near 0 and 1 too.
    #[must_use]
    pub fn interval(self) -> (f64, f64) {
        let Interval { low, high } = wilson(self.hits as f64, self.of as f64, CONFIDENCE);
        (low, high)
    }
}

/// The score interval of Wilson, "Probable inference, the law of succession, and statistical
/// inference", JASA 22 (1927), 209-212. Counts need not be whole: an effective number of trials
/// is not. Of nothing it is everything.
#[must_use]
pub fn wilson(hits: f64, of: f64, confidence: f64) -> Interval {
    if of <= 0.0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let z = two_sided(confidence);
    let p = hits / of;
    let middle = (p + z * z / (2.0 * of)) / (1.0 + z * z / of);
    let half = z / (1.0 + z * z / of) * (p * (1.0 - p) / of + z * z / (4.0 * of * of)).sqrt();
    // Exact at the ends, where the formula is too but rounding is not.
    Interval {
        low: if hits <= 0.0 { 0.0 } else { middle - half },
        high: if hits >= of { 1.0 } else { middle + half },
    }
}

/// The exact interval of Clopper and Pearson, "The use of confidence or fiducial limits",
/// Biometrika 26 (1934), 404-413: it never covers less than it promises, and usually more.
#[must_use]
pub fn clopper_pearson(share: Share, confidence: f64) -> Interval {
    exact(share.hits as f64, share.of as f64, confidence)
}

/// The same of counts that need not be whole, such as an effective number of trials.
pub(super) fn exact(hits: f64, of: f64, confidence: f64) -> Interval {
    let tail = (1.0 - confidence) / 2.0;
    let misses = (of - hits).max(0.0);
    let quantile = |a: f64, b: f64, at: f64, end: f64| match Beta::new(a, b) {
        Ok(distribution) => distribution.inverse_cdf(at),
        Err(_) => end,
    };
    Interval {
        low: match hits {
            0.0 => 0.0,
            _ => quantile(hits, misses + 1.0, tail, 0.0),
        },
        high: match misses {
            0.0 => 1.0,
            _ => quantile(hits + 1.0, misses, 1.0 - tail, 1.0),
        },
    }
}

impl std::ops::Add for Share {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            of: self.of + other.of,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 0 {
            return f.write_str("–");
        }
        let (low, high) = self.interval();
        write!(
            f,
            "{}/{} ({:.2}–{:.2} %)",
            self.hits,
            self.of,
            low * 100.0,
            high * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// The intervals of `statsmodels.stats.proportion.proportion_confint(…, method="wilson")`.
    #[rstest]
    #[case(0, 2_366, 0.0, 0.001_621)]
    #[case(300, 300, 0.987_357, 1.0)]
    #[case(5, 10, 0.236_593, 0.763_407)]
    fn the_interval_is_wilsons(
        #[case] hits: usize,
        #[case] of: usize,
        #[case] low: f64,
        #[case] high: f64,
    ) {
        let found = Share { hits, of }.interval();
        assert!(
            (found.0 - low).abs() < 1e-5 && (found.1 - high).abs() < 1e-5,
            "{found:?}"
        );
    }

    #[test]
    fn of_nothing_everything_is_possible() {
        let none = Share::default();
        assert_eq!(none.interval(), (0.0, 1.0));
        let exact = clopper_pearson(none, 0.95);
        assert_eq!((exact.low, exact.high), (0.0, 1.0));
    }
}
