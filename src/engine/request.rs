//! One running request: its sequence, how far its prompt is computed, and who writes its answer.
//!
//! Knows one sequence. What else runs, and when it gets its turn, is the scheduler's business.

use super::prefix_cache::{PrefixCache, common_length};
use super::writer::{Sampled, Writer};
use super::{EngineError, Job, LoadedModel};
use crate::backend::Backend;
use crate::model::{Decoder, Feed, ModelError, Sequence};

/// A request between its first and its last event.
pub(super) struct Running<'a, B: Backend> {
    sequence: Sequence<B>,
    /// The prompt, then the answer; the sequence has been fed a beginning of it.
    tokens: Vec<u32>,
    pub(super) writer: Writer<'a>,
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
        model.check_ids(&job.request.sampling)?;
        let tokens = model.tokenize(&job.request.prompt)?;
        let sequence = known.start(decoder, &tokens)?;
        let mut writer = Writer::start(job.request, &tokens, job.events, job.received, model);
        writer.usage.cached_tokens = sequence.position();
        Ok(Self {
            sequence,
            tokens,
            writer,
        })
    }

    /// Tokens that the sequence has been fed.
    pub(super) fn position(&self) -> usize {
        self.sequence.position()
    }

    /// Tokens that the sequence has not been fed yet: many of a prompt, one of an answer.
    pub(super) fn waiting(&self) -> usize {
        self.tokens.len() - self.sequence.position()
    }

    /// How many of this request's prompt tokens another one begins with, the last one apart,
    /// which has to be computed for its logits.
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        let own = self.tokens.len().saturating_sub(1);
        common_length(&self.tokens[..own], &other.tokens)
    }

    /// Takes over the first `positions` tokens, which both begin with, from another request.
    pub(super) fn take_over(
        &mut self,
        other: &Self,
        positions: usize,
        decoder: &Decoder<B>,
    ) -> Result<(), ModelError> {
        let sequence = decoder.fork(&other.sequence, positions)?;
        self.writer.usage.cached_tokens += positions - self.position();
        self.sequence = sequence;
        Ok(())
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

    /// Goes on with a token, or ends.
    pub(super) fn advance(
        &mut self,
        sampled: Result<Sampled, EngineError>,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
    ) -> Progress {
        match sampled {
            Ok(Sampled { id, end }) => {
                self.tokens.push(id);
                let Some(reason) = end else {
                    self.writer.tell_if_due();
                    return Progress::Goes;
                };
                match self.keep(decoder, known) {
                    Ok(()) => self.writer.finish(reason),
                    Err(error) => self.writer.fail(error.into()),
                }
            }
            Err(error) => self.writer.fail(error),
        }
        Progress::Over
    }

    /// Leaves what was computed for requests to come.
    pub(super) fn keep(
        &self,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
    ) -> Result<(), ModelError> {
        let fed = &self.tokens[..self.sequence.position()];
        known.keep(decoder, fed, &self.sequence)
    }
}
