//! Completions of plain prompts: complete, and as chunks. Text is shown as it is, tool calls
//! included.

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
use crate::generation::{Channel, EventKind, FinishReason};
use crate::protocol::openai::{
    Common, Streaming, TextAnswer, TextChoice, WireUsage, finish_reason, stop_reason,
};
use crate::protocol::{FoundLoop, Loopwatch};

/// A plain prompt's answer is text; that some of it reads like a call is no reason to stop.
fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::ToolCalls => finish_reason(FinishReason::Stop),
        other => finish_reason(other),
    }
}

/// All answers to all prompts.
pub(super) async fn complete(
    app: &App,
    answers: Vec<Watched>,
    common: &Common,
) -> Result<Response, Refusal> {
    let answers = answers::complete(answers).await?;
    let mut usage = WireUsage::default();
    for (index, answer) in answers.iter().enumerate() {
        usage.add(answer.usage(), !index.is_multiple_of(common.n));
    }
    let answer = TextAnswer {
        id: &names::id("cmpl-"),
        object: "text_completion",
        created: names::now(),
        model: &app.served.name,
        loopwatch: loopwatch::told(&answers, common.return_tokens),
        choices: answers
            .iter()
            .enumerate()
            .map(|(index, answer)| choice(app, index, answer, common))
            .collect(),
        usage: Some(usage),
    };
    Ok(loopwatch::mark(&answers, Json(answer).into_response()))
}

fn choice(app: &App, index: usize, answer: &Complete, common: &Common) -> TextChoice {
    let vocabulary = app.served.vocabulary.as_deref();
    TextChoice {
        index,
        text: answer.transcript.text.clone(),
        logprobs: common
            .top_logprobs
            .map(|_| logprobs::legacy(&answer.transcript.tokens, vocabulary, &mut 0)),
        finish_reason: Some(reason(answer.reason())),
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
    let narrator = TextNarrator {
        id: names::id("cmpl-"),
        created: names::now(),
        n: common.n,
        include_usage: streaming.include_usage,
        logprobs: common.top_logprobs.is_some(),
        return_tokens: common.return_tokens,
        offsets: vec![0; answers.len()],
        found: vec![None; answers.len()],
        usage: WireUsage::default(),
        app,
    };
    let (merged, first) = Merged::begin(answers).await?;
    Ok(sse::respond(merged, first, narrator, every))
}

struct TextNarrator {
    app: Arc<App>,
    id: String,
    created: u64,
    /// Answers to each prompt.
    n: usize,
    include_usage: bool,
    logprobs: bool,
    return_tokens: bool,
    /// Characters so far, for each answer.
    offsets: Vec<usize>,
    /// A loop that goes with the next chunk, for each answer.
    found: Vec<Option<FoundLoop>>,
    usage: WireUsage,
}

impl TextNarrator {
    fn send(
        &self,
        choice: Option<TextChoice>,
        usage: Option<WireUsage>,
        told: Option<Loopwatch>,
        out: &mut Out,
    ) {
        out.data(&TextAnswer {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.app.served.name,
            choices: choice.into_iter().collect(),
            usage,
            loopwatch: told,
        });
    }
}

impl Narrator for TextNarrator {
    fn tell(&mut self, index: usize, Seen { event, found }: Seen, out: &mut Out) {
        let choice = index;
        if let Some(found) = found {
            self.found[index] = Some(FoundLoop { choice, ..found });
        }
        let told = self.return_tokens.then(|| loopwatch::part(&event.kind));
        let mut choice = TextChoice {
            index,
            text: String::new(),
            logprobs: None,
            finish_reason: None,
            stop_reason: None,
        };
        match event.kind {
            EventKind::Started { .. } | EventKind::ToolCall(_) if !self.return_tokens => return,
            EventKind::Started { .. } | EventKind::ToolCall(_) => {}
            EventKind::Text(piece) if piece.channel == Channel::Content => {
                choice.text = piece.text;
            }
            // A plain prompt's answer is its text as it is.
            EventKind::Said { .. }
            | EventKind::Text(_)
            | EventKind::Retried(_)
            | EventKind::Streamed(_) => return,
            EventKind::Delta { token, text } => {
                if text.is_empty() && !self.logprobs && !self.return_tokens {
                    return;
                }
                choice.text = text;
                let vocabulary = self.app.served.vocabulary.as_deref();
                let offset = &mut self.offsets[index];
                choice.logprobs = self
                    .logprobs
                    .then(|| logprobs::legacy([&token], vocabulary, offset));
            }
            EventKind::Finished {
                reason: why,
                text,
                usage,
                ..
            } => {
                self.usage.add(usage, !index.is_multiple_of(self.n));
                choice.text = text;
                choice.finish_reason = Some(reason(why));
                choice.stop_reason = stop_reason(why);
            }
        }
        let loops = self.found[index].take().into_iter().collect();
        self.send(Some(choice), None, loopwatch::with(told, loops), out);
    }

    fn end(&mut self, out: &mut Out) {
        if self.include_usage {
            self.send(None, Some(self.usage), None, out);
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
