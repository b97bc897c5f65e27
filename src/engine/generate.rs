//! One request from prompt to finish: prefill, decode, sample, detokenise, stop.

use std::time::Instant;

use tokio::sync::mpsc;

use super::{EngineError, Job, LoadedModel};
use crate::generation::{
    Event, EventKind, FinishReason, GenerateRequest, SamplingParams, Token, Usage,
};
use crate::sampling::Sampler;
use crate::text::{Detokenizer, StopStrings, tool_calls};

/// Prompt tokens computed in one piece; between pieces the engine sees that a reader has gone.
const PREFILL_CHUNK: usize = 512;

/// Answers a job, whatever happens: its channel ends with a finish event or an error, unless the
/// reader has gone.
pub(super) fn answer(model: &LoadedModel, job: Job) {
    let mut output = Output {
        events: job.events,
        received: job.received,
    };
    if let Err(Ended::Failed(error)) = generate(model, &job.request, &mut output) {
        // A reader that has gone does not want the error either.
        let _ = output.events.blocking_send(Err(error));
    }
}

/// Why a generation has no finish event.
enum Ended {
    ReaderGone,
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The way to the reader, with the clock that stamps events.
struct Output {
    events: mpsc::Sender<Result<Event, EngineError>>,
    received: Instant,
}

impl Output {
    fn emit(&mut self, kind: EventKind) -> Result<(), Ended> {
        let event = Event {
            at: self.received.elapsed(),
            kind,
        };
        self.events
            .blocking_send(Ok(event))
            .map_err(|_| Ended::ReaderGone)
    }
}

fn generate(
    model: &LoadedModel,
    request: &GenerateRequest,
    output: &mut Output,
) -> Result<(), Ended> {
    let sampling = &request.sampling;
    check_ids(model, sampling)?;
    let prompt = model.tokenize(&request.prompt)?;
    output.emit(EventKind::Started {
        input_tokens: prompt.len(),
    })?;

    let mut sequence = model.language_model.start()?;
    let mut logits = Vec::new();
    for chunk in prompt.chunks(PREFILL_CHUNK) {
        if output.events.is_closed() {
            return Err(Ended::ReaderGone);
        }
        logits = sequence.feed(chunk)?;
    }

    let mut sampler = Sampler::new(sampling, &model.eos);
    let mut text = Text::new(model, sampling);
    let mut generated = 0;
    let reason = loop {
        let token = sampler.sample(&mut logits, request.top_logprobs);
        generated += 1;
        if !token.logprob.is_finite() {
            return Err(model.not_numbers(generated).into());
        }
        let id = token.id;
        let ended = !sampling.ignore_eos && model.eos.contains(&id);
        let stopped = text.push(token, ended, output)?;
        if ended {
            break FinishReason::Stop;
        }
        if stopped {
            break FinishReason::StopSequence;
        }
        if generated == sampling.max_tokens {
            break FinishReason::Length;
        }
        logits = sequence.feed(&[id])?;
    };
    let usage = Usage {
        input_tokens: prompt.len(),
        output_tokens: generated,
    };
    text.finish(reason, usage, output)
}

/// A bias on a token that does not exist would be ignored without a word.
fn check_ids(model: &LoadedModel, sampling: &SamplingParams) -> Result<(), EngineError> {
    let vocabulary = model.language_model.vocab_size();
    match sampling
        .logit_bias
        .keys()
        .find(|id| **id as usize >= vocabulary)
    {
        Some(id) => Err(EngineError::Request(format!(
            "logit_bias names token {id}, but the vocabulary has {vocabulary} tokens"
        ))),
        None => Ok(()),
    }
}

/// The answer's text as it grows.
struct Text<'a> {
    model: &'a LoadedModel,
    /// `None` without a tokenizer: then there is no text.
    detokenizer: Option<Detokenizer<'a>>,
    stops: StopStrings,
    stopped: bool,
    /// Everything given out so far.
    text: String,
}

impl<'a> Text<'a> {
    fn new(model: &'a LoadedModel, sampling: &SamplingParams) -> Self {
        Self {
            model,
            detokenizer: model
                .tokenizer
                .as_ref()
                .map(crate::text::Tokenizer::detokenizer),
            stops: StopStrings::new(&sampling.stop),
            stopped: false,
            text: String::new(),
        }
    }

    /// Emits a token with the text that became certain; true if a stop string is complete. An
    /// end-of-sequence token has no text.
    fn push(&mut self, token: Token, ended: bool, output: &mut Output) -> Result<bool, Ended> {
        let text = match &mut self.detokenizer {
            Some(detokenizer) if !ended => {
                let piece = detokenizer
                    .push(token.id)
                    .map_err(|problem| self.model.text_error(problem))?;
                self.pass(&piece)
            }
            _ => String::new(),
        };
        output.emit(EventKind::Delta { token, text })?;
        Ok(self.stopped)
    }

    fn pass(&mut self, piece: &str) -> String {
        let passed = self.stops.push(piece);
        self.stopped = passed.stopped;
        self.text.push_str(&passed.text);
        passed.text
    }

    /// Emits tool calls and the finish event, with the text that was held back.
    fn finish(
        mut self,
        reason: FinishReason,
        usage: Usage,
        output: &mut Output,
    ) -> Result<(), Ended> {
        let mut rest = String::new();
        if !self.stopped {
            if let Some(detokenizer) = self.detokenizer.take() {
                let piece = detokenizer
                    .finish()
                    .map_err(|problem| self.model.text_error(problem))?;
                rest = self.pass(&piece);
            }
            if !self.stopped {
                let held = std::mem::replace(&mut self.stops, StopStrings::new(&[])).finish();
                self.text.push_str(&held);
                rest.push_str(&held);
            }
        }
        let taken = tool_calls(&self.text);
        let reason = match reason {
            FinishReason::Stop if !taken.calls.is_empty() => FinishReason::ToolCalls,
            other => other,
        };
        let content = (!taken.calls.is_empty()).then_some(taken.content);
        for call in taken.calls {
            output.emit(EventKind::ToolCall(call))?;
        }
        output.emit(EventKind::Finished {
            reason,
            text: rest,
            content,
            usage,
        })
    }
}
