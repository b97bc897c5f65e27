//! The experiment on paper: a generation, and a conversation of several, folded from events.
//!
//! Everything judged or reported is a function of these types.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Channel, Event, EventKind, FinishReason, Message, Retry, Role, StreamNotes, TextPiece, Token,
    ToolCall, Usage,
};

/// One generation from request to finish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// The generated tokens, the end-of-sequence token included.
    pub tokens: Vec<Token>,
    /// Microseconds from the request to each token, one entry per token.
    pub token_at_us: Vec<u64>,
    /// Bytes of `text` that were certain after each token, one entry per token.
    pub text_ends: Vec<usize>,
    /// Text that came without token ids, in order; then there are no `tokens`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<Piece>,
    /// The whole text, thoughts and tool calls included as the model wrote them. Of pieces, the
    /// content alone.
    pub text: String,
    /// What the assistant said apart from its thoughts and tool calls, where that differs from
    /// the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What it thought before it spoke, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The tool calls read from the text.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Token counts reported by the target.
    pub usage: Usage,
    /// Microseconds from the request to its last event.
    pub e2e_us: u64,
    /// How often the request was sent again before it was answered, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<Retry>,
    /// What was noticed about the stream, where a server's stream was read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamNotes>,
}

/// Text without token ids, and when it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Microseconds from the request to this piece.
    pub at_us: u64,
    /// The text.
    pub of: TextPiece,
}

/// A stream of events that is not a complete generation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TranscriptError {
    /// The stream ended before its finish event.
    #[error("the stream ended after {tokens} tokens without saying why")]
    Unfinished {
        /// Tokens, or pieces of text, seen until then.
        tokens: usize,
    },
    /// Something followed the finish event.
    #[error("an event followed the end of the generation")]
    AfterFinish,
}

impl Transcript {
    /// Folds the events of one generation, in order of time.
    ///
    /// # Errors
    /// If the stream has no finish event, or goes on after it.
    pub fn from_events(events: impl IntoIterator<Item = Event>) -> Result<Self, TranscriptError> {
        let mut tokens = Vec::new();
        let mut token_at_us = Vec::new();
        let mut text_ends = Vec::new();
        let mut text = String::new();
        let mut tool_calls = Vec::new();
        let mut content = None;
        let mut reasoning = None;
        let mut thought = String::new();
        let mut pieces = Vec::new();
        let mut retries = Vec::new();
        let mut stream = None;
        let mut finished: Option<(FinishReason, Usage, u64)> = None;
        for event in events {
            if finished.is_some() {
                return Err(TranscriptError::AfterFinish);
            }
            match event.kind {
                // What is said is told once more at the end.
                EventKind::Started { .. } | EventKind::Said { .. } => {}
                EventKind::Delta { token, text: delta } => {
                    tokens.push(token);
                    token_at_us.push(micros(event.at));
                    text.push_str(&delta);
                    text_ends.push(text.len());
                }
                EventKind::Text(piece) => {
                    match piece.channel {
                        Channel::Content => text.push_str(&piece.text),
                        Channel::Reasoning => thought.push_str(&piece.text),
                        Channel::ToolCall => {}
                    }
                    pieces.push(Piece {
                        at_us: micros(event.at),
                        of: piece,
                    });
                }
                EventKind::ToolCall(call) => tool_calls.push(call),
                EventKind::Retried(retry) => retries.push(retry),
                EventKind::Streamed(notes) => stream = Some(notes),
                EventKind::Finished {
                    reason,
                    text: rest,
                    content: said,
                    reasoning: thoughts,
                    usage,
                } => {
                    content = said;
                    reasoning = thoughts;
                    text.push_str(&rest);
                    finished = Some((reason, usage, micros(event.at)));
                }
            }
        }
        let (finish_reason, usage, e2e_us) = finished.ok_or(TranscriptError::Unfinished {
            tokens: tokens.len().max(pieces.len()),
        })?;
        Ok(Self {
            tokens,
            token_at_us,
            text_ends,
            pieces,
            text,
            content,
            reasoning: reasoning.or((!thought.is_empty()).then_some(thought)),
            tool_calls,
            finish_reason,
            usage,
            e2e_us,
            retries,
            stream,
        })
    }

    /// Whether the token ids of everything that was generated are known.
    #[must_use]
    pub fn has_token_ids(&self) -> bool {
        self.pieces.is_empty() && (!self.tokens.is_empty() || self.usage.output_tokens == 0)
    }

    /// The log-probability of each token, as far as the target gives them.
    #[must_use]
    pub fn logprobs(&self) -> Vec<f32> {
        let of_tokens = self.tokens.iter().map(|token| token.logprob);
        let of_pieces = self.pieces.iter().flat_map(|piece| &piece.of.logprobs);
        of_tokens.chain(of_pieces.copied()).collect()
    }

    /// Generated tokens: those that were seen, or as many as the target says.
    #[must_use]
    pub fn output_tokens(&self) -> usize {
        match self.tokens.len() {
            0 => self.usage.output_tokens,
            seen => seen,
        }
    }

    /// The answer as a message of the conversation.
    #[must_use]
    pub fn message(&self) -> Message {
        let content = self.content.as_ref().unwrap_or(&self.text);
        Message {
            tool_calls: self.tool_calls.clone(),
            reasoning_content: self.reasoning.clone(),
            ..Message::text(Role::Assistant, content)
        }
    }

    /// The ids of the generated tokens.
    #[must_use]
    pub fn token_ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }

    /// The bytes of `text` that the tokens `range` brought, empty where they brought none.
    #[must_use]
    pub fn text_range(&self, range: Range<usize>) -> Range<usize> {
        let end_of = |count: usize| match count.min(self.text_ends.len()).checked_sub(1) {
            Some(last) => self.text_ends.get(last).copied().unwrap_or(0),
            None => 0,
        };
        let start = end_of(range.start);
        start..end_of(range.end).max(start)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What a mock tool answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolResult {
    /// The call that was answered.
    pub call: ToolCall,
    /// The text given back to the model.
    pub content: String,
    /// Whether the mock answered with an error.
    pub is_error: bool,
}

/// One request and its answer inside a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Messages that this request added to the conversation: the user's turn, or tool results.
    pub added: Vec<Message>,
    /// The generation.
    pub transcript: Transcript,
    /// Answers of the mock tools to the calls of this generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_results: Vec<ToolResult>,
}

/// Everything that was said in one case, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
}

impl Conversation {
    /// The text of the last generation: what the user finally reads.
    #[must_use]
    pub fn answer(&self) -> &str {
        self.exchanges
            .last()
            .map_or("", |exchange| exchange.transcript.text.as_str())
    }

    /// The exchanges in which turn `number` of the user, from 1, was answered; nothing if it was not
    /// reached. A turn begins where the user speaks, and goes on while tools answer.
    #[must_use]
    pub fn turn(&self, number: usize) -> Option<Range<usize>> {
        let speaks =
            |exchange: &Exchange| exchange.added.iter().any(|said| said.role == Role::User);
        let exchanges = self.exchanges.iter().enumerate();
        let mut starts = exchanges.filter(|(_, one)| speaks(one)).map(|(at, _)| at);
        let start = starts.nth(number.checked_sub(1)?)?;
        Some(start..starts.next().unwrap_or(self.exchanges.len()))
    }

    /// All tool calls, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.exchanges
            .iter()
            .flat_map(|exchange| &exchange.transcript.tool_calls)
    }

    /// Tokens generated in all exchanges together.
    #[must_use]
    pub fn output_tokens(&self) -> usize {
        self.exchanges
            .iter()
            .map(|exchange| exchange.transcript.output_tokens())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(at_ms: u64, id: u32, text: &str) -> Event {
        Event {
            at: Duration::from_millis(at_ms),
            kind: EventKind::Delta {
                token: Token {
                    id,
                    logprob: -0.5,
                    margin: 1.0,
                    top: Vec::new(),
                },
                text: text.to_owned(),
            },
        }
    }

    fn finished(at_ms: u64) -> Event {
        Event {
            at: Duration::from_millis(at_ms),
            kind: EventKind::Finished {
                reason: FinishReason::Stop,
                text: "!".to_owned(),
                content: None,
                reasoning: None,
                usage: Usage {
                    input_tokens: 3,
                    cached_tokens: 0,
                    output_tokens: 3,
                },
            },
        }
    }

    #[test]
    fn text_is_attributed_to_the_token_that_made_it_certain() {
        let transcript = Transcript::from_events([
            delta(5, 7, "Hé"),
            delta(6, 8, ""),
            delta(7, 9, "llo"),
            finished(8),
        ])
        .expect("complete");
        assert_eq!(transcript.text, "Héllo!");
        assert_eq!(transcript.text_ends, [3, 3, 6]);
        assert_eq!(transcript.text_range(0..2), 0..3);
        assert_eq!(transcript.text_range(2..3), 3..6);
        assert_eq!(transcript.text_range(9..12), 6..6);
        assert_eq!(transcript.token_at_us, [5_000, 6_000, 7_000]);
        assert_eq!(transcript.e2e_us, 8_000);
    }

    #[test]
    fn a_stream_without_an_end_is_an_error_not_a_short_answer() {
        let error = Transcript::from_events([delta(1, 7, "a")]).expect_err("unfinished");
        assert_eq!(error, TranscriptError::Unfinished { tokens: 1 });
        let error = Transcript::from_events([finished(1), delta(2, 7, "a")]).expect_err("after");
        assert_eq!(error, TranscriptError::AfterFinish);
    }
}
