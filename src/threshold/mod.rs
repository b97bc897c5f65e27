//! Thresholds over groups of runs, as k6 writes them: `ttft: p95 < 500ms`.
//!
//! [`Threshold::parse`] reads one strictly; [`Threshold::judge`] holds samples against it, and says
//! so where there are too few for what is asked. It does not know what a run is, or where the
//! samples come from.

mod parse;

use std::fmt;

use crate::statistics::{CONFIDENCE, wilson};

pub use parse::ThresholdError;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Whether a run passes.
    Pass,
    /// Whether a run has a confirmed loop.
    Loops,
    /// Microseconds to the first token of a run.
    Ttft,
    /// Microseconds of all generations of a run together.
    EndToEnd,
    /// Generated tokens of a run.
    Tokens,
}

/// What is computed of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// The share of the runs for which it is so.
    Rate,
    /// The lower end of the 95 % interval of Wilson around that share.
    Lower95,
    /// The upper end of it.
    Upper95,
    /// The mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The smallest value that at least this share of the runs does not exceed (nearest rank).
    Percentile(f64),
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// A threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What is looked at.
    pub metric: Metric,
    statistic: Statistic,
    relation: Relation,
    bound: f64,
}

/// Whether a threshold holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It holds: the value, for people.
    Held(String),
    /// It does not hold: the value, for people.
    Broken(String),
    /// There are too few samples to say; so many are needed.
    TooFew(usize),
}

impl Metric {
    /// Every metric, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Pass,
        Self::Loops,
        Self::Ttft,
        Self::EndToEnd,
        Self::Tokens,
    ];

    /// The name in a scenario.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Loops => "loops",
            Self::Ttft => "ttft",
            Self::EndToEnd => "e2e",
            Self::Tokens => "tokens",
        }
    }

    fn is_share(self) -> bool {
        matches!(self, Self::Pass | Self::Loops)
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Ttft | Self::EndToEnd)
    }
}

impl Relation {
    const ALL: [Self; 4] = [Self::AtMost, Self::AtLeast, Self::Below, Self::Above];

    fn as_str(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Below => value < bound,
            Self::AtMost => value <= bound,
            Self::Above => value > bound,
            Self::AtLeast => value >= bound,
        }
    }
}

impl Threshold {
    /// The fewest runs of which it can be judged: for a percentile so many that one of them is
    /// above the true one with a probability of 95 %, 1 - p^n >= 0.95: 59 for p95 and 299 for p99.
    #[must_use]
    pub fn needed(&self) -> usize {
        match self.statistic {
            Statistic::Percentile(share) => {
                ((1.0 - CONFIDENCE).ln() / share.ln()).ceil().max(1.0) as usize
            }
            _ => 1,
        }
    }

    /// Holds samples against it: 0 or 1 for shares.
    #[must_use]
    pub fn judge(&self, samples: &[f64]) -> Outcome {
        let needed = self.needed();
        let value = match samples.len() {
            count if count < needed => return Outcome::TooFew(needed),
            _ => self.value(samples),
        };
        let shown = self.shown(value, samples);
        match self.relation.holds(value, self.bound) {
            true => Outcome::Held(shown),
            false => Outcome::Broken(shown),
        }
    }

    fn value(&self, samples: &[f64]) -> f64 {
        let (sum, count) = (samples.iter().sum::<f64>(), samples.len() as f64);
        match self.statistic {
            Statistic::Rate | Statistic::Mean => sum / count,
            Statistic::Lower95 => wilson(sum, count, CONFIDENCE).low,
            Statistic::Upper95 => wilson(sum, count, CONFIDENCE).high,
            Statistic::Min => samples.iter().copied().fold(f64::INFINITY, f64::min),
            Statistic::Max => samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Statistic::Percentile(share) => {
                let mut sorted = samples.to_vec();
                sorted.sort_by(f64::total_cmp);
                let rank = (share * count - 1e-9).ceil().max(1.0) as usize;
                sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
            }
        }
    }

    fn shown(&self, value: f64, samples: &[f64]) -> String {
        let count = samples.len();
        match self.metric {
            metric if metric.is_share() => {
                let hits = samples.iter().sum::<f64>();
                format!("{value:.3} ({hits} of {count} runs)")
            }
            metric if metric.is_time() => format!("{} ({count} runs)", milliseconds(value)),
            _ => format!("{value:.1} ({count} runs)"),
        }
    }
}

fn milliseconds(micros: f64) -> String {
    format!("{:.1}ms", micros / 1e3)
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => f.write_str("rate"),
            Self::Lower95 => f.write_str("lower95"),
            Self::Upper95 => f.write_str("upper95"),
            Self::Mean => f.write_str("mean"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            // 0.999 * 100 is not 99.9 in binary.
            Self::Percentile(share) => write!(f, "p{}", (share * 1e5).round() / 1e3),
        }
    }
}

/// The expression, which reads back.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match self.metric.is_time() {
            true => format!("{}ms", self.bound / 1e3),
            false => self.bound.to_string(),
        };
        write!(f, "{} {} {bound}", self.statistic, self.relation.as_str())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn judged(metric: &str, expression: &str, samples: &[f64]) -> Outcome {
        Threshold::parse(metric, expression)
            .expect("valid")
            .judge(samples)
    }

    /// The numbers from 1 to 100, in milliseconds.
    fn hundred() -> Vec<f64> {
        (1..=100)
            .rev()
            .map(|number| f64::from(number) * 1e3)
            .collect()
    }

    #[rstest]
    #[case("p95 < 95ms", false)]
    #[case("p95 <= 95ms", true)]
    #[case("p50<=50ms", true)]
    #[case("p50 < 50ms", false)]
    #[case("max <= 0.1s", true)]
    #[case("max < 100ms", false)]
    #[case("min > 1ms", false)]
    #[case("min >= 1ms", true)]
    #[case("mean >= 50.5ms", true)]
    #[case("mean > 50.5ms", false)]
    fn the_edge_of_each_statistic_of_times(#[case] expression: &str, #[case] holds: bool) {
        let outcome = judged("ttft", expression, &hundred());
        assert_eq!(matches!(outcome, Outcome::Held(_)), holds, "{outcome:?}");
    }

    /// 19 of 20; the interval of Wilson, by statsmodels, is 0.7639 to 0.9911.
    #[rstest]
    #[case("rate >= 0.95", true)]
    #[case("rate > 0.95", false)]
    #[case("lower95 >= 0.763", true)]
    #[case("lower95 >= 0.765", false)]
    #[case("upper95 < 0.992", true)]
    #[case("upper95 < 0.991", false)]
    fn the_edge_of_each_statistic_of_shares(#[case] expression: &str, #[case] holds: bool) {
        let mut samples = vec![1.0; 19];
        samples.push(0.0);
        let outcome = judged("pass", expression, &samples);
        assert_eq!(matches!(outcome, Outcome::Held(_)), holds, "{outcome:?}");
    }

    #[rstest]
    #[case("p50 < 1s", 5)]
    #[case("p90 < 1s", 29)]
    #[case("p95 < 1s", 59)]
    #[case("p99 < 1s", 299)]
    #[case("max < 1s", 1)]
    fn a_percentile_needs_enough_runs(#[case] expression: &str, #[case] needed: usize) {
        let enough = vec![1.0; needed];
        assert!(matches!(
            judged("ttft", expression, &enough),
            Outcome::Held(_)
        ));
        let few = &enough[1..];
        assert_eq!(judged("ttft", expression, few), Outcome::TooFew(needed));
    }

    #[rstest]
    #[case("ttft", "p99.9<500ms", "p99.9 < 500ms")]
    #[case("e2e", "mean <= 1.5s", "mean <= 1500ms")]
    #[case("loops", "rate < 0.01", "rate < 0.01")]
    #[case("tokens", "max <= 400", "max <= 400")]
    fn an_expression_reads_back(#[case] metric: &str, #[case] written: &str, #[case] shown: &str) {
        let threshold = Threshold::parse(metric, written).expect("valid");
        assert_eq!(threshold.to_string(), shown);
        assert_eq!(Threshold::parse(metric, shown), Ok(threshold));
    }
}
