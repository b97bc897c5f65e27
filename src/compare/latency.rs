//! How times changed, pair by pair, with an interval or an honest "inconclusive".
//!
//! A pair is one case that said the same tokens in both runs, so that the work was the same. The
//! figure is the median over the pairs of the ratio after / before. Its interval is the one of the
//! sign test: between two of the sorted ratios, so many from either end as the binomial
//! distribution with p = 1/2 allows; it assumes nothing about how times are distributed
//! (Conover, Practical Nonparametric Statistics, section 3.2).

use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::metrics::Timings;
use crate::record::CaseRecord;

/// How sure the intervals of all figures are together: each takes an equal part of the doubt
/// (Bonferroni).
const CONFIDENCE: f64 = 0.95;

/// A time that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Time to the first token of the first generation.
    Ttft,
    /// Mean time between tokens, the first ones left out.
    TimePerToken,
    /// From the requests to their last events, all generations together.
    EndToEnd,
}

impl Metric {
    const ALL: [Self; 3] = [Self::Ttft, Self::TimePerToken, Self::EndToEnd];

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "time to first token",
            Self::TimePerToken => "time per token",
            Self::EndToEnd => "end to end",
        }
    }

    /// Microseconds; nothing where the record does not have it.
    fn of(self, case: &CaseRecord) -> Option<f64> {
        let exchanges = &case.run.conversation.exchanges;
        let timings = exchanges
            .iter()
            .map(|exchange| Timings::of(&exchange.transcript));
        let us = match self {
            Self::Ttft => {
                let mut timings = timings;
                timings.next()?.ttft_us? as f64
            }
            Self::TimePerToken => {
                let gaps: Vec<u64> = timings.flat_map(|timings| timings.gaps_us).collect();
                gaps.iter().sum::<u64>() as f64 / gaps.len() as f64
            }
            Self::EndToEnd => timings.map(|timings| timings.e2e_us).sum::<u64>() as f64,
        };
        (us.is_finite() && us > 0.0).then_some(us)
    }
}

/// Which way a time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyVerdict {
    /// The interval lies above 1.
    Slower,
    /// The interval lies below 1.
    Faster,
    /// It holds 1, or there is none.
    Inconclusive,
}

/// An interval of ratios after / before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// How one time changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencyChange {
    /// Which time.
    pub metric: Metric,
    /// Cases that have it in both runs, and said the same.
    pub pairs: usize,
    /// Pairs below which there is no interval.
    pub pairs_needed: usize,
    /// Median of after / before; nothing without pairs.
    pub ratio: Option<f64>,
    /// Where the true median lies.
    pub interval: Option<Interval>,
    /// Which way it went.
    pub verdict: LatencyVerdict,
}

/// The change of every metric over cases of the earlier and the later run.
pub(super) fn changes(pairs: &[(&CaseRecord, &CaseRecord)]) -> Vec<LatencyChange> {
    let same: Vec<_> = pairs
        .iter()
        .filter(|(before, after)| comparable(before, after))
        .collect();
    Metric::ALL
        .into_iter()
        .map(|metric| {
            let ratios = same
                .iter()
                .filter_map(|(before, after)| Some(metric.of(after)? / metric.of(before)?));
            change(metric, ratios.collect())
        })
        .collect()
}

fn comparable(before: &CaseRecord, after: &CaseRecord) -> bool {
    before.run.error.is_none()
        && after.run.error.is_none()
        && super::answer::divergence(&before.run.conversation, &after.run.conversation).is_none()
}

fn change(metric: Metric, mut ratios: Vec<f64>) -> LatencyChange {
    ratios.sort_by(f64::total_cmp);
    let doubt = (1.0 - CONFIDENCE) / Metric::ALL.len() as f64;
    let interval = median_interval(&ratios, doubt);
    LatencyChange {
        metric,
        pairs: ratios.len(),
        pairs_needed: pairs_needed(doubt),
        ratio: median(&ratios),
        interval,
        verdict: match interval {
            Some(Interval { low, .. }) if low > 1.0 => LatencyVerdict::Slower,
            Some(Interval { high, .. }) if high < 1.0 => LatencyVerdict::Faster,
            _ => LatencyVerdict::Inconclusive,
        },
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        1 => Some(*upper),
        _ => sorted
            .get(sorted.len() / 2 - 1)
            .map(|lower| (lower + upper) / 2.0),
    }
}

/// The interval that misses the true median with a probability of at most `doubt`.
fn median_interval(sorted: &[f64], doubt: f64) -> Option<Interval> {
    let n = sorted.len();
    let heads = Binomial::new(0.5, n as u64).ok()?;
    // As many may lie beyond either end as the distribution gives half of the doubt to.
    let cut = (0..n)
        .take_while(|k| heads.cdf(*k as u64) <= doubt / 2.0)
        .count();
    let cut = cut.checked_sub(1)?;
    Some(Interval {
        low: *sorted.get(cut)?,
        high: *sorted.get(n - 1 - cut)?,
    })
}

/// Pairs of which all lie on one side by chance with a probability of at most `doubt`.
fn pairs_needed(doubt: f64) -> usize {
    (1..)
        .find(|n| 2.0 * 0.5f64.powi(*n) <= doubt)
        .map_or(usize::MAX, |n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(count: usize) -> Vec<f64> {
        (1..=count).map(|n| n as f64).collect()
    }

    /// The table of the sign test (Conover, table A3): for n = 10 at 95 % the 2nd and the 9th
    /// value, for n = 20 the 6th and the 15th; six values are the fewest that give an interval.
    #[test]
    fn intervals_are_those_of_the_sign_test() {
        let at = |n| median_interval(&sorted(n), 0.05).map(|found| (found.low, found.high));
        assert_eq!(at(5), None);
        assert_eq!(at(6), Some((1.0, 6.0)));
        assert_eq!(at(10), Some((2.0, 9.0)));
        assert_eq!(at(20), Some((6.0, 15.0)));
        assert_eq!(pairs_needed(0.05), 6);
        assert_eq!(pairs_needed(0.05 / 3.0), 7);
    }

    #[test]
    fn verdicts_need_the_whole_interval_on_one_side() {
        let of = |ratios: &[f64]| change(Metric::Ttft, ratios.to_vec()).verdict;
        assert_eq!(of(&[1.2; 7]), LatencyVerdict::Slower);
        assert_eq!(of(&[0.8; 7]), LatencyVerdict::Faster);
        assert_eq!(of(&[1.2; 6]), LatencyVerdict::Inconclusive);
        assert_eq!(
            of(&[1.2, 1.2, 1.2, 0.9, 1.2, 1.2, 1.2]),
            LatencyVerdict::Inconclusive
        );
        assert_eq!(change(Metric::Ttft, Vec::new()).ratio, None);
    }
}
