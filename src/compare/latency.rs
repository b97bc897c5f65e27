//! How times changed, pair by pair, with an interval or an honest "inconclusive".
//!
//! A pair is one case that said the same tokens in both runs, so that the work was the same; a case
//! that is run several times is a pair for each of its runs. The figure is the middle of the ratios after / before, on a logarithmic scale, where twice and half
//! are equally far from 1; its interval is the one of the signed-rank test. Where nothing changed
//! and the two were measured in turn, a ratio is as likely as its inverse, and that is all that the
//! interval assumes. `docs/statistics.md` has how often it errs, and what it finds.

use serde::Serialize;

use crate::metrics::Timings;
use crate::record::{CaseRecord, RunRecord};
use crate::statistics::signed_rank;

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
    fn of(self, run: &RunRecord) -> Option<f64> {
        let exchanges = &run.conversation.exchanges;
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
    /// Runs of cases that have it on both sides, and said the same.
    pub pairs: usize,
    /// Pairs below which there is no interval.
    pub pairs_needed: usize,
    /// Hodges and Lehmann's middle of after / before; nothing without pairs.
    pub ratio: Option<f64>,
    /// Where the true middle lies.
    pub interval: Option<Interval>,
    /// Which way it went.
    pub verdict: LatencyVerdict,
}

/// The change of every metric over cases of the earlier and the later run.
pub(super) fn changes(pairs: &[(&CaseRecord, &CaseRecord)]) -> Vec<LatencyChange> {
    let changes = ratios(pairs).into_iter();
    changes
        .map(|(metric, ratios)| change(metric, &ratios))
        .collect()
}

/// The doubt that is left to each metric.
pub(super) fn doubt() -> f64 {
    (1.0 - CONFIDENCE) / Metric::ALL.len() as f64
}

/// The ratios after / before of every metric, one for each pair that did the same work.
pub(super) fn ratios(pairs: &[(&CaseRecord, &CaseRecord)]) -> Vec<(Metric, Vec<f64>)> {
    let runs = pairs
        .iter()
        .flat_map(|(before, after)| before.runs().into_iter().zip(after.runs()));
    let same: Vec<_> = runs
        .filter(|(before, after)| comparable(before, after))
        .collect();
    Metric::ALL
        .into_iter()
        .map(|metric| {
            let ratios: Vec<f64> = same
                .iter()
                .filter_map(|(before, after)| Some(metric.of(after)? / metric.of(before)?))
                .collect();
            (metric, ratios)
        })
        .collect()
}

/// Whether both said the same, so that what it took can be compared.
pub(super) fn comparable(before: &RunRecord, after: &RunRecord) -> bool {
    before.error.is_none()
        && after.error.is_none()
        && super::answer::divergence(&before.conversation, &after.conversation).is_none()
}

fn change(metric: Metric, ratios: &[f64]) -> LatencyChange {
    let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let interval = signed_rank::interval(&logarithms, doubt()).map(|found| Interval {
        low: found.low.exp(),
        high: found.high.exp(),
    });
    LatencyChange {
        metric,
        pairs: ratios.len(),
        pairs_needed: signed_rank::needed(doubt()),
        ratio: signed_rank::middle(&logarithms).map(f64::exp),
        interval,
        verdict: match interval {
            Some(Interval { low, .. }) if low > 1.0 => LatencyVerdict::Slower,
            Some(Interval { high, .. }) if high < 1.0 => LatencyVerdict::Faster,
            _ => LatencyVerdict::Inconclusive,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assertion::Judgement;
    use crate::generation::{
        Conversation, Exchange, FinishReason, SamplingSettings, Transcript, Usage,
    };

    #[test]
    fn verdicts_need_the_whole_interval_on_one_side() {
        let of = |ratios: &[f64]| change(Metric::Ttft, ratios).verdict;
        assert_eq!(of(&[1.2; 7]), LatencyVerdict::Slower);
        assert_eq!(of(&[0.8; 7]), LatencyVerdict::Faster);
        assert_eq!(of(&[1.2; 6]), LatencyVerdict::Inconclusive);
        assert_eq!(
            of(&[1.2, 1.2, 1.2, 0.9, 1.2, 1.2, 1.2]),
            LatencyVerdict::Inconclusive
        );
        assert_eq!(change(Metric::Ttft, &[]).ratio, None);
    }

    /// Sixteen pairs around 8 % slower: the sign test, which counts sides
    /// alone, could not call that more than 2 % slower, since three are not.
    #[test]
    fn how_far_a_pair_lies_off_counts() {
        let ratios = [
            1.01, 0.99, 1.015, 1.04, 1.05, 1.06, 1.08, 1.09, 1.1, 1.11, 1.12, 1.13, 1.14, 1.15,
            1.16, 1.17,
        ];
        let found = change(Metric::EndToEnd, &ratios);
        let interval = found.interval.expect("enough");
        assert!(interval.low > 1.02, "{interval:?}");
        let ratio = found.ratio.expect("pairs");
        assert!((1.08..1.1).contains(&ratio), "{ratio}");
        // Twice and half cancel out.
        let balanced = change(Metric::EndToEnd, &[2.0, 0.5, 4.0, 0.25, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(balanced.ratio, Some(1.0));
    }

    /// sglang#8285: five runs of one command gave 1734 to 47592 ms, and one of them was the figure.
    #[test]
    fn five_runs_that_scatter_decide_nothing() {
        let runs = [1734.0, 47592.0, 9020.0, 21400.0, 3310.0];
        let ratios: Vec<f64> = runs
            .iter()
            .zip(runs.iter().rev())
            .map(|(after, before)| after / before)
            .collect();
        let found = change(Metric::Ttft, &ratios);
        assert_eq!(
            (found.interval, found.verdict),
            (None, LatencyVerdict::Inconclusive)
        );
        assert!(found.pairs_needed > found.pairs);
        // Nor do five that happen to agree.
        assert_eq!(change(Metric::Ttft, &[1.5; 5]).interval, None);
    }

    fn run(e2e_us: u64, error: Option<&str>) -> RunRecord {
        let transcript = Transcript {
            tokens: Vec::new(),
            token_at_us: vec![e2e_us / 2],
            text_ends: Vec::new(),
            pieces: Vec::new(),
            text: "the same".to_owned(),
            content: None,
            reasoning: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Stop,
            usage: Usage::default(),
            e2e_us,
            retries: Vec::new(),
            stream: None,
        };
        let exchange = Exchange {
            added: Vec::new(),
            transcript,
            tool_results: Vec::new(),
        };
        RunRecord {
            sampling: SamplingSettings::default().resolve().expect("valid"),
            conversation: Conversation {
                exchanges: vec![exchange],
            },
            judgement: Judgement::default(),
            reruns: Vec::new(),
            error: error.map(str::to_owned),
        }
    }

    /// guidellm#444: requests that failed stood in the averages, where they look fast.
    #[test]
    fn a_run_that_broke_off_has_no_time() {
        let (good, slow) = (run(1_000, None), run(2_000, None));
        let broken = run(10, Some("the line broke"));
        assert!(comparable(&good, &slow));
        assert!(!comparable(&good, &broken));
        assert!(!comparable(&broken, &good));
    }
}
