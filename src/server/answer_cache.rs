//! Answers that are given again: only those that would come out the same.
//!
//! The key is the whole request as the model gets it, so whatever can change the answer is part of
//! it; the model itself is the same as long as the server runs. Only complete answers are kept,
//! and only of requests that say which numbers are drawn: greedy ones, and those with a seed.
//! Events are kept as they were; their times are those of the new answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use lru::LruCache;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::generation::{Event, EventKind, GenerateRequest};
use crate::target::EventStream;

/// No answer takes more than this part of the room.
const MOST_OF_ROOM: usize = 4;

type Key = [u8; 32];

/// Complete answers, up to some bytes; the one that was not asked for the longest goes first.
pub(super) struct AnswerCache {
    most_bytes: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    answers: LruCache<Key, Arc<Answer>>,
    bytes: usize,
}

struct Answer {
    events: Vec<EventKind>,
    bytes: usize,
}

impl AnswerCache {
    /// Room for so many bytes of answers; with 0 nothing is kept.
    pub(super) fn new(most_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            most_bytes,
            kept: Mutex::new(Kept {
                answers: LruCache::unbounded(),
                bytes: 0,
            }),
        })
    }

    /// The answer to a request that was answered before.
    pub(super) fn find(&self, request: &GenerateRequest) -> Option<EventStream> {
        if self.most_bytes == 0 {
            return None;
        }
        let answer = Arc::clone(self.kept().answers.get(&key(request)?)?);
        let start = Instant::now();
        let event = move |kind: EventKind| {
            Ok(Event {
                at: start.elapsed(),
                kind,
            })
        };
        let events = (0..answer.events.len()).filter_map(move |at| answer.events.get(at).cloned());
        Some(stream::iter(events.map(event)).boxed())
    }

    /// Passes on the events of an answer, and keeps them if it becomes complete.
    pub(super) fn record(
        self: &Arc<Self>,
        request: &GenerateRequest,
        events: EventStream,
    ) -> EventStream {
        let Some(key) = key(request).filter(|_| self.most_bytes > 0) else {
            return events;
        };
        let mut recording = Some(Answer {
            events: Vec::new(),
            bytes: size_of::<Key>(),
        });
        let cache = Arc::clone(self);
        events
            .inspect(move |event| {
                // An answer that failed or is too large is let go, and not looked at again.
                let Some(mut answer) = recording.take() else {
                    return;
                };
                let Ok(event) = event else { return };
                answer.bytes += bytes(&event.kind);
                answer.events.push(event.kind.clone());
                if answer.bytes > cache.most_bytes / MOST_OF_ROOM {
                    return;
                }
                match &event.kind {
                    EventKind::Finished { .. } => cache.keep(key, answer),
                    _ => recording = Some(answer),
                }
            })
            .boxed()
    }

    fn keep(&self, key: Key, answer: Answer) {
        let mut kept = self.kept();
        kept.bytes += answer.bytes;
        if let Some(before) = kept.answers.put(key, Arc::new(answer)) {
            kept.bytes -= before.bytes;
        }
        while kept.bytes > self.most_bytes {
            let Some((_, oldest)) = kept.answers.pop_lru() else {
                return;
            };
            kept.bytes -= oldest.bytes;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` for a request that cannot be written down, which does not happen.
fn key(request: &GenerateRequest) -> Option<Key> {
    let written = serde_json::to_vec(request).ok()?;
    Some(Sha256::digest(written).into())
}

/// What an event takes, about.
fn bytes(kind: &EventKind) -> usize {
    let own = match kind {
        EventKind::Started { .. } => 0,
        EventKind::Delta { token, text } => text.len() + size_of_val(token.top.as_slice()),
        EventKind::Said { text, .. } => text.len(),
        EventKind::Text(piece) => piece.text.len(),
        EventKind::ToolCall(call) => {
            call.name.len() + Value::Object(call.arguments.clone()).to_string().len()
        }
        EventKind::Retried(_) | EventKind::Streamed(_) => 0,
        EventKind::Finished {
            text,
            content,
            reasoning,
            ..
        } => {
            let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            text.len() + length(content) + length(reasoning)
        }
    };
    size_of::<EventKind>() + own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::{FinishReason, Prompt, SamplingSettings, Token, Usage};

    fn request(text: &str, penalty: f64) -> GenerateRequest {
        let settings = SamplingSettings {
            repetition_penalty: Some(penalty),
            ..Default::default()
        };
        GenerateRequest {
            prompt: Prompt::Text {
                text: text.to_owned(),
            },
            sampling: settings.resolve().expect("valid"),
            top_logprobs: 0,
            constraint: None,
        }
    }

    fn answer(word: &str, complete: bool) -> Vec<EventKind> {
        let mut events = vec![
            EventKind::Started { input_tokens: 1 },
            EventKind::Delta {
                token: Token {
                    id: 7,
                    logprob: -0.5,
                    margin: 1.0,
                    top: vec![],
                },
                text: word.to_owned(),
            },
        ];
        if complete {
            events.push(EventKind::Finished {
                reason: FinishReason::Stop,
                text: String::new(),
                content: None,
                reasoning: None,
                usage: Usage::default(),
            });
        }
        events
    }

    fn play(events: EventStream) -> Vec<EventKind> {
        let events = futures_util::FutureExt::now_or_never(events.collect::<Vec<_>>());
        let events = events.expect("ready").into_iter();
        events.map(|event| event.expect("no error").kind).collect()
    }

    fn give(cache: &Arc<AnswerCache>, request: &GenerateRequest, answer: Vec<EventKind>) {
        let event = |kind| {
            Ok(Event {
                at: std::time::Duration::ZERO,
                kind,
            })
        };
        let events = stream::iter(answer.into_iter().map(event)).boxed();
        play(cache.record(request, events));
    }

    #[test]
    fn a_complete_answer_comes_again_for_the_same_request_only() {
        let cache = AnswerCache::new(1 << 20);
        give(&cache, &request("a", 1.05), answer("x", true));
        give(&cache, &request("b", 1.05), answer("y", false));
        let found = cache.find(&request("a", 1.05)).expect("kept");
        assert_eq!(play(found), answer("x", true));
        assert!(cache.find(&request("a", 1.06)).is_none(), "another penalty");
        assert!(cache.find(&request("b", 1.05)).is_none(), "not complete");
    }

    #[test]
    fn the_room_is_kept_and_the_oldest_go() {
        let cache = AnswerCache::new(8_000);
        for number in 0..50 {
            give(
                &cache,
                &request(&number.to_string(), 1.05),
                answer("x", true),
            );
            // Asked for again and again, so never the oldest.
            assert!(cache.find(&request("0", 1.05)).is_some(), "{number}");
        }
        assert!(cache.find(&request("1", 1.05)).is_none());
        assert!(cache.find(&request("49", 1.05)).is_some());
        let kept = cache.kept();
        let bytes: usize = kept.answers.iter().map(|(_, answer)| answer.bytes).sum();
        assert_eq!(kept.bytes, bytes);
        assert!(bytes <= 8_000 && bytes > 4_000, "{bytes}");
        drop(kept);
        give(
            &cache,
            &request("long", 1.05),
            answer(&"x".repeat(4_000), true),
        );
        assert!(cache.find(&request("long", 1.05)).is_none(), "too large");
    }
}
