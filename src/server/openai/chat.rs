//! Chat completions: complete, and as chunks.

use std::sync::Arc;

use axum::Json;
use axum::response::sse::Event as Sse;
use axum::response::{IntoResponse, Response};

use super::super::admission::App;
use super::super::answers::{self, Merged};
use super::super::refusal::{Api, Refusal};
use super::super::sse::{self, Narrator, Out};
use super::super::watch::{Complete, Seen, Watched};
use super::super::{loopwatch, names};
use super::logprobs;
use crate::generation::{Channel, EventKind, Token};
use crate::protocol::openai::{
    ChatAnswer, ChatChoice, ChatChunk, ChatDelta, ChatMessage, ChunkChoice, Common, Streaming,
    WireToolCall, WireUsage, finish_reason, stop_reason,
};
use crate::protocol::{FoundLoop, Loopwatch};

/// One complete answer, or `n` of them.
pub(super) async fn complete(
    app: &App,
    answers: Vec<Watched>,
    common: &Common,
) -> Result<Response, Refusal> {
    let answers = answers::complete(answers).await?;
    let mut usage = WireUsage::default();
    for (index, answer) in answers.iter().enumerate() {
        usage.add(answer.usage(), index > 0);
    }
    let answer = ChatAnswer {
        id: &names::id("chatcmpl-"),
        object: "chat.completion",
        created: names::now(),
        model: &app.served.name,
        loopwatch: loopwatch::told(&answers, common.return_tokens),
        choices: answers
            .iter()
            .enumerate()
            .map(|(index, answer)| choice(app, index, answer, common))
            .collect(),
        usage,
    };
    Ok(loopwatch::mark(&answers, Json(answer).into_response()))
}

fn choice(app: &App, index: usize, answer: &Complete, common: &Common) -> ChatChoice {
    let calls = &answer.transcript.tool_calls;
    let content = answer.content();
    let silent = content.is_empty() && !calls.is_empty();
    let vocabulary = app.served.vocabulary.as_deref();
    ChatChoice {
        index,
        message: ChatMessage {
            role: "assistant",
            content: (!silent).then(|| content.to_owned()),
            refusal: None,
            reasoning_content: answer.transcript.reasoning.clone(),
            tool_calls: calls
                .iter()
                .map(|call| WireToolCall::of(call, names::id("call_"), None))
                .collect(),
        },
        logprobs: common
            .top_logprobs
            .map(|_| logprobs::chat(&answer.transcript.tokens, vocabulary)),
        finish_reason: finish_reason(answer.reason()),
        stop_reason: stop_reason(answer.reason()),
    }
}

/// The answers as chunks.
pub(super) async fn stream(
    app: Arc<App>,
    answers: Vec<Watched>,
    common: &Common,
    streaming: Streaming,
) -> Result<Response, Refusal> {
    let every = app.options.time_outs.keep_alive;
    let narrator = ChatNarrator {
        id: names::id("chatcmpl-"),
        created: names::now(),
        include_usage: streaming.include_usage,
        logprobs: common.top_logprobs.is_some(),
        return_tokens: common.return_tokens,
        parts: answers.iter().map(|_| Part::default()).collect(),
        usage: WireUsage::default(),
        app,
    };
    let (merged, first) = Merged::begin(answers).await?;
    Ok(sse::respond(merged, first, narrator, every))
}

/// One answer so far.
#[derive(Default)]
struct Part {
    /// What was said and is not sent yet: it goes with its token where tokens are told.
    said: ChatDelta,
    calls: usize,
    /// A loop that goes with the answer's next chunk.
    loops: Vec<FoundLoop>,
}

struct ChatNarrator {
    app: Arc<App>,
    id: String,
    created: u64,
    include_usage: bool,
    logprobs: bool,
    return_tokens: bool,
    parts: Vec<Part>,
    usage: WireUsage,
}

impl ChatNarrator {
    fn chunk(&self, choice: Option<ChunkChoice>) -> ChatChunk<'_> {
        ChatChunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.app.served.name,
            choices: choice.into_iter().collect(),
            usage: None,
            loopwatch: None,
        }
    }

    /// A chunk of one answer.
    fn send(&mut self, choice: ChunkChoice, told: Option<Loopwatch>, out: &mut Out) {
        let loops = std::mem::take(&mut self.parts[choice.index].loops);
        let mut chunk = self.chunk(Some(choice));
        chunk.loopwatch = loopwatch::with(told, loops);
        out.data(&chunk);
    }

    /// Whether each token has a chunk of its own.
    fn tells_tokens(&self) -> bool {
        self.logprobs || self.return_tokens
    }

    fn say(&mut self, index: usize, channel: Channel, text: &str) {
        let said = &mut self.parts[index].said;
        let place = match channel {
            Channel::Content => &mut said.content,
            Channel::Reasoning => &mut said.reasoning_content,
            // A call is sent when it is complete.
            Channel::ToolCall => return,
        };
        place.get_or_insert_default().push_str(text);
    }

    fn said(&mut self, index: usize) -> ChatDelta {
        std::mem::take(&mut self.parts[index].said)
    }

    /// Sends what was said.
    fn flush(&mut self, index: usize, out: &mut Out) {
        let said = self.said(index);
        if said.content.is_some() || said.reasoning_content.is_some() {
            self.send(plain(index, said), None, out);
        }
    }

    fn token(&mut self, index: usize, token: &Token, told: Option<Loopwatch>, out: &mut Out) {
        if !self.tells_tokens() {
            return;
        }
        let mut said = self.said(index);
        if said.reasoning_content.is_none() {
            // Clients expect one of them.
            said.content.get_or_insert_default();
        }
        let vocabulary = self.app.served.vocabulary.as_deref();
        let logprobs = self.logprobs.then(|| logprobs::chat([token], vocabulary));
        let choice = ChunkChoice {
            logprobs,
            ..plain(index, said)
        };
        self.send(choice, told, out);
    }
}

fn plain(index: usize, delta: ChatDelta) -> ChunkChoice {
    ChunkChoice {
        index,
        delta,
        logprobs: None,
        finish_reason: None,
        stop_reason: None,
    }
}

impl Narrator for ChatNarrator {
    fn tell(&mut self, index: usize, Seen { event, found }: Seen, out: &mut Out) {
        let choice = index;
        let found = found.map(|found| FoundLoop { choice, ..found });
        self.parts[index].loops.extend(found);
        let told = self.return_tokens.then(|| loopwatch::part(&event.kind));
        match event.kind {
            EventKind::Started { .. } => {
                let delta = ChatDelta {
                    role: Some("assistant"),
                    content: Some(String::new()),
                    ..ChatDelta::default()
                };
                self.send(plain(index, delta), told, out);
            }
            EventKind::Said { channel, text } => {
                self.say(index, channel, &text);
                if !self.tells_tokens() {
                    self.flush(index, out);
                }
            }
            EventKind::Delta { token, .. } => self.token(index, &token, told, out),
            EventKind::Text(piece) => {
                self.say(index, piece.channel, &piece.text);
                self.flush(index, out);
            }
            EventKind::Retried(_) | EventKind::Streamed(_) => {}
            EventKind::ToolCall(call) => {
                self.flush(index, out);
                let part = &mut self.parts[index];
                let call = WireToolCall::of(&call, names::id("call_"), Some(part.calls));
                part.calls += 1;
                let delta = ChatDelta {
                    tool_calls: vec![call],
                    ..ChatDelta::default()
                };
                self.send(plain(index, delta), told, out);
            }
            EventKind::Finished { reason, usage, .. } => {
                self.usage.add(usage, index > 0);
                let mut choice = plain(index, self.said(index));
                choice.finish_reason = Some(finish_reason(reason));
                choice.stop_reason = stop_reason(reason);
                self.send(choice, told, out);
            }
        }
    }

    fn end(&mut self, out: &mut Out) {
        if self.include_usage {
            let mut chunk = self.chunk(None);
            chunk.usage = Some(self.usage);
            out.data(&chunk);
        }
        out.word("[DONE]");
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut Out) {
        out.data(&refusal.body(Api::OpenAi));
        out.word("[DONE]");
    }

    fn keep_alive(&self) -> Sse {
        Sse::default().comment("keep-alive")
    }
}
