//! The smallest change that a comparison would find, learned from differences that were measured
//! where nothing changed.
//!
//! Knows differences and their signed-rank interval, not what was measured.

use super::signed_rank;

/// Comparisons that are drawn. The share of those that find a change is known to within 2 % then.
const DRAWN: usize = 1_000;

/// The smallest change that a share `power` of comparisons with so many pairs would find: their
/// interval lies above `limit`. Nothing where so few pairs have no interval, or without `noise`.
///
/// A comparison is drawn from `noise`, differences of the same thing with itself, with replacement.
/// Each keeps or changes its sign like a coin, because with equal sides neither sign means anything.
/// A change moves all differences, and so the whole interval, by as much: so it is found where it
/// exceeds the distance from the interval's lower end to the limit. (Resampling: Efron, "Bootstrap
/// methods: another look at the jackknife", Annals of Statistics 7 (1979), 1-26.)
#[must_use]
pub fn detectable(noise: &[f64], pairs: usize, limit: f64, doubt: f64, power: f64) -> Option<f64> {
    if noise.is_empty() || pairs < signed_rank::needed(doubt) {
        return None;
    }
    // A fixed seed: the same measurements are always told the same.
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let mut distances = Vec::with_capacity(DRAWN);
    for _ in 0..DRAWN {
        let one = |_| {
            let difference = random.choice(noise).copied()?;
            let sign = if random.bool() { 1.0 } else { -1.0 };
            Some(sign * difference)
        };
        let drawn: Vec<f64> = (0..pairs).filter_map(one).collect();
        distances.push(limit - signed_rank::interval(&drawn, doubt)?.low);
    }
    distances.sort_by(f64::total_cmp);
    let enough = (power * DRAWN as f64).ceil() as usize;
    distances.get(enough.clamp(1, DRAWN) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOUBT: f64 = 0.05;

    /// Differences spread evenly over -1 to 1.
    fn even() -> Vec<f64> {
        (0..=100).map(|step| f64::from(step) / 50.0 - 1.0).collect()
    }

    #[test]
    fn without_noise_what_is_above_the_limit_is_found() {
        assert_eq!(detectable(&[0.0; 5], 10, 0.02, DOUBT, 0.9), Some(0.02));
    }

    #[test]
    fn too_few_pairs_or_no_noise_find_nothing() {
        assert_eq!(detectable(&[], 10, 0.0, DOUBT, 0.9), None);
        assert_eq!(detectable(&even(), 5, 0.0, DOUBT, 0.9), None);
        assert!(detectable(&even(), 6, 0.0, DOUBT, 0.9).is_some());
    }

    #[test]
    fn more_pairs_find_less_and_more_certainty_costs_more() {
        let found = |pairs, power| detectable(&even(), pairs, 0.0, DOUBT, power).expect("found");
        assert!(found(16, 0.9) > 1.3 * found(64, 0.9));
        assert!(found(16, 0.9) > 1.1 * found(16, 0.5));
        let moved = detectable(&even(), 16, 0.5, DOUBT, 0.9).expect("found");
        assert!((moved - found(16, 0.9) - 0.5).abs() < 1e-12);
    }

    /// The promise itself: a change of that size, with new noise of the same kind, is found as often
    /// as was said.
    #[test]
    fn a_change_of_that_size_is_found_as_often_as_promised() {
        let shift = detectable(&even(), 16, 0.02, DOUBT, 0.9).expect("found");
        let mut random = fastrand::Rng::with_seed(7);
        let rounds = 2_000;
        let found = (0..rounds).filter(|_| {
            let drawn: Vec<f64> = (0..16).map(|_| 2.0 * random.f64() - 1.0 + shift).collect();
            signed_rank::interval(&drawn, DOUBT).is_some_and(|interval| interval.low > 0.02)
        });
        let share = found.count() as f64 / f64::from(rounds);
        assert!((0.87..0.93).contains(&share), "{share}");
    }
}
