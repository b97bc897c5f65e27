//! How many runs an answer takes, and what a design can tell, before anything has run.
//!
//! It knows rates and numbers of runs.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

use super::normal_quantile;
use super::share::wilson;

/// More runs than this are not planned for.
const MOST_RUNS: usize = 20_000;

/// The most hits among `runs` with which Wilson's upper bound stays below `target`; `None` if
/// even without a hit it does not.
#[must_use]
pub fn most_hits(runs: usize, target: f64, confidence: f64) -> Option<usize> {
    let below = |hits: usize| wilson(hits as f64, runs as f64, confidence).high < target;
    // The bound grows with the hits.
    let (mut low, mut high) = (0, runs + 1);
    while low < high {
        let middle = usize::midpoint(low, high);
        if middle <= runs && below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low.checked_sub(1)
}

/// The chance that the upper bound of `runs` runs is below `target`, if the true rate is `rate`:
/// by the binomial distribution.
#[must_use]
pub fn chance_of_bound(runs: usize, rate: f64, target: f64, confidence: f64) -> f64 {
    let Some(most) = most_hits(runs, target, confidence) else {
        return 0.0;
    };
    match Binomial::new(rate, runs as u64) {
        Ok(hits) => hits.cdf(most as u64),
        Err(_) => 0.0,
    }
}

/// The fewest runs with which the upper bound is below `target` with the chance `power`, if the
/// true rate is `rate`. `None` if `rate` is not below `target`, or it takes too many.
#[must_use]
pub fn runs_for_bound(rate: f64, target: f64, confidence: f64, power: f64) -> Option<usize> {
    if rate >= target {
        return None;
    }
    // The chance goes up and down a little with each run, so every number is tried.
    (1..=MOST_RUNS).find(|runs| chance_of_bound(*runs, rate, target, confidence) >= power)
}

/// The chance that the trend test with this many runs at each level finds the fall at level
/// `alpha`, if the true rates are these: by the normal distribution of its statistic (Nam, "A
/// simple approximation for calculating sample sizes for detecting linear trend in proportions",
/// Biometrics 43 (1987), 701-705, without his correction for continuity).
#[must_use]
pub fn power_of_trend(rates: &[f64], runs: usize, alpha: f64) -> f64 {
    let (levels, n) = (rates.len() as f64, runs as f64);
    let middle = (levels - 1.0) / 2.0;
    let mean = rates.iter().sum::<f64>() / levels;
    let sum = |part: &dyn Fn(f64, f64) -> f64| -> f64 {
        (rates.iter().enumerate())
            .map(|(score, rate)| part(score as f64 - middle, *rate))
            .sum()
    };
    let fall = -n * sum(&|score, rate| score * rate);
    let without = n * mean * (1.0 - mean) * sum(&|score, _| score * score);
    let with = n * sum(&|score, rate| score * score * rate * (1.0 - rate));
    if with <= 0.0 {
        return if fall > 0.0 { 1.0 } else { 0.0 };
    }
    let needed = normal_quantile(1.0 - alpha) * without.sqrt();
    Normal::standard().cdf((fall - needed) / with.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(72, None)]
    #[case(73, Some(0))]
    #[case(300, Some(7))]
    fn few_runs_prove_little(#[case] runs: usize, #[case] most: Option<usize>) {
        assert_eq!(most_hits(runs, 0.05, 0.95), most);
    }

    #[test]
    fn the_planned_number_is_the_first_that_suffices() {
        assert_eq!(runs_for_bound(0.0, 0.05, 0.95, 0.8), Some(73));
        assert_eq!(runs_for_bound(0.06, 0.05, 0.95, 0.8), None);
        let runs = runs_for_bound(0.01, 0.05, 0.95, 0.8).expect("below the target");
        assert!(chance_of_bound(runs, 0.01, 0.05, 0.95) >= 0.8);
        assert!(chance_of_bound(runs - 1, 0.01, 0.05, 0.95) < 0.8);
    }

    #[test]
    fn more_runs_and_steeper_falls_are_found_more_often() {
        let falls = [0.3, 0.24, 0.18, 0.12, 0.06, 0.02];
        let power = power_of_trend(&falls, 30, 0.05);
        assert!(power > 0.95, "{power}");
        assert!(power_of_trend(&falls, 10, 0.05) < power);
        let flat = power_of_trend(&[0.2; 6], 30, 0.05);
        assert!((flat - 0.05).abs() < 1e-9, "{flat}");
        assert_eq!(power_of_trend(&[1.0, 0.0], 30, 0.05), 1.0);
    }
}
