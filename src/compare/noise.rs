//! How much a runner's times differ where nothing changed, and the smallest slow-down that pairs
//! made on it would find.
//!
//! Looks at two records of one thing, made in turn. The rule is that of the gate on times, so that
//! what is promised here is what `compare --max-slowdown` does.

use serde::Serialize;

use super::latency::{self, Metric};
use super::{by_id, pairs};
use crate::record::Record;
use crate::statistics::detectable;

/// How often a slow-down has to be found to count as found.
const POWER: f64 = 0.9;

/// The noise of one time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Noise {
    /// Which time.
    pub metric: Metric,
    /// Pairs that were measured.
    pub pairs: usize,
    /// Half of the pairs differ by less than this share: the middle of their distances from 1 on a
    /// logarithmic scale. Nothing without pairs.
    pub half_within: Option<f64>,
    /// What would be found with so many pairs.
    pub detectable: Vec<Detectable>,
}

/// What a number of pairs finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Detectable {
    /// The number of pairs.
    pub pairs: usize,
    /// The smallest slow-down that nine of ten comparisons find, as a share: 0.1 is a tenth more
    /// time. Nothing where so few pairs find none.
    pub slowdown: Option<f64>,
}

impl Noise {
    /// Whether nine of ten comparisons with so many pairs find this slow-down.
    #[must_use]
    pub fn finds(&self, slowdown: f64, pairs: usize) -> bool {
        let mut with = self.detectable.iter().filter(|one| one.pairs == pairs);
        with.any(|one| one.slowdown.is_some_and(|least| least <= slowdown))
    }
}

/// The noise between two records of one thing, and what comparisons of each of `counts` pairs
/// would find where a slow-down up to `allowed` is no finding.
#[must_use]
pub fn noise(before: &Record, after: &Record, allowed: f64, counts: &[usize]) -> Vec<Noise> {
    let measured = latency::ratios(&pairs(&by_id(before), after));
    let all = measured.into_iter().map(|(metric, ratios)| {
        let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let found = |pairs: &usize| {
            let limit = allowed.ln_1p();
            let least = detectable(&logarithms, *pairs, limit, latency::doubt(), POWER);
            Detectable {
                pairs: *pairs,
                slowdown: least.map(f64::exp_m1),
            }
        };
        Noise {
            metric,
            pairs: ratios.len(),
            half_within: middle_distance(&logarithms).map(f64::exp_m1),
            detectable: counts.iter().map(found).collect(),
        }
    });
    all.collect()
}

fn middle_distance(logarithms: &[f64]) -> Option<f64> {
    let mut distances: Vec<f64> = logarithms.iter().map(|one| one.abs()).collect();
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied()
}
