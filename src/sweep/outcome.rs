//! What became of one run: whether and when it looped, how it ended, and what it was good for.
//!
//! It reads records. It does not know which setting a run had, or which other runs there are.

use serde::{Deserialize, Serialize};

use crate::assertion::LoopEvidence;
use crate::generation::FinishReason;
use crate::loops::LoopKind;
use crate::record::CaseRecord;
use crate::statistics::Observation;

/// A loop, in tokens of the whole conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looped {
    /// The first token of the first copy.
    pub onset: usize,
    /// The length of the repeated block.
    pub period: usize,
    /// Tokens after the first copy that the repetition took.
    pub wasted: usize,
}

/// What became of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Generated tokens of all generations.
    pub tokens: usize,
    /// Whether the model ended the last of them by itself.
    pub ended: bool,
    /// Whether it was ended because it repeated itself, so that it might have been longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The first confirmed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looped: Option<Looped>,
    /// What else repeated at the end without being a confirmed loop: near-duplicates, counters
    /// and the like, which penalties turn loops into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub displaced: Option<LoopKind>,
    /// Whether every assertion but those on loops held; `None` if there are no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<bool>,
}

impl Outcome {
    /// The outcome of a recorded case; `None` if its target could not answer.
    #[must_use]
    pub fn of(case: &CaseRecord) -> Option<Self> {
        if case.run.error.is_some() {
            return None;
        }
        let exchanges = &case.run.conversation.exchanges;
        let (mut tokens, mut looped, mut displaced) = (0, None, None);
        for (index, exchange) in exchanges.iter().enumerate() {
            let mut loops = case.run.judgement.loops.iter();
            if let Some(LoopEvidence { verdict, .. }) = loops.find(|one| one.exchange == index) {
                if verdict.state.is_confirmed() {
                    looped.get_or_insert(Looped {
                        onset: verdict.onset + tokens,
                        period: verdict.period,
                        wasted: verdict.wasted_tokens,
                    });
                } else if verdict.state.is_running() {
                    displaced = Some(verdict.kind);
                }
            }
            tokens += exchange.transcript.output_tokens();
        }
        let checks = case.run.judgement.checks.iter();
        let others: Vec<bool> = checks
            .filter(|check| !check.kind.ends_with("loop"))
            .map(|check| !check.failed())
            .collect();
        let last = exchanges.last().map(|last| last.transcript.finish_reason);
        Some(Self {
            tokens,
            ended: !matches!(
                last,
                None | Some(
                    FinishReason::Length | FinishReason::Repetition | FinishReason::Cancelled
                )
            ),
            stopped: last == Some(FinishReason::Repetition),
            displaced: displaced.filter(|_| looped.is_none()),
            looped,
            good: (!others.is_empty()).then(|| others.iter().all(|held| *held)),
        })
    }

    /// How long it was watched for a loop: until it began, the answer ended, or `max_tokens` cut
    /// it off.
    #[must_use]
    pub fn observation(&self) -> Observation {
        match self.looped {
            Some(looped) => Observation {
                time: looped.onset,
                event: true,
            },
            None => Observation {
                time: self.tokens,
                event: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_an_event_and_an_end_is_not() {
        let outcome = Outcome {
            tokens: 300,
            ended: false,
            stopped: false,
            looped: Some(Looped {
                onset: 40,
                period: 9,
                wasted: 200,
            }),
            displaced: None,
            good: None,
        };
        let seen = outcome.observation();
        assert_eq!((seen.time, seen.event), (40, true));
        let healthy = Outcome {
            looped: None,
            ..outcome
        };
        let seen = healthy.observation();
        assert_eq!((seen.time, seen.event), (300, false));
    }
}
