//! Where the middle of differences lies, from their ranks alone.
//!
//! Assumes that a difference is as likely so far above the middle as below it, and nothing else of
//! its distribution. That holds by itself for two things measured in turn, in either order, where
//! neither is better: then swapping them changes nothing. It knows numbers, not what was measured.

use super::Interval;

/// Most differences whose ranks are counted exactly; with more the normal distribution is as good.
const MOST_EXACT: usize = 60;

/// The middle of the means of every two differences, each with itself too (Hodges and Lehmann,
/// "Estimates of location based on rank tests", Annals of Mathematical Statistics 34 (1963),
/// 598-611). Nothing without differences.
#[must_use]
pub fn middle(differences: &[f64]) -> Option<f64> {
    let means = Means::new(differences)?;
    let all = means.many();
    let upper = means.nth(all / 2);
    Some(match all % 2 {
        1 => upper,
        _ => f64::midpoint(means.nth(all / 2 - 1), upper),
    })
}

/// The interval that misses the middle with a probability of at most `doubt`: all values for which
/// the signed-rank test does not find the differences to lie elsewhere (Wilcoxon, "Individual
/// comparisons by ranking methods", Biometrics Bulletin 1 (1945), 80-83; as an interval Tukey; in
/// Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, section 3.3). Nothing with
/// fewer than [`needed`] differences. Equal differences make it wider, not narrower.
#[must_use]
pub fn interval(differences: &[f64], doubt: f64) -> Option<Interval> {
    let means = Means::new(differences)?;
    let beyond = beyond(differences.len(), doubt / 2.0)?;
    Some(Interval {
        low: means.nth(beyond),
        high: means.nth(means.many() - 1 - beyond),
    })
}

/// The fewest differences that have an interval: all lie on one side by chance with a probability
/// of at most `doubt`.
#[must_use]
pub fn needed(doubt: f64) -> usize {
    (1..)
        .find(|many| 2.0 * 0.5f64.powi(*many) <= doubt)
        .map_or(usize::MAX, |many| many as usize)
}

/// How many of the means may lie beyond one end: the greatest sum of the ranks of `many`
/// differences on one side whose chance, or that of a smaller one, is at most `doubt`.
fn beyond(many: usize, doubt: f64) -> Option<usize> {
    let all = many * (many + 1) / 2;
    if many > MOST_EXACT {
        let deviation = ((all * (2 * many + 1)) as f64 / 12.0).sqrt();
        let reach = super::normal_quantile(1.0 - doubt) * deviation;
        // Half a rank less, since sums are whole numbers.
        return Some((all as f64 / 2.0 - reach - 0.5).floor().max(0.0) as usize);
    }
    // The chance of each sum: every rank is on either side like a coin.
    let mut chances = vec![0.0; all + 1];
    chances[0] = 1.0;
    for rank in 1..=many {
        for sum in (0..=all).rev() {
            let with = sum.checked_sub(rank).map_or(0.0, |before| chances[before]);
            chances[sum] = (chances[sum] + with) / 2.0;
        }
    }
    let sums = chances.iter().scan(0.0, |below, chance| {
        *below += chance;
        Some(*below)
    });
    sums.take_while(|chance| *chance <= doubt)
        .count()
        .checked_sub(1)
}

/// The means of every two of some values, each with itself too, without writing them all down.
struct Means {
    sorted: Vec<f64>,
}

impl Means {
    fn new(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then_some(Self { sorted })
    }

    fn many(&self) -> usize {
        self.sorted.len() * (self.sorted.len() + 1) / 2
    }

    /// How many are at most this.
    fn at_most(&self, most: f64) -> usize {
        let mut partners = self.sorted.len();
        let mut count = 0;
        for (at, value) in self.sorted.iter().enumerate() {
            while partners > 0 && f64::midpoint(*value, self.sorted[partners - 1]) > most {
                partners -= 1;
            }
            // Each pair once, the smaller value first.
            count += partners.saturating_sub(at);
        }
        count
    }

    /// The one with so many before it, in order of size: halves the range until both ends are
    /// neighbours among the numbers, so that the result is one of the means.
    fn nth(&self, at: usize) -> f64 {
        let (Some(mut low), Some(mut high)) =
            (self.sorted.first().copied(), self.sorted.last().copied())
        else {
            return f64::NAN;
        };
        if self.at_most(low) > at {
            return low;
        }
        loop {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                return high;
            }
            if self.at_most(middle) > at {
                high = middle;
            } else {
                low = middle;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table of the test (Wilcoxon and Wilcox, 1964, at 5 % of both sides), and by hand: all
    /// on one side is 1/2^6 and 1/2^7, on either side of 0.05/6.
    #[test]
    fn sums_are_those_of_the_table() {
        let table = [
            (6, 0),
            (8, 3),
            (10, 8),
            (15, 25),
            (20, 52),
            (25, 89),
            (30, 137),
            (50, 434),
        ];
        for (many, sum) in table {
            assert_eq!(beyond(many, 0.025), Some(sum), "{many}");
        }
        assert_eq!(beyond(5, 0.025), None);
        assert_eq!(beyond(6, 0.05 / 6.0), None);
        assert_eq!(beyond(7, 0.05 / 6.0), Some(0));
        assert_eq!((needed(0.05), needed(0.05 / 3.0)), (6, 7));
        // By the normal distribution, where counting gives 1955.
        assert_eq!(beyond(100, 0.025), Some(1954));
    }

    /// Every assignment of signs, counted.
    #[test]
    fn an_interval_is_missed_as_often_as_counting_says() {
        let doubt = 0.05;
        for many in 6..=12usize {
            // Differences of unlike sizes, so that all their means are different.
            let sizes: Vec<f64> = (0..many).map(|at| 1.37f64.powi(at as i32)).collect();
            let all = 1usize << many;
            let missed = (0..all).filter(|signs| {
                let sign = |at: usize| if signs >> at & 1 == 1 { 1.0 } else { -1.0 };
                let drawn: Vec<f64> = sizes
                    .iter()
                    .enumerate()
                    .map(|(at, s)| s * sign(at))
                    .collect();
                let found = interval(&drawn, doubt).expect("enough");
                found.low > 0.0 || found.high < 0.0
            });
            let share = missed.count() as f64 / all as f64;
            assert!(share <= doubt, "{many}: {share}");
            assert!(share > 0.6 * doubt, "{many}: {share}");
        }
    }

    proptest! {
        /// The means written down and sorted.
        #[test]
        fn means_are_those_that_are_written_down(
            values in prop::collection::vec(-1e3..1e3f64, 1..40),
            equal in 1..4usize,
        ) {
            let values: Vec<f64> = values.iter().flat_map(|v| vec![*v; equal]).collect();
            let mut written: Vec<f64> = (0..values.len())
                .flat_map(|a| (a..values.len()).map(move |b| (a, b)))
                .map(|(a, b)| f64::midpoint(values[a], values[b]))
                .collect();
            written.sort_by(f64::total_cmp);
            let means = Means::new(&values).expect("some");
            prop_assert_eq!(means.many(), written.len());
            for at in [0, written.len() / 3, written.len() / 2, written.len() - 1] {
                prop_assert_eq!(means.nth(at), written[at]);
            }
        }
    }

    #[test]
    fn one_far_value_moves_little() {
        let mut values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
        assert_eq!(middle(&values), Some(5.5));
        values[9] = 1e9;
        assert_eq!(middle(&values), Some(5.5));
        assert_eq!(middle(&[]), None);
        assert_eq!(
            interval(&[1.0; 6], 0.05),
            Some(Interval {
                low: 1.0,
                high: 1.0
            })
        );
    }
}
