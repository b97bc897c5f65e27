//! Chat completions: complete, and as chunks.

use std::sync::Arc;

use axum::Json;
use axum::response::sse::Event as Sse;
use axum::response::{IntoResponse, Response};

use super::super::admission::App;
use super::super::answers::{self, Merged};
use super::super::refusal::{Api, Refusal};
use super::super::speech::Speech;
use super::super::sse::{self, Narrator, Out};
use super::super::watch::{Complete, Watched};
use super::super::{loopwatch, names};
use super::logprobs;
use crate::generation::{Channel, Event, EventKind, Usage};
use crate::protocol::Loopwatch;
use crate::protocol::openai::{
    ChatAnswer, ChatChoice, ChatChunk, ChatDelta, ChatMessage, ChunkChoice, Common, Streaming,
    WireToolCall, WireUsage, finish_reason,
};

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
    let told = answers.first().filter(|_| common.return_tokens);
    let answer = ChatAnswer {
        id: &names::id("chatcmpl-"),
        object: "chat.completion",
        created: names::now(),
        model: &app.served.name,
        loopwatch: told.map(loopwatch::whole),
        choices: answers
            .iter()
            .enumerate()
            .map(|(index, answer)| choice(app, index, answer, common))
            .collect(),
        usage,
    };
    Ok(Json(answer).into_response())
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
            tool_calls: calls
                .iter()
                .map(|call| WireToolCall::of(call, names::id("call_"), None))
                .collect(),
        },
        logprobs: common
            .top_logprobs
            .map(|_| logprobs::chat(&answer.transcript.tokens, vocabulary)),
        finish_reason: finish_reason(answer.reason()),
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
    speech: Speech,
    calls: usize,
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
    fn send(&self, choice: ChunkChoice, told: Option<Loopwatch>, out: &mut Out) {
        let mut chunk = self.chunk(Some(choice));
        chunk.loopwatch = told;
        out.data(&chunk);
    }

    fn finished(&mut self, index: usize, rest: String, usage: Usage) -> ChunkChoice {
        self.usage.add(usage, index > 0);
        let delta = ChatDelta {
            content: (!rest.is_empty()).then_some(rest),
            ..ChatDelta::default()
        };
        plain(index, delta)
    }
}

fn plain(index: usize, delta: ChatDelta) -> ChunkChoice {
    ChunkChoice {
        index,
        delta,
        logprobs: None,
        finish_reason: None,
    }
}

impl Narrator for ChatNarrator {
    fn tell(&mut self, index: usize, event: Event, out: &mut Out) {
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
            EventKind::Delta { token, text } => {
                let text = self.parts[index].speech.push(&text);
                if text.is_empty() && !self.logprobs && !self.return_tokens {
                    return;
                }
                let delta = ChatDelta {
                    content: Some(text),
                    ..ChatDelta::default()
                };
                let vocabulary = self.app.served.vocabulary.as_deref();
                let logprobs = self.logprobs.then(|| logprobs::chat([&token], vocabulary));
                let choice = ChunkChoice {
                    logprobs,
                    ..plain(index, delta)
                };
                self.send(choice, told, out);
            }
            EventKind::Text(piece) if piece.channel == Channel::Content => {
                let text = self.parts[index].speech.push(&piece.text);
                let delta = ChatDelta {
                    content: Some(text),
                    ..ChatDelta::default()
                };
                self.send(plain(index, delta), told, out);
            }
            EventKind::Text(_) | EventKind::Retried(_) => {}
            EventKind::ToolCall(call) => {
                let part = &mut self.parts[index];
                let call = WireToolCall::of(&call, names::id("call_"), Some(part.calls));
                part.calls += 1;
                let delta = ChatDelta {
                    tool_calls: vec![call],
                    ..ChatDelta::default()
                };
                self.send(plain(index, delta), told, out);
            }
            EventKind::Finished {
                reason,
                text,
                content,
                usage,
            } => {
                let speech = std::mem::take(&mut self.parts[index].speech);
                let rest = speech.finish(&text, content.as_deref());
                let mut choice = self.finished(index, rest, usage);
                choice.finish_reason = Some(finish_reason(reason));
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
