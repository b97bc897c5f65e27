//! A share with its uncertainty.

use std::fmt;

/// How often something was so, out of how many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        if self.of == 0 {
            return (0.0, 1.0);
        }
        const Z: f64 = 1.959_963_984_540_054;
        let (n, p) = (self.of as f64, self.value());
        let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        // Exact at the ends, where the formula is too but rounding is not.
        let low = if self.hits == 0 { 0.0 } else { middle - half };
        let high = if self.hits == self.of {
            1.0
        } else {
            middle + half
        };
        (low, high)
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
}
