//! One running request: where its prompt stands, what it samples, and what its reader is told.
//!
//! Knows one sequence. What else runs, and when it gets its turn, is the scheduler's business.

use std::time::Instant;

use tokio::sync::mpsc;

use super::answer::Answer;
use super::prefix_cache::PrefixCache;
use super::{EngineError, Job, LoadedModel};
use crate::backend::Backend;
use crate::generation::{Event, EventKind, FinishReason, SamplingParams, Usage};
use crate::model::{Decoder, Feed, Sequence};
use crate::sampling::{self, Sampler};

/// Events that one step may bring: a token, tool calls, the finish. A reader that has less room
/// than this makes its own request wait.
const ROOM: usize = 8;

/// A request between its first and its last event.
pub(super) struct Running<'a, B: Backend> {
    sampling: SamplingParams,
    top_logprobs: usize,
    events: mpsc::Sender<Result<Event, EngineError>>,
    received: Instant,
    sequence: Sequence<B>,
    /// The prompt, then the answer; the sequence has been fed a beginning of it.
    tokens: Vec<u32>,
    usage: Usage,
    sampler: Sampler,
    /// Taken when the answer is finished.
    answer: Option<Answer<'a>>,
}

/// Whether a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It wants another step.
    Goes,
    /// Its last event is out, or its reader has gone.
    Over,
}

impl<'a, B: Backend> Running<'a, B> {
    /// Tokenizes the prompt and tells the reader that the request has begun. A request that
    /// cannot be answered is answered with its error, and `None` is returned.
    pub(super) fn start(
        job: Job,
        model: &'a LoadedModel,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
    ) -> Option<Self> {
        let events = job.events.clone();
        match Self::prepare(job, model, decoder, known) {
            Ok(running) => Some(running),
            Err(error) => {
                // A reader that has gone does not want the error either.
                let _ = events.try_send(Err(error));
                None
            }
        }
    }

    fn prepare(
        job: Job,
        model: &'a LoadedModel,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
    ) -> Result<Self, EngineError> {
        let sampling = job.request.sampling;
        model.check_ids(&sampling)?;
        let tokens = model.tokenize(&job.request.prompt)?;
        let sequence = known.start(decoder, &tokens)?;
        let usage = Usage {
            input_tokens: tokens.len(),
            cached_tokens: sequence.position(),
            output_tokens: 0,
        };
        let running = Self {
            sampler: Sampler::new(
                &sampling,
                &sampling::Sequence {
                    prompt: &tokens,
                    // What this engine remembers never shows, whatever the profile: a version
                    // whose penalties depend on its cache is followed with a cold one.
                    cached: 0,
                    eos: &model.eos,
                    newline: &model.newline,
                },
            ),
            answer: Some(Answer::new(model, &sampling)),
            sampling,
            top_logprobs: job.request.top_logprobs,
            events: job.events,
            received: job.received,
            sequence,
            tokens,
            usage,
        };
        running.emit(EventKind::Started {
            input_tokens: running.usage.input_tokens,
        });
        Ok(running)
    }

    /// Whether the reader has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Whether the reader has room for what a step may bring.
    pub(super) fn has_room(&self) -> bool {
        self.events.capacity() >= ROOM.min(self.events.max_capacity())
    }

    /// Tokens that the sequence has not been fed yet: many of a prompt, one of an answer.
    pub(super) fn waiting(&self) -> usize {
        self.tokens.len() - self.sequence.position()
    }

    /// The next at most `most` tokens. Logits are wanted behind the last one of all.
    pub(super) fn feed(&mut self, most: usize) -> Feed<'_, B> {
        let start = self.sequence.position();
        let end = self.tokens.len().min(start + most);
        Feed {
            logits: end == self.tokens.len(),
            tokens: &self.tokens[start..end],
            sequence: &mut self.sequence,
        }
    }

    /// Takes the logits behind the last token, and samples the next one.
    pub(super) fn step(
        &mut self,
        mut logits: Vec<f32>,
        model: &LoadedModel,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
    ) -> Progress {
        // The prompt is worth keeping when it is complete, and the whole when it is over.
        let kept = match self.usage.output_tokens {
            0 => known.keep(decoder, &self.tokens, &self.sequence),
            _ => Ok(()),
        };
        let outcome = kept
            .map_err(EngineError::from)
            .and_then(|()| self.sample(&mut logits, model));
        match outcome {
            Ok(None) => Progress::Goes,
            Ok(Some(reason)) => {
                let fed = &self.tokens[..self.sequence.position()];
                if let Err(error) = known.keep(decoder, fed, &self.sequence) {
                    return self.fail(error.into());
                }
                self.finish(reason)
            }
            Err(error) => self.fail(error),
        }
    }

    /// Samples one token and tells the reader; the reason if it was the last one.
    fn sample(
        &mut self,
        logits: &mut [f32],
        model: &LoadedModel,
    ) -> Result<Option<FinishReason>, EngineError> {
        let token = self.sampler.sample(logits, self.top_logprobs);
        self.usage.output_tokens += 1;
        let generated = self.usage.output_tokens;
        if !token.logprob.is_finite() {
            return Err(model.not_numbers(generated));
        }
        self.tokens.push(token.id);
        let ended = !self.sampling.ignore_eos && model.eos.contains(&token.id);
        // An end-of-sequence token has no text.
        let text = match &mut self.answer {
            Some(answer) if !ended => answer.push(token.id)?,
            _ => String::new(),
        };
        self.emit(EventKind::Delta { token, text });
        let stopped = self.answer.as_ref().is_some_and(Answer::stopped);
        Ok(if ended {
            Some(FinishReason::Stop)
        } else if stopped {
            Some(FinishReason::StopSequence)
        } else if generated == self.sampling.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        })
    }

    fn finish(&mut self, reason: FinishReason) -> Progress {
        match self
            .answer
            .take()
            .map(|answer| answer.finish(reason, self.usage))
        {
            Some(Ok(events)) => events.into_iter().for_each(|kind| self.emit(kind)),
            Some(Err(error)) => return self.fail(error),
            None => {}
        }
        Progress::Over
    }

    /// Ends the request with an error.
    pub(super) fn fail(&self, error: EngineError) -> Progress {
        self.send(Err(error));
        Progress::Over
    }

    fn emit(&self, kind: EventKind) {
        self.send(Ok(Event {
            at: self.received.elapsed(),
            kind,
        }));
    }

    /// The scheduler only lets a request step whose reader has room, so a full channel is rare:
    /// an answer with many tool calls. Then the step waits for its reader.
    fn send(&self, event: Result<Event, EngineError>) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            // A reader that has gone is noticed before the next step.
            let _ = self.events.blocking_send(event);
        }
    }
}
