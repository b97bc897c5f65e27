//! An answer as it grows, whichever API brings it: text, calls, token counts, the end.
//!
//! With the tokens that a loopwatch server tells, the answer is made of those, and the API's own
//! fields only have to agree about what is left. Without, it is made of the API's text.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::generation::{
    Channel, EventKind, FinishReason, GenerateRequest, TextPiece, Token, ToolCall, Usage,
};
use crate::protocol::Loopwatch;

/// Characters of a bad document that an error shows.
const EXCERPT: usize = 120;
/// Most tool calls of one answer.
const MOST_CALLS: usize = 256;

/// An answer that is not what its API promises, or that says the server failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A document that cannot be read.
    #[error("{what} is malformed: {problem}: {excerpt}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// What is wrong, with its place.
        problem: String,
        /// Its beginning.
        excerpt: String,
    },
    /// The server says that it failed.
    #[error("the server reports an error: {0}")]
    Server(String),
    /// Events in an order that the API does not have.
    #[error("the stream is out of order: {0}")]
    Order(String),
    /// The answer does not say why it ended.
    #[error("the answer ended without a finish reason")]
    NoFinish,
    /// It ended for a reason that has no name here.
    #[error("the answer ended with the finish reason '{0}', which is no end of a generation")]
    Finish(String),
    /// Token counts that cannot be true.
    #[error("the token counts are wrong: {0}")]
    Usage(String),
    /// The tokens were asked for and did not come.
    #[error("the server was asked for token ids (return_tokens) and gave none")]
    NoTokens,
}

/// Reads a document from text.
pub(super) fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, ReplyError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer);
    let mut complete = |value| deserializer.end().map(|()| value);
    let malformed = |problem: String| ReplyError::Malformed {
        what,
        problem,
        excerpt: text.chars().take(EXCERPT).collect(),
    };
    match value {
        Ok(value) => complete(value).map_err(|error| malformed(error.to_string())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// What an `error` object says, in whatever form.
pub(super) fn server_error(error: &Value) -> ReplyError {
    let message = error.get("message").and_then(Value::as_str);
    let text = message.or_else(|| error.as_str());
    let text = text.map_or_else(|| error.to_string(), str::to_owned);
    ReplyError::Server(text.chars().take(2 * EXCERPT).collect())
}

/// What was asked, as far as an answer must keep to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Whether the tokens were asked for.
    pub tokens: bool,
    /// Most tokens.
    pub max_tokens: usize,
}

impl Asked {
    pub(super) fn of(request: &GenerateRequest, tokens: bool) -> Self {
        Self {
            tokens,
            max_tokens: request.sampling.max_tokens,
        }
    }
}

/// A tool call whose arguments come in fragments.
#[derive(Debug, Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

/// The answer so far.
#[derive(Debug)]
pub(super) struct Reply {
    asked: Asked,
    pub(super) usage: Option<Usage>,
    pub(super) finish: Option<FinishReason>,
    calls: BTreeMap<usize, Call>,
    /// Whether there was text of any kind.
    said: bool,
    /// Tokens told.
    tokens: usize,
    /// Whether the end was told.
    told: bool,
}

impl Reply {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            asked,
            usage: None,
            finish: None,
            calls: BTreeMap::new(),
            said: false,
            tokens: 0,
            told: false,
        }
    }

    /// More text. An empty one, such as a first chunk that only names the role, is no news.
    pub(super) fn text(
        &mut self,
        channel: Channel,
        text: String,
        logprobs: Vec<f32>,
    ) -> Option<EventKind> {
        if text.is_empty() {
            return None;
        }
        self.said = true;
        match (self.asked.tokens, channel) {
            (false, _) => Some(EventKind::Text(TextPiece {
                channel,
                text,
                logprobs,
            })),
            // Calls are told whole.
            (true, Channel::ToolCall) => None,
            (true, _) => Some(EventKind::Said { channel, text }),
        }
    }

    /// More of a tool call: its name, or a fragment of its arguments.
    pub(super) fn call(
        &mut self,
        index: usize,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
    ) -> Result<Option<EventKind>, ReplyError> {
        if self.calls.len() >= MOST_CALLS && !self.calls.contains_key(&index) {
            return Err(ReplyError::Order(format!("more than {MOST_CALLS} calls")));
        }
        let call = self.calls.entry(index).or_default();
        call.id = call.id.take().or(id.filter(|id| !id.is_empty()));
        call.name.push_str(&name.clone().unwrap_or_default());
        call.arguments.push_str(&arguments);
        let text = name.unwrap_or_default() + &arguments;
        Ok(self.text(Channel::ToolCall, text, Vec::new()))
    }

    /// What a loopwatch server tells beside its API.
    pub(super) fn told(&mut self, told: Loopwatch) -> Result<Vec<EventKind>, ReplyError> {
        if !self.asked.tokens {
            return Ok(Vec::new());
        }
        if self.told {
            return Err(ReplyError::Order("tokens after the end".to_owned()));
        }
        let mut events = Vec::new();
        if let Some(started) = told.started {
            events.push(EventKind::Started {
                input_tokens: started.input_tokens,
            });
        }
        self.tokens += told.tokens.len();
        for told in told.tokens {
            events.push(EventKind::Delta {
                token: Token {
                    id: told.id,
                    logprob: told.logprob,
                    margin: told.margin,
                    top: told.top,
                },
                text: told.text,
            });
        }
        let calls = told.tool_call.into_iter().chain(told.tool_calls);
        events.extend(calls.map(EventKind::ToolCall));
        if let Some(finish) = told.finish {
            self.told = true;
            if finish.usage.output_tokens != self.tokens {
                return Err(ReplyError::Usage(format!(
                    "{} tokens came and {} are counted",
                    self.tokens, finish.usage.output_tokens
                )));
            }
            events.push(EventKind::Finished {
                reason: finish.reason,
                text: finish.text,
                content: finish.content,
                reasoning: finish.reasoning,
                usage: finish.usage,
            });
        }
        Ok(events)
    }

    /// Whether everything came that an answer needs, though nothing said that it was all.
    pub(super) fn has_its_end(&self) -> bool {
        self.finish.is_some() && (self.told || !self.asked.tokens)
    }

    /// The end of the answer.
    pub(super) fn end(&mut self) -> Result<Vec<EventKind>, ReplyError> {
        if self.asked.tokens {
            return match self.told {
                true => Ok(Vec::new()),
                false => Err(ReplyError::NoTokens),
            };
        }
        let reason = self.finish.ok_or(ReplyError::NoFinish)?;
        let usage = self.usage.unwrap_or_default();
        self.check(usage)?;
        let calls = std::mem::take(&mut self.calls);
        let mut events: Vec<EventKind> = calls
            .into_values()
            .filter_map(lower_call)
            .map(EventKind::ToolCall)
            .collect();
        events.push(EventKind::Finished {
            reason,
            text: String::new(),
            content: None,
            reasoning: None,
            usage,
        });
        Ok(events)
    }

    /// Counts that are given must be possible.
    fn check(&self, usage: Usage) -> Result<(), ReplyError> {
        let wrong = |problem: String| Err(ReplyError::Usage(problem));
        if self.usage.is_none() {
            return Ok(());
        }
        if usage.output_tokens > self.asked.max_tokens {
            return wrong(format!(
                "{} tokens are counted, and {} were the limit",
                usage.output_tokens, self.asked.max_tokens
            ));
        }
        if usage.output_tokens == 0 && self.said {
            return wrong("text came, and no token is counted".to_owned());
        }
        Ok(())
    }
}

/// A call whose arguments are no object is none: the model wrote it wrong, so an assertion that
/// wants it fails. Its text is kept in the pieces.
fn lower_call(call: Call) -> Option<ToolCall> {
    let arguments = match call.arguments.trim() {
        "" => serde_json::Map::new(),
        text => serde_json::from_str(text).ok()?,
    };
    Some(ToolCall {
        id: call.id,
        name: call.name,
        arguments,
    })
}
