//! The timing of a case's generations, one row each, and pooled for the overview.
//!
//! It knows which numbers are shown and how they are pooled; the formulas are those of
//! [`Timings`].

use serde::Serialize;

use super::numbers::{count, micros, rate};
use crate::generation::Conversation;
use crate::metrics::Timings;

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TimingRow {
    /// Which run and generation.
    pub(super) label: String,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) ttft: String,
    pub(super) prefill: String,
    pub(super) decode: String,
    pub(super) stall: String,
    pub(super) e2e: String,
    pub(super) finish: &'static str,
}

/// One row per generation of a conversation.
pub(super) fn rows(label: &str, conversation: &Conversation) -> Vec<TimingRow> {
    let exchanges = &conversation.exchanges;
    let row = |(index, exchange): (usize, &crate::generation::Exchange)| {
        let transcript = &exchange.transcript;
        let timings = Timings::of(transcript);
        TimingRow {
            label: match exchanges.len() {
                1 => label.to_owned(),
                _ => format!("{label}, generation {}", index + 1),
            },
            input: count(transcript.usage.input_tokens),
            output: count(transcript.tokens.len()),
            ttft: micros(timings.ttft_us),
            prefill: rate(timings.prefill_tps),
            decode: rate(timings.decode_tps),
            stall: micros(timings.stall_us()),
            e2e: micros(Some(timings.e2e_us)),
            finish: transcript.finish_reason.as_str(),
        }
    };
    exchanges.iter().enumerate().map(row).collect()
}

/// The longest time to first token of all generations, which is what a limit on it looks at.
pub(crate) fn slowest_ttft(conversation: &Conversation) -> Option<u64> {
    let exchanges = conversation.exchanges.iter();
    exchanges
        .filter_map(|exchange| Timings::of(&exchange.transcript).ttft_us)
        .max()
}

/// Tokens per second over the decoding of all generations together.
pub(crate) fn pooled_decode_tps(conversation: &Conversation) -> Option<f64> {
    let mut gaps = 0_usize;
    let mut us = 0_u64;
    for exchange in &conversation.exchanges {
        let timings = Timings::of(&exchange.transcript);
        gaps += timings.gaps_us.len();
        us = us.saturating_add(timings.gaps_us.iter().sum());
    }
    (gaps > 0 && us > 0).then(|| gaps as f64 * 1e6 / us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn generations_are_pooled_by_time_and_the_slowest_first_token_counts() {
        let conversation = fixture::timed(&[&[5_000, 6_000, 8_000], &[9_000, 10_000]]);
        assert_eq!(slowest_ttft(&conversation), Some(9_000));
        assert_eq!(pooled_decode_tps(&conversation), Some(3.0 * 1e6 / 4_000.0));
        let labels: Vec<String> = rows("run", &conversation)
            .into_iter()
            .map(|row| row.label)
            .collect();
        assert_eq!(labels, ["run, generation 1", "run, generation 2"]);
    }

    #[test]
    fn unknown_times_are_dashes() {
        let conversation = fixture::timed(&[&[5_000]]);
        assert_eq!(pooled_decode_tps(&conversation), None);
        let row = rows("run", &conversation).remove(0);
        assert_eq!((row.decode.as_str(), row.stall.as_str()), ("–", "–"));
        assert_eq!(slowest_ttft(&Conversation::default()), None);
    }
}
