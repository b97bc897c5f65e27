//! Writes one answer: samples its tokens, turns them into text, and hands the events to the reader.
//!
//! Knows logits and events. The sequence that the logits come from, and its turn, are not its
//! business, so several writers can sample at the same time.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::answer::Answer;
use super::events::Batch;
use super::repetition::RepetitionWatch;
use super::{EngineError, Job, LoadedModel};
use crate::generation::{Event, EventKind, FinishReason, SamplingParams, Token, Usage};
use crate::sampling::{Choice, Draw, Rng, Sampler, Sequence};
use crate::text::Grammar;

/// Batches that one step may hand over: what was held before a long step, and an error behind what
/// was held. A reader that has less room than this makes its own request wait.
const ROOM: usize = 3;

/// The answer to one request as it is written.
pub(super) struct Writer<'a> {
    sampling: SamplingParams,
    top_logprobs: usize,
    events: mpsc::Sender<Batch>,
    received: Instant,
    /// How long a token may wait for the ones behind it.
    most_wait: Duration,
    pub(super) usage: Usage,
    sampler: Sampler,
    /// What the answer has to be, if it is not free.
    grammar: Option<Grammar>,
    /// Looks for the repetition that is to end the answer, if one is.
    repetition: Option<RepetitionWatch>,
    /// Taken when the answer is finished.
    answer: Option<Answer<'a>>,
    /// Events that the reader has not been given yet.
    held: Vec<Event>,
    /// When it was last given some.
    told: Instant,
}

/// What a step made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sampled {
    /// The token.
    pub(super) id: u32,
    /// Why it is the last one, if it is.
    pub(super) end: Option<FinishReason>,
}

impl<'a> Writer<'a> {
    /// A writer that has told its reader that the request has begun.
    pub(super) fn start(
        job: Job,
        prompt: &[u32],
        model: &'a LoadedModel,
    ) -> Result<Self, EngineError> {
        let grammar = model.grammar(&job.request)?;
        let Job {
            request,
            received,
            events,
            most_wait,
        } = job;
        let sampling = request.sampling;
        let usage = Usage {
            input_tokens: prompt.len(),
            ..Usage::default()
        };
        let sequence = Sequence {
            prompt,
            // What this engine remembers never shows, whatever the profile: a version whose
            // penalties depend on its cache is followed with a cold one.
            cached: 0,
            eos: &model.eos,
            newline: &model.newline,
        };
        let mut writer = Self {
            sampler: Sampler::new(&sampling, &sequence),
            grammar,
            answer: Some(Answer::new(
                model,
                &request.prompt,
                prompt,
                &sampling,
                request.constraint.as_ref(),
            )),
            repetition: sampling.repetition_detection.map(RepetitionWatch::new),
            sampling,
            top_logprobs: request.top_logprobs,
            events,
            received,
            most_wait,
            usage,
            held: Vec::new(),
            told: received,
        };
        writer.note(EventKind::Started {
            input_tokens: prompt.len(),
        });
        writer.tell();
        Ok(writer)
    }

    /// Whether the reader has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Whether the reader has room for what a step may bring.
    pub(super) fn has_room(&self) -> bool {
        self.events.capacity() >= ROOM.min(self.events.max_capacity())
    }

    /// What decides the next token, besides the logits; `None` if the form of the answer does.
    pub(super) fn choice(&self) -> Option<Choice> {
        match self.grammar {
            Some(_) => None,
            None => Some(self.sampler.choice(self.top_logprobs)),
        }
    }

    /// A draw from the logits behind the last token. Its token goes to [`Self::write`].
    pub(super) fn draw<'s>(
        &'s mut self,
        choice: Option<Choice>,
        logits: &'s mut [f32],
    ) -> Result<Draw<'s>, EngineError> {
        if let Some(grammar) = &mut self.grammar {
            grammar.restrict(logits)?;
        }
        let choice = choice.unwrap_or_else(|| self.sampler.choice(self.top_logprobs));
        Ok(Draw::new(&mut self.sampler, choice, logits))
    }

    /// The state of its random numbers, behind a draw.
    pub(super) fn rng(&self) -> &Rng {
        self.sampler.rng()
    }

    /// Goes on with the token of another writer, whose choice was equal.
    pub(super) fn follow(
        &mut self,
        token: Token,
        rng: &Rng,
        model: &LoadedModel,
    ) -> Result<Sampled, EngineError> {
        self.sampler.follow(&token, rng);
        self.write(token, model)
    }

    /// Goes on with a token.
    pub(super) fn write(
        &mut self,
        token: Token,
        model: &LoadedModel,
    ) -> Result<Sampled, EngineError> {
        self.usage.output_tokens += 1;
        let generated = self.usage.output_tokens;
        if !token.logprob.is_finite() {
            return Err(model.not_numbers(generated));
        }
        let id = token.id;
        let complete = match &mut self.grammar {
            Some(grammar) => grammar.push(id)?,
            None => false,
        };
        let ended = !self.sampling.ignore_eos && model.eos.contains(&id);
        // An end-of-sequence token has no text.
        let (text, meant) = match &mut self.answer {
            Some(answer) if !ended => answer.push(id)?,
            _ => Default::default(),
        };
        meant.into_iter().for_each(|kind| self.note(kind));
        self.note(EventKind::Delta { token, text });
        let stopped = self.answer.as_ref().is_some_and(Answer::stopped);
        let repetition = self.repetition.as_mut();
        let repeats = repetition.is_some_and(|watch| watch.push(id));
        // The order is vLLM's: an answer that ends anyway ends for that reason.
        let end = if ended || complete {
            Some(FinishReason::Stop)
        } else if stopped {
            Some(FinishReason::StopSequence)
        } else if generated == self.sampling.max_tokens {
            Some(FinishReason::Length)
        } else {
            repeats.then_some(FinishReason::Repetition)
        };
        if end.is_none() {
            self.tell_if_due();
        }
        Ok(Sampled { id, end })
    }

    /// Gives the reader what it has waited for long enough; the first token goes out at once.
    fn tell_if_due(&mut self) {
        if self.usage.output_tokens <= 1 || self.told.elapsed() >= self.most_wait {
            self.tell();
        }
    }

    /// Gives the reader all events so far.
    pub(super) fn tell(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.held);
        self.send(Ok(batch));
        self.told = Instant::now();
    }

    /// The last events.
    pub(super) fn finish(&mut self, reason: FinishReason) {
        let finished = self
            .answer
            .take()
            .map(|answer| answer.finish(reason, self.usage));
        match finished {
            Some(Ok(events)) => events.into_iter().for_each(|kind| self.note(kind)),
            Some(Err(error)) => return self.fail(error),
            None => {}
        }
        self.tell();
    }

    /// Ends the answer with an error.
    pub(super) fn fail(&mut self, error: EngineError) {
        self.tell();
        self.send(Err(error));
    }

    fn note(&mut self, kind: EventKind) {
        self.held.push(Event {
            at: self.received.elapsed(),
            kind,
        });
    }

    /// A request only takes part in a step if its reader has room, so the channel is full only
    /// when a failure of the backend ends all of them. Then the engine waits for the reader.
    fn send(&self, batch: Batch) {
        if let Err(mpsc::error::TrySendError::Full(batch)) = self.events.try_send(batch) {
            // A reader that has gone is noticed before the next step.
            let _ = self.events.blocking_send(batch);
        }
    }
}
