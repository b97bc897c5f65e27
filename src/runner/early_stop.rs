//! Ends a generation once its loop is confirmed, where that is asked for.
//!
//! It watches as verdicts do, so what it sees is what they find: the same loops with the same
//! onsets. Who drops the rest of the generation, and what becomes of the conversation, is not its
//! business.

use crate::generation::{Event, EventKind, SoFar};
use crate::loops::{Action, LoopState, Policy, Settings, Watch};

/// Sweeps count loops; whether one would have ended by itself is not asked.
const POLICY: Policy = Policy::Stop { grace: 0 };

/// One generation, watched from its first event.
#[derive(Default)]
pub(super) struct EarlyStop {
    watch: Option<Watch>,
    so_far: SoFar,
}

impl EarlyStop {
    /// Takes the next event, and returns the finish of the generation if it is to end behind it.
    pub(super) fn see(&mut self, event: &Event) -> Option<EventKind> {
        self.so_far.see(event);
        let mut confirmed = false;
        match &event.kind {
            EventKind::Delta { token, text } => {
                let watch = self
                    .watch
                    .get_or_insert_with(|| Watch::new(Settings::default()));
                let change = watch.push_token(token.id, text);
                confirmed = change.is_some_and(|change| change.state == LoopState::Confirmed);
            }
            EventKind::Text(piece) => {
                let watch = self
                    .watch
                    .get_or_insert_with(|| Watch::new(Settings::for_text()));
                watch.push_text(&piece.text, |change| {
                    confirmed |= change.state == LoopState::Confirmed;
                });
            }
            EventKind::Started { .. }
            | EventKind::Said { .. }
            | EventKind::ToolCall(_)
            | EventKind::Retried(_)
            | EventKind::Streamed(_)
            | EventKind::Finished { .. } => {}
        }
        let watch = self.watch.as_ref().filter(|_| confirmed)?;
        match POLICY.decide(&watch.verdict()?, watch.tokens()) {
            Action::Stop { .. } => Some(std::mem::take(&mut self.so_far).cut()),
            Action::Continue | Action::Annotate => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::generation::{
        Channel, Conversation, Exchange, FinishReason, TextPiece, Token, Transcript, Usage,
    };
    use crate::loops::text_units;

    /// A word for each id, so that the detectors that read text have some.
    fn word(id: u32) -> String {
        format!(
            " w{}",
            char::from(b'a' + (id % 26) as u8).to_string().repeat(3)
        )
    }

    fn token(id: u32) -> EventKind {
        let token = Token {
            id,
            logprob: -0.5,
            margin: 1.0,
            top: Vec::new(),
        };
        EventKind::Delta {
            token,
            text: word(id),
        }
    }

    fn piece(id: u32) -> EventKind {
        EventKind::Text(TextPiece {
            channel: Channel::Content,
            text: word(id),
            logprobs: Vec::new(),
        })
    }

    fn at(kind: EventKind) -> Event {
        Event {
            at: Duration::from_millis(1),
            kind,
        }
    }

    /// The events of a generation, ended where it is stopped or else by the model.
    fn events(kinds: impl Iterator<Item = EventKind>, stops: bool) -> Vec<Event> {
        let mut stop = EarlyStop::default();
        let mut events = vec![at(EventKind::Started { input_tokens: 1 })];
        for kind in kinds {
            events.push(at(kind));
            let last = events.len() - 1;
            if let Some(finish) = stop.see(&events[last]).filter(|_| stops) {
                events.push(at(finish));
                return events;
            }
        }
        events.push(at(EventKind::Finished {
            reason: FinishReason::Stop,
            text: String::new(),
            content: None,
            reasoning: None,
            usage: Usage::default(),
        }));
        events
    }

    /// Onset, period and place of confirmation of the loop that is found in a record of it, its
    /// tokens, and why it ended.
    fn judged(events: Vec<Event>) -> (Option<(usize, usize, usize)>, usize, FinishReason) {
        let transcript = Transcript::from_events(events).expect("complete");
        let (tokens, reason) = (transcript.output_tokens(), transcript.finish_reason);
        let conversation = Conversation {
            exchanges: vec![Exchange {
                added: Vec::new(),
                transcript,
                tool_results: Vec::new(),
            }],
        };
        let judgement = super::super::judging::judge_run(&conversation, None, &[], &[]);
        let verdict = judgement.loops.first().map(|found| &found.verdict);
        let confirmed = verdict.filter(|verdict| verdict.state.is_confirmed());
        let found = confirmed.map(|verdict| (verdict.onset, verdict.period, verdict.detected_at));
        (found, tokens, reason)
    }

    proptest! {
        #[test]
        fn stopping_changes_neither_which_generations_loop_nor_where_they_begin(
            before in prop::collection::vec(0..500_u32, 0..60),
            block in prop::collection::vec(0..500_u32, 1..40),
            copies in 1..16_usize,
            after in prop::collection::vec(0..500_u32, 0..30),
            again in 0..12_usize,
            known in any::<bool>(),
        ) {
            let mut ids = before;
            ids.extend(block.repeat(copies));
            ids.extend(&after);
            ids.extend(after.repeat(again));
            let kind = if known { token } else { piece };
            let (whole, all, _) = judged(events(ids.iter().map(|id| kind(*id)), false));
            let (found, tokens, reason) = judged(events(ids.iter().map(|id| kind(*id)), true));
            prop_assert_eq!(found, whole);
            let last = match known {
                true => ids.len(),
                // A word ends with the character behind it: of the last one nobody knows before
                // the generation has ended.
                false => text_units(&ids.iter().map(|id| word(*id)).collect::<String>()).len() - 1,
            };
            let in_time = whole.is_some_and(|(_, _, confirmed)| confirmed < last);
            prop_assert_eq!(reason == FinishReason::Repetition, in_time);
            if known {
                prop_assert!(tokens <= all);
            }
        }
    }

    #[test]
    fn a_loop_ends_where_it_is_confirmed() {
        let ids = || (0..600_u32).map(|at| token(at % 20));
        let (whole, all, _) = judged(events(ids(), false));
        let (found, tokens, reason) = judged(events(ids(), true));
        assert_eq!((whole, found), (found, Some((0, 20, tokens - 1))));
        assert_eq!((all, reason), (600, FinishReason::Repetition));
        assert!((40..400).contains(&tokens), "{tokens}");
    }
}
