//! One running sequence: its tokens, how far they are computed, and the requests it answers.
//!
//! Requests whose prompts are the same have the same history until their samplers disagree, and
//! one history is computed once: it has one sequence and as many writers as there are requests.
//! Where their tokens part, the sequence is forked. Knows one history. What else runs, and when
//! it gets its turn, is the scheduler's business.

use super::prefix_cache::{PrefixCache, common_length};
use super::writer::{Sampled, Writer};
use super::{EngineError, Job, LoadedModel};
use crate::backend::{Backend, BackendError};
use crate::model::{Decoder, Feed, ModelError, Sequence, Wanted};

/// Requests between their first and their last event that share their history.
pub(super) struct Running<'a, B: Backend> {
    sequence: Sequence<B>,
    /// The prompt, then the answer; the sequence has been fed a beginning of it.
    tokens: Vec<u32>,
    /// Who writes the answers, in the order of arrival; each samples for itself.
    pub(super) writers: Vec<Writer<'a>>,
}

impl<'a, B: Backend> Running<'a, B> {
    /// A sequence for a new prompt, as far computed as an earlier one began with it.
    pub(super) fn start(
        tokens: Vec<u32>,
        job: Job,
        model: &'a LoadedModel,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
    ) -> Result<Self, EngineError> {
        let sequence = known.start(decoder, &tokens)?;
        let mut writer = Writer::start(job, &tokens, model)?;
        writer.usage.cached_tokens = sequence.position();
        Ok(Self {
            sequence,
            tokens,
            writers: vec![writer],
        })
    }

    /// The prompt, then the answer so far.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Answers one more request, whose prompt is all of this sequence's tokens. None of them is
    /// computed for it. It is told what it would be told if it came later and had to fork: that
    /// the last one was, for its logits; a count must not depend on when a request arrives.
    pub(super) fn join(&mut self, job: Job, model: &'a LoadedModel) -> Result<(), EngineError> {
        let mut writer = Writer::start(job, &self.tokens, model)?;
        writer.usage.cached_tokens = self.tokens.len().saturating_sub(1);
        self.writers.push(writer);
        Ok(())
    }

    /// Tokens that the sequence has been fed.
    pub(super) fn position(&self) -> usize {
        self.sequence.position()
    }

    /// Tokens that the sequence has not been fed yet: many of a prompt, one of an answer.
    pub(super) fn waiting(&self) -> usize {
        self.tokens.len() - self.sequence.position()
    }

    /// Whether every reader has room for what a step may bring.
    pub(super) fn has_room(&self) -> bool {
        self.writers.iter().all(Writer::has_room)
    }

    /// How many of this sequence's prompt tokens another one begins with, the last one apart,
    /// which has to be computed for its logits.
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        let own = self.tokens.len().saturating_sub(1);
        common_length(&self.tokens[..own], &other.tokens)
    }

    /// Takes over the first `positions` tokens, which both begin with, from another sequence.
    pub(super) fn take_over(
        &mut self,
        other: &Self,
        positions: usize,
        decoder: &Decoder<B>,
    ) -> Result<(), ModelError> {
        let sequence = decoder.fork(&other.sequence, positions)?;
        let saved = positions - self.position();
        // Whoever joined was spared all of the prompt already, and may be the first one by now.
        if let Some(first) = self.writers.first_mut() {
            let cached = first.usage.cached_tokens + saved;
            first.usage.cached_tokens = cached.min(self.tokens.len() - 1);
        }
        self.sequence = sequence;
        Ok(())
    }

    /// The next at most `most` tokens. Logits are wanted behind the last one of all.
    pub(super) fn feed(&mut self, most: usize) -> Feed<'_, B> {
        let start = self.sequence.position();
        let end = self.tokens.len().min(start + most);
        Feed {
            logits: match end == self.tokens.len() {
                true => Wanted::Last,
                false => Wanted::None,
            },
            tokens: &self.tokens[start..end],
            sequence: &mut self.sequence,
        }
    }

    /// Puts the requests whose readers have no room on a sequence of their own, so that a slow
    /// reader makes nobody wait but itself. `None` if all have room, or none has.
    pub(super) fn part_from_slow_readers(&mut self, decoder: &Decoder<B>) -> Option<Self> {
        let slow = self.writers.iter().filter(|writer| !writer.has_room());
        if [0, self.writers.len()].contains(&slow.count()) {
            return None;
        }
        // If it fails, they wait together.
        let sequence = decoder.fork(&self.sequence, self.position()).ok()?;
        let (ready, slow) = std::mem::take(&mut self.writers)
            .into_iter()
            .partition(Writer::has_room);
        self.writers = ready;
        Some(Self {
            sequence,
            tokens: self.tokens.clone(),
            writers: slow,
        })
    }

    /// Goes on with what each writer sampled, in their order: ends those whose answers are
    /// complete, and returns one sequence for each token that some of the others go on with.
    pub(super) fn advance(
        mut self,
        sampled: Vec<Result<Sampled, EngineError>>,
        decoder: &Decoder<B>,
        known: &mut PrefixCache<B>,
    ) -> Vec<Self> {
        if let Some(id) = agreed(&sampled) {
            self.tokens.push(id);
            return vec![self];
        }
        let mut branches: Vec<(u32, Vec<Writer<'a>>)> = Vec::new();
        let mut complete = Vec::new();
        for (mut writer, sampled) in std::mem::take(&mut self.writers).into_iter().zip(sampled) {
            match sampled {
                Ok(Sampled { id, end: None }) => {
                    match branches.iter_mut().find(|(branch, _)| *branch == id) {
                        Some((_, writers)) => writers.push(writer),
                        None => branches.push((id, vec![writer])),
                    }
                }
                Ok(Sampled { end: Some(why), .. }) => complete.push((writer, why)),
                Err(error) => writer.fail(error),
            }
        }
        if !complete.is_empty() {
            let kept = self.keep(decoder, known).map_err(|e| e.to_string());
            for (mut writer, reason) in complete {
                match &kept {
                    Ok(()) => writer.finish(reason),
                    Err(problem) => writer.fail(BackendError(problem.clone()).into()),
                }
            }
        }
        self.branch(branches, decoder)
    }

    /// One sequence for each token: this one goes on with the first, and is forked for the others.
    fn branch(mut self, branches: Vec<(u32, Vec<Writer<'a>>)>, decoder: &Decoder<B>) -> Vec<Self> {
        let mut branches = branches.into_iter();
        let Some((own, writers)) = branches.next() else {
            return Vec::new();
        };
        self.writers = writers;
        let mut others = Vec::with_capacity(branches.len());
        for (id, mut writers) in branches {
            match decoder.fork(&self.sequence, self.position()) {
                Ok(sequence) => {
                    let mut tokens = self.tokens.clone();
                    tokens.push(id);
                    others.push(Self {
                        sequence,
                        tokens,
                        writers,
                    });
                }
                Err(error) => {
                    let problem = error.to_string();
                    for writer in &mut writers {
                        writer.fail(BackendError(problem.clone()).into());
                    }
                }
            }
        }
        self.tokens.push(own);
        others.insert(0, self);
        others
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

/// The token that all go on with, if they do.
fn agreed(sampled: &[Result<Sampled, EngineError>]) -> Option<u32> {
    let goes_on = |sampled: &Result<Sampled, EngineError>| match sampled {
        Ok(Sampled { id, end: None }) => Some(*id),
        Ok(Sampled { end: Some(_), .. }) | Err(_) => None,
    };
    let first = goes_on(sampled.first()?)?;
    let all = sampled.iter().all(|other| goes_on(other) == Some(first));
    all.then_some(first)
}
