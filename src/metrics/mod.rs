//! Turns the times of a transcript into the field's latency numbers.
//!
//! Pure arithmetic. A number that the transcript cannot support is `None`, never zero.

use crate::generation::Transcript;

/// Latency of one generation. Microseconds and tokens per second; the formulas are those of the
/// fields' documentation, because tools disagree about the names.
///
/// Times are those at which the reader got something: of an engine in this process, each token;
/// over HTTP, each chunk, which may hold many tokens or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Timings {
    /// Time to first token: the first token, or the first text of any kind (answer, reasoning,
    /// arguments of a call), minus request. `None` if the whole answer came at once: then its
    /// first token is no news of when it was made.
    pub ttft_us: Option<u64>,
    /// Request to last event.
    pub e2e_us: u64,
    /// Time between consecutive tokens (ITL), one entry per gap, the time to the first token not
    /// among them. Empty where the tokens are not known, or came all at once.
    pub gaps_us: Vec<u64>,
    /// Time between consecutive arrivals (ICL), one entry per gap. Of tokens that come one by
    /// one, the same as `gaps_us`.
    pub arrival_gaps_us: Vec<u64>,
    /// `computed input tokens / ttft`.
    pub prefill_tps: Option<f64>,
    /// `tokens after the first arrival / (last arrival - first arrival)`. A first chunk of one
    /// token makes that `(output tokens - 1) / (last token - first token)`; where nobody knows
    /// how many tokens it held, one is assumed.
    pub decode_tps: Option<f64>,
}

impl Timings {
    /// The timings of one generation.
    #[must_use]
    pub fn of(transcript: &Transcript) -> Self {
        let arrivals = Arrivals::of(transcript);
        let (Some(first), Some(last)) = (arrivals.at_us.first(), arrivals.at_us.last()) else {
            return Self::unknown(transcript.e2e_us);
        };
        let buffered = first == last && *last == transcript.e2e_us && arrivals.tokens > 1;
        if buffered {
            return Self::unknown(transcript.e2e_us);
        }
        Self {
            ttft_us: Some(*first),
            e2e_us: transcript.e2e_us,
            gaps_us: gaps(&transcript.token_at_us),
            arrival_gaps_us: gaps(&arrivals.at_us),
            prefill_tps: rate(transcript.usage.computed_tokens(), *first),
            decode_tps: rate(
                arrivals.tokens.saturating_sub(arrivals.first_tokens),
                last.saturating_sub(*first),
            ),
        }
    }

    fn unknown(e2e_us: u64) -> Self {
        Self {
            ttft_us: None,
            e2e_us,
            gaps_us: Vec::new(),
            arrival_gaps_us: Vec::new(),
            prefill_tps: None,
            decode_tps: None,
        }
    }

    /// The longest time between two arrivals.
    #[must_use]
    pub fn stall_us(&self) -> Option<u64> {
        self.arrival_gaps_us.iter().max().copied()
    }
}

/// When something came, and how much.
struct Arrivals {
    /// Different times, in order.
    at_us: Vec<u64>,
    /// Tokens of the first, at least 1.
    first_tokens: usize,
    /// Tokens of all.
    tokens: usize,
}

impl Arrivals {
    fn of(transcript: &Transcript) -> Self {
        let tokens = transcript.token_at_us.iter().map(|at| (*at, 1));
        let pieces = transcript.pieces.iter();
        let pieces = pieces.map(|piece| (piece.at_us, piece.of.logprobs.len()));
        let mut at_us: Vec<u64> = Vec::new();
        let mut first_tokens = 0;
        for (at, tokens) in tokens.chain(pieces) {
            if at_us.last() != Some(&at) {
                at_us.push(at);
            }
            if at_us.len() == 1 {
                first_tokens += tokens;
            }
        }
        Self {
            at_us,
            first_tokens: first_tokens.max(1),
            tokens: match transcript.token_at_us.len() {
                0 => transcript.usage.output_tokens,
                seen => seen,
            },
        }
    }
}

fn gaps(at_us: &[u64]) -> Vec<u64> {
    let pairs = at_us.iter().zip(at_us.iter().skip(1));
    pairs
        .map(|(earlier, later)| later.saturating_sub(*earlier))
        .collect()
}

/// Events per second; `None` if nothing happened or no time passed.
fn rate(count: usize, us: u64) -> Option<f64> {
    (count > 0 && us > 0).then(|| count as f64 * 1e6 / us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{Channel, FinishReason, Piece, TextPiece, Usage};

    fn transcript(token_at_us: &[u64]) -> Transcript {
        Transcript {
            tokens: Vec::new(),
            token_at_us: token_at_us.to_vec(),
            text_ends: Vec::new(),
            pieces: Vec::new(),
            text: String::new(),
            content: None,
            reasoning: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Stop,
            usage: Usage {
                input_tokens: 10,
                cached_tokens: 0,
                output_tokens: token_at_us.len(),
            },
            e2e_us: 9_000,
            retries: Vec::new(),
            stream: None,
        }
    }

    /// Text without token ids: when, where it belongs, and how many log-probabilities came along.
    fn pieces(output_tokens: usize, pieces: &[(u64, Channel, usize)]) -> Transcript {
        let piece = |(at_us, channel, logprobs): &(u64, Channel, usize)| Piece {
            at_us: *at_us,
            of: TextPiece {
                channel: *channel,
                text: "a b".to_owned(),
                logprobs: vec![-1.0; *logprobs],
            },
        };
        let mut transcript = transcript(&[]);
        transcript.usage.output_tokens = output_tokens;
        transcript.pieces = pieces.iter().map(piece).collect();
        transcript
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

    // The definitional bugs of other tools, each with the place where it was found.

    #[test]
    fn the_time_to_the_first_token_is_no_gap() {
        // vLLM#7242: it was appended to the inter-token latencies.
        let timings = Timings::of(&transcript(&[8_000, 8_500, 8_900]));
        assert_eq!(timings.gaps_us, [500, 400]);
        assert_eq!(timings.gaps_us.len(), 3 - 1);
    }

    #[test]
    fn a_chunk_is_not_a_token() {
        // vLLM#27485 and llmperf PR 99: chunks were counted as tokens, wrong as soon as a parser or
        // speculative decoding joins tokens. Here three chunks bring nine tokens.
        let of = pieces(
            9,
            &[
                (1_000, Channel::Content, 0),
                (2_000, Channel::Content, 0),
                (5_000, Channel::Content, 0),
            ],
        );
        let timings = Timings::of(&of);
        assert!(
            timings.gaps_us.is_empty(),
            "nobody knows the gaps of tokens"
        );
        assert_eq!(timings.arrival_gaps_us, [1_000, 3_000]);
        assert_eq!(timings.decode_tps, Some(8.0 * 1e6 / 4_000.0));
    }

    #[test]
    fn tokens_of_the_first_chunk_are_not_decoded_after_it() {
        // AIPerf calls it first-chunk-aware: four of six tokens were there at the start.
        let known = Timings::of(&transcript(&[1_000, 1_000, 1_000, 1_000, 2_000, 3_000]));
        assert_eq!(known.decode_tps, Some(2.0 * 1e6 / 2_000.0));
        let counted = pieces(
            6,
            &[
                (1_000, Channel::Content, 4),
                (2_000, Channel::Content, 1),
                (3_000, Channel::Content, 1),
            ],
        );
        assert_eq!(Timings::of(&counted).decode_tps, known.decode_tps);
    }

    #[test]
    fn latency_between_tokens_is_not_time_per_token() {
        // vLLM#6531: the mean over gaps and the rate over tokens were taken for each other. With
        // merged tokens their values part: two arrivals after the first bring four tokens.
        let timings = Timings::of(&transcript(&[1_000, 3_000, 3_000, 5_000, 5_000]));
        assert_eq!(timings.gaps_us, [2_000, 0, 2_000, 0]);
        assert_eq!(timings.arrival_gaps_us, [2_000, 2_000]);
        assert_eq!(timings.decode_tps, Some(4.0 * 1e6 / 4_000.0));
    }

    #[test]
    fn reasoning_and_calls_are_tokens_too() {
        // sglang PR 12064: only the answer's text was seen, so the first token came too late.
        for channel in [Channel::Reasoning, Channel::ToolCall] {
            let of = pieces(5, &[(1_000, channel, 0), (7_000, Channel::Content, 0)]);
            assert_eq!(Timings::of(&of).ttft_us, Some(1_000), "{channel:?}");
        }
    }

    #[test]
    fn what_was_cached_is_not_prefilled() {
        // macprovider#901: a cold and a warm first token, 9601 and 497 ms, made one figure.
        let mut warm = transcript(&[1_000, 2_000]);
        warm.usage.cached_tokens = 9;
        assert_eq!(Timings::of(&warm).prefill_tps, Some(1_000.0));
        warm.usage.cached_tokens = 10;
        assert_eq!(Timings::of(&warm).prefill_tps, None);
    }

    #[test]
    fn an_answer_that_came_at_once_has_no_first_token() {
        // maclocal-api#257: an answer was timed when it had been buffered to its end.
        let whole = Timings::of(&transcript(&[9_000, 9_000, 9_000]));
        assert_eq!(whole.ttft_us, None);
        assert!(whole.gaps_us.is_empty());
        assert_eq!(whole.decode_tps, None);
        assert_eq!(whole.e2e_us, 9_000);
        let text = Timings::of(&pieces(3, &[(9_000, Channel::Content, 0)]));
        assert_eq!(text.ttft_us, None);
        // A single token is its own end.
        assert_eq!(Timings::of(&transcript(&[9_000])).ttft_us, Some(9_000));
    }
}
