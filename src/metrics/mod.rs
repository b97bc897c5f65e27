//! Turns the times of a transcript into the field's latency numbers.
//!
//! Pure arithmetic. A number that the transcript cannot support is `None`, never zero.

use crate::generation::Transcript;

/// Latency of one generation. Microseconds and tokens per second; the formulas are those of the
/// fields' documentation, because tools disagree about the names.
#[derive(Debug, Clone, PartialEq)]
pub struct Timings {
    /// Time to first token: first token minus request.
    pub ttft_us: Option<u64>,
    /// Request to last event.
    pub e2e_us: u64,
    /// Time between consecutive tokens (ITL), one entry per gap.
    pub gaps_us: Vec<u64>,
    /// `input tokens / ttft`.
    pub prefill_tps: Option<f64>,
    /// `(output tokens - 1) / (last token - first token)`; needs two tokens.
    pub decode_tps: Option<f64>,
}

impl Timings {
    /// The timings of one generation.
    #[must_use]
    pub fn of(transcript: &Transcript) -> Self {
        let at = &transcript.token_at_us;
        let ttft_us = at.first().copied();
        let gaps_us: Vec<u64> = at
            .iter()
            .zip(at.iter().skip(1))
            .map(|(earlier, later)| later.saturating_sub(*earlier))
            .collect();
        let decode_us: u64 = gaps_us.iter().sum();
        Self {
            ttft_us,
            e2e_us: transcript.e2e_us,
            prefill_tps: ttft_us.and_then(|us| rate(transcript.usage.computed_tokens(), us)),
            decode_tps: rate(gaps_us.len(), decode_us),
            gaps_us,
        }
    }

    /// The longest time between two tokens.
    #[must_use]
    pub fn stall_us(&self) -> Option<u64> {
        self.gaps_us.iter().max().copied()
    }
}

/// Events per second; `None` if nothing happened or no time passed.
fn rate(count: usize, us: u64) -> Option<f64> {
    (count > 0 && us > 0).then(|| count as f64 * 1e6 / us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{FinishReason, Usage};

    fn transcript(token_at_us: &[u64]) -> Transcript {
        Transcript {
            tokens: Vec::new(),
            token_at_us: token_at_us.to_vec(),
            text_ends: Vec::new(),
            text: String::new(),
            content: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Stop,
            usage: Usage {
                input_tokens: 10,
                cached_tokens: 0,
                output_tokens: token_at_us.len(),
            },
            e2e_us: 9_000,
        }
    }

    #[test]
    fn decode_rate_excludes_the_first_token() {
        let timings = Timings::of(&transcript(&[5_000, 6_000, 8_000]));
        assert_eq!(timings.ttft_us, Some(5_000));
        assert_eq!(timings.gaps_us, [1_000, 2_000]);
        assert_eq!(timings.stall_us(), Some(2_000));
        assert_eq!(timings.prefill_tps, Some(2_000.0));
        assert_eq!(timings.decode_tps, Some(2.0 * 1e6 / 3_000.0));
    }

    #[test]
    fn unknown_is_none_not_zero() {
        let one = Timings::of(&transcript(&[5_000]));
        assert_eq!(one.decode_tps, None);
        assert_eq!(one.stall_us(), None);
        let none = Timings::of(&transcript(&[]));
        assert_eq!(none.ttft_us, None);
        assert_eq!(none.prefill_tps, None);
    }
}
