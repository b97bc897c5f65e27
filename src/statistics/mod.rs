//! Statistics of loop rates and of times: intervals, tests and plans, each with the source of its
//! formula.
//!
//! [`share`] and [`cluster`] put an interval around a rate, [`survival`] around the time until
//! something happens; [`trend()`] asks whether a rate falls along a scale, [`paired`] compares two
//! settings that had the same prompts, [`signed_rank`] two sides of measurements in pairs,
//! [`holm()`] pays for asking several times, [`looks`] for looking at a sample that still grows, and
//! [`noninferiority`] asks whether something got worse. [`planning`] says beforehand how many runs
//! an answer takes, [`detectable()`] how small a change so many pairs find. Distributions come from
//! `statrs`. How well all of this keeps its promises on samples as small as ours is measured by
//! `cargo bench --bench statistics` and `cargo bench --bench latency`; `docs/statistics.md` has the
//! figures.
//!
//! This module knows counts and numbers. It does not know what was counted, and prints nothing.

pub mod cluster;
pub mod detectable;
pub mod holm;
pub mod looks;
pub mod noninferiority;
pub mod paired;
pub mod planning;
pub mod share;
pub mod signed_rank;
pub mod survival;
pub mod trend;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

pub use cluster::Clusters;
pub use detectable::detectable;
pub use holm::holm;
pub use looks::Looks;
pub use noninferiority::PairedCounts;
pub use share::{Share, clopper_pearson, wilson};
pub use survival::{Observation, Survival, kaplan_meier};
pub use trend::{Trend, trend};

/// Both ends of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The confidence of every interval that is shown.
pub const CONFIDENCE: f64 = 0.95;

/// The value below which a standard normal variable stays with this probability.
fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// How far an interval of this confidence reaches to each side, in standard errors.
fn two_sided(confidence: f64) -> f64 {
    normal_quantile(0.5 + confidence / 2.0)
}

/// The same with a variance that was estimated with `freedom` degrees of freedom; without any,
/// the variance is not known and the reach is that of one.
fn two_sided_t(confidence: f64, freedom: usize) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom.max(1) as f64) {
        Ok(distribution) => distribution.inverse_cdf(0.5 + confidence / 2.0),
        Err(_) => two_sided(confidence),
    }
}
