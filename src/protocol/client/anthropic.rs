//! Answers in Anthropic's form, streamed and whole.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::reply::{Asked, Reply, ReplyError, parse, server_error};
use super::{ReadStream, SseEvent};
use crate::generation::{Channel, EventKind, FinishReason, Usage};
use crate::protocol::Loopwatch;

/// A whole message, or the head of a streamed one.
#[derive(Debug, Deserialize)]
struct Message {
    error: Option<Value>,
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    #[serde(default)]
    usage: WireUsage,
    loopwatch: Option<Loopwatch>,
}

/// One block of a message.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    /// Thoughts that only the server can read, and what is yet to come.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(other)]
    Other,
}

/// Counts; those of the prompt's cached tokens are not in `input_tokens`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct WireUsage {
    input_tokens: Option<usize>,
    output_tokens: Option<usize>,
    cache_read_input_tokens: Option<usize>,
    cache_creation_input_tokens: Option<usize>,
}

impl WireUsage {
    /// Later counts are those of the whole message; what they leave out stays.
    fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        let read = later.cache_read_input_tokens;
        self.cache_read_input_tokens = read.or(self.cache_read_input_tokens);
        let made = later.cache_creation_input_tokens;
        self.cache_creation_input_tokens = made.or(self.cache_creation_input_tokens);
    }

    fn lower(self) -> Option<Usage> {
        let read = self.cache_read_input_tokens.unwrap_or(0);
        let made = self.cache_creation_input_tokens.unwrap_or(0);
        Some(Usage {
            input_tokens: self.input_tokens? + read + made,
            cached_tokens: read,
            output_tokens: self.output_tokens?,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Box<Message>,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block,
    },
    ContentBlockDelta {
        index: usize,
        delta: Delta,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: MessageDelta,
        #[serde(default)]
        usage: WireUsage,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// Pings, and what is yet to come.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

/// The extension's event, alone or in an object of its own.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Told {
    Wrapped { loopwatch: Loopwatch },
    Bare(Loopwatch),
}

/// Whether a block of a stream is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

/// A stream of events.
#[derive(Debug)]
pub(super) struct Stream {
    reply: Reply,
    usage: WireUsage,
    blocks: BTreeMap<usize, State>,
    started: bool,
    over: bool,
}

impl Stream {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            reply: Reply::new(asked),
            usage: WireUsage::default(),
            blocks: BTreeMap::new(),
            started: false,
            over: false,
        }
    }

    fn take(&mut self, event: Event) -> Result<Vec<EventKind>, ReplyError> {
        let order = |problem: &str| Err(ReplyError::Order(problem.to_owned()));
        match event {
            Event::Error { error } => Err(server_error(&error)),
            Event::Other => Ok(Vec::new()),
            Event::MessageStart { .. } if self.started => order("a second message_start"),
            Event::MessageStart { message } => {
                self.started = true;
                self.usage.update(message.usage);
                Ok(Vec::new())
            }
            _ if !self.started => order("message_start does not come first"),
            Event::ContentBlockStart {
                index,
                content_block,
            } => {
                if self.blocks.insert(index, State::Open).is_some() {
                    return order("a block is started twice");
                }
                Ok(block(&mut self.reply, index, content_block)?
                    .into_iter()
                    .collect())
            }
            Event::ContentBlockDelta { index, delta } => {
                if self.blocks.get(&index) != Some(&State::Open) {
                    return order("a delta of a block that is not open");
                }
                Ok(self.delta(index, delta)?.into_iter().collect())
            }
            Event::ContentBlockStop { index } => match self.blocks.insert(index, State::Closed) {
                Some(State::Open) => Ok(Vec::new()),
                _ => order("a block ends that is not open"),
            },
            Event::MessageDelta { delta, usage } => {
                self.usage.update(usage);
                if let Some(reason) = delta.stop_reason {
                    self.reply.finish = Some(finish_reason(reason)?);
                }
                Ok(Vec::new())
            }
            Event::MessageStop => {
                if self.blocks.values().any(|state| *state == State::Open) {
                    return order("the message ends with an open block");
                }
                self.over = true;
                self.reply.usage = self.usage.lower();
                self.reply.end()
            }
        }
    }

    fn delta(&mut self, index: usize, delta: Delta) -> Result<Option<EventKind>, ReplyError> {
        Ok(match delta {
            Delta::Text { text } => self.reply.text(Channel::Content, text, Vec::new()),
            Delta::Thinking { thinking } => {
                self.reply.text(Channel::Reasoning, thinking, Vec::new())
            }
            Delta::InputJson { partial_json } => {
                self.reply.call(index, None, None, partial_json)?
            }
            Delta::Other => None,
        })
    }
}

impl ReadStream for Stream {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<EventKind>, ReplyError> {
        if self.over {
            return Err(ReplyError::Order("an event after message_stop".to_owned()));
        }
        if event.name == "loopwatch" {
            return match parse("a loopwatch event", &event.data)? {
                Told::Wrapped { loopwatch } | Told::Bare(loopwatch) => self.reply.told(loopwatch),
            };
        }
        self.take(parse("an event", &event.data)?)
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn close(&mut self) -> Result<Option<Vec<EventKind>>, ReplyError> {
        let open = self.blocks.values().any(|state| *state == State::Open);
        if open || !self.reply.has_its_end() {
            return Ok(None);
        }
        self.reply.usage = self.usage.lower();
        self.reply.end().map(Some)
    }
}

pub(super) fn answer(asked: Asked, body: &str) -> Result<Vec<EventKind>, ReplyError> {
    let message: Message = parse("the answer", body)?;
    if let Some(error) = &message.error {
        return Err(server_error(error));
    }
    let mut reply = Reply::new(asked);
    let mut events = Vec::new();
    for (index, content) in message.content.into_iter().enumerate() {
        events.extend(block(&mut reply, index, content)?);
    }
    reply.usage = message.usage.lower();
    reply.finish = message.stop_reason.map(finish_reason).transpose()?;
    if let Some(told) = message.loopwatch {
        events.extend(reply.told(told)?);
    }
    events.extend(reply.end()?);
    Ok(events)
}

/// A block as it begins, or as it is.
fn block(reply: &mut Reply, index: usize, block: Block) -> Result<Option<EventKind>, ReplyError> {
    Ok(match block {
        Block::Text { text } => reply.text(Channel::Content, text, Vec::new()),
        Block::Thinking { thinking } => reply.text(Channel::Reasoning, thinking, Vec::new()),
        Block::ToolUse { id, name, input } => {
            // Streams begin with an empty object and bring the arguments in fragments.
            let empty = input.as_object().is_none_or(serde_json::Map::is_empty);
            let arguments = if empty {
                String::new()
            } else {
                input.to_string()
            };
            reply.call(index, Some(id), Some(name), arguments)?
        }
        Block::Other => None,
    })
}

fn finish_reason(reason: String) -> Result<FinishReason, ReplyError> {
    match reason.as_str() {
        "end_turn" => Ok(FinishReason::Stop),
        "stop_sequence" => Ok(FinishReason::StopSequence),
        "max_tokens" => Ok(FinishReason::Length),
        "tool_use" => Ok(FinishReason::ToolCalls),
        _ => Err(ReplyError::Finish(reason)),
    }
}
