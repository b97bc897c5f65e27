//! Answers in OpenAI's form, streamed and whole.

use serde::Deserialize;
use serde_json::Value;

use super::reply::{Asked, Reply, ReplyError, parse, server_error};
use super::{ReadStream, SseEvent};
use crate::generation::{Channel, EventKind, FinishReason, Usage};
use crate::protocol::Loopwatch;

/// An answer, or a chunk of one. Fields that other servers add are no business of ours.
#[derive(Debug, Deserialize)]
struct Document {
    error: Option<Value>,
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
    loopwatch: Option<Loopwatch>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: usize,
    /// In chunks.
    delta: Option<Said>,
    /// In whole answers.
    message: Option<Said>,
    /// To a plain prompt.
    text: Option<String>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<String>,
    /// vLLM's: the stop string, or the stop token, that ended the answer.
    stop_reason: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Said {
    content: Option<String>,
    reasoning_content: Option<String>,
    /// The same as mlx-lm and others call it.
    reasoning: Option<String>,
    tool_calls: Option<Vec<WireCall>>,
}

#[derive(Debug, Deserialize)]
struct WireCall {
    index: Option<usize>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Logprobs {
    content: Option<Vec<TokenLogprob>>,
    token_logprobs: Option<Vec<Option<f32>>>,
}

#[derive(Debug, Deserialize)]
struct TokenLogprob {
    logprob: f32,
}

impl Logprobs {
    fn of_tokens(self) -> Vec<f32> {
        let chat = self
            .content
            .into_iter()
            .flatten()
            .map(|token| token.logprob);
        chat.chain(self.token_logprobs.into_iter().flatten().flatten())
            .collect()
    }
}

#[derive(Debug, Deserialize)]
struct WireUsage {
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
    prompt_tokens_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    cached_tokens: Option<usize>,
}

impl WireUsage {
    fn lower(&self) -> Usage {
        let details = self.prompt_tokens_details.as_ref();
        Usage {
            input_tokens: self.prompt_tokens,
            cached_tokens: details.and_then(|of| of.cached_tokens).unwrap_or(0),
            output_tokens: self.completion_tokens,
        }
    }
}

/// A stream of chunks.
#[derive(Debug)]
pub(super) struct Stream {
    reply: Reply,
    over: bool,
}

impl Stream {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            reply: Reply::new(asked),
            over: false,
        }
    }
}

impl ReadStream for Stream {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<EventKind>, ReplyError> {
        if self.over {
            return Err(ReplyError::Order("an event after [DONE]".to_owned()));
        }
        if event.data == "[DONE]" {
            self.over = true;
            return self.reply.end();
        }
        take(&mut self.reply, parse("a chunk", &event.data)?)
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn close(&mut self) -> Result<Option<Vec<EventKind>>, ReplyError> {
        match self.reply.has_its_end() {
            true => self.reply.end().map(Some),
            false => Ok(None),
        }
    }
}

pub(super) fn answer(asked: Asked, body: &str) -> Result<Vec<EventKind>, ReplyError> {
    let mut reply = Reply::new(asked);
    let mut events = take(&mut reply, parse("the answer", body)?)?;
    events.extend(reply.end()?);
    Ok(events)
}

fn take(reply: &mut Reply, document: Document) -> Result<Vec<EventKind>, ReplyError> {
    if let Some(error) = &document.error {
        return Err(server_error(error));
    }
    let Some(choices) = document.choices else {
        let problem = "it has neither 'choices' nor 'error'";
        return Err(ReplyError::Order(problem.to_owned()));
    };
    let mut events = Vec::new();
    for choice in choices {
        if choice.index != 0 {
            let problem = format!("one answer was asked for, and number {} came", choice.index);
            return Err(ReplyError::Order(problem));
        }
        take_choice(reply, choice, &mut events)?;
    }
    if let Some(usage) = document.usage {
        reply.usage = Some(usage.lower());
    }
    if let Some(told) = document.loopwatch {
        events.extend(reply.told(told)?);
    }
    Ok(events)
}

fn take_choice(
    reply: &mut Reply,
    choice: Choice,
    events: &mut Vec<EventKind>,
) -> Result<(), ReplyError> {
    let logprobs = choice.logprobs.unwrap_or_default().of_tokens();
    if let Some(text) = choice.text {
        // What the tokens of a plain prompt's answer mean, the API does not say.
        let piece = reply.text(Channel::Content, text, logprobs);
        events.extend(piece.filter(|piece| matches!(piece, EventKind::Text(_))));
    } else if let Some(said) = choice.delta.or(choice.message) {
        take_said(reply, said, logprobs, events)?;
    }
    if let Some(reason) = choice.finish_reason {
        let by_string = choice.stop_reason.is_some_and(|stop| stop.is_string());
        reply.finish = Some(match (reason.as_str(), by_string) {
            ("stop", true) => FinishReason::StopSequence,
            ("stop", false) => FinishReason::Stop,
            ("length", _) => FinishReason::Length,
            ("repetition", _) => FinishReason::Repetition,
            ("tool_calls" | "function_call", _) => FinishReason::ToolCalls,
            _ => return Err(ReplyError::Finish(reason)),
        });
    }
    Ok(())
}

fn take_said(
    reply: &mut Reply,
    said: Said,
    logprobs: Vec<f32>,
    events: &mut Vec<EventKind>,
) -> Result<(), ReplyError> {
    let thought = said
        .reasoning_content
        .or(said.reasoning)
        .unwrap_or_default();
    let content = said.content.unwrap_or_default();
    // Log-probabilities belong to the text beside them, whichever that is.
    let (of_thought, of_content) = match content.is_empty() {
        true => (logprobs, Vec::new()),
        false => (Vec::new(), logprobs),
    };
    events.extend(reply.text(Channel::Reasoning, thought, of_thought));
    events.extend(reply.text(Channel::Content, content, of_content));
    for (at, call) in said.tool_calls.into_iter().flatten().enumerate() {
        let function = call.function.unwrap_or(Function {
            name: None,
            arguments: None,
        });
        let arguments = function.arguments.unwrap_or_default();
        let index = call.index.unwrap_or(at);
        events.extend(reply.call(index, call.id, function.name, arguments)?);
    }
    Ok(())
}
