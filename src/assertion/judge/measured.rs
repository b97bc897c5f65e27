//! Rules about what was measured: tokens, times, likelihood.

use std::time::Duration;

use super::part::Part;
use super::transcripts;
use crate::assertion::Likelihood;
use crate::assertion::finding::{Finding, found};
use crate::assertion::message::{count, time};
use crate::generation::{Conversation, Transcript};
use crate::metrics::Timings;

/// How likely the last answer was to the model, end of sequence included.
pub(super) fn likely(conversation: &Conversation, bound: Likelihood) -> Finding {
    let Some(last) = transcripts(conversation).last() else {
        return found(false, "nothing was generated");
    };
    let logprobs = last.logprobs();
    let sum: f64 = logprobs.iter().map(|logprob| f64::from(*logprob)).sum();
    let perplexity = (-sum / logprobs.len().max(1) as f64).exp();
    match bound {
        Likelihood::Perplexity(most) => {
            let over = count(logprobs.len(), "token");
            found(
                perplexity <= most,
                format!("the perplexity is {perplexity:.4} over {over}"),
            )
        }
        Likelihood::Score(least) => {
            let score = 1.0 / (1.0 + perplexity);
            Finding {
                score,
                ..found(score >= least, format!("the score is {score:.4}"))
            }
        }
    }
}

pub(super) fn tokens_used(conversation: &Conversation, limit: usize) -> Finding {
    let used = conversation.output_tokens();
    found(
        used <= limit,
        format!(
            "{} used in {}, at most {limit} allowed",
            count(used, "token"),
            count(conversation.exchanges.len(), "generation")
        ),
    )
}

/// Judges the slowest generation. One that never got there is slower than all others.
pub(super) fn within(
    part: &Part<'_>,
    limit: Duration,
    (event, said): (&str, &str),
    measure: impl Fn(&Transcript) -> Option<u64>,
) -> Finding {
    let mut worst: Option<(usize, u64)> = None;
    for (index, transcript) in transcripts(&part.conversation).enumerate() {
        let Some(micros) = measure(transcript) else {
            return found(
                false,
                format!("generation {} has no {event}", part.before + index + 1),
            );
        };
        if worst.is_none_or(|(_, slowest)| micros > slowest) {
            worst = Some((index, micros));
        }
    }
    let Some((index, micros)) = worst else {
        return found(false, "nothing was generated");
    };
    found(
        Duration::from_micros(micros) <= limit,
        format!(
            "{said} {}, limit {limit:?} (generation {} of {}, the slowest)",
            time(micros),
            part.before + index + 1,
            part.before + part.conversation.exchanges.len()
        ),
    )
}

/// Microseconds between tokens, on average; 0 where there is one token, and nothing where their times
/// are not known.
pub(super) fn between_tokens(transcript: &Transcript) -> Option<u64> {
    let gaps = Timings::of(transcript).gaps_us;
    match gaps.len() as u64 {
        0 => (transcript.token_at_us.len() == 1).then_some(0),
        many => Some(gaps.iter().sum::<u64>() / many),
    }
}

/// The longest pause between two arrivals in microseconds; 0 where there is one token, and nothing
/// where all came at once.
pub(super) fn longest_pause(transcript: &Transcript) -> Option<u64> {
    let timings = Timings::of(transcript);
    let alone = transcript.token_at_us.len() == 1;
    timings.stall_us().or(alone.then_some(0))
}
