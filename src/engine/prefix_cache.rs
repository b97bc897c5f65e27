//! Sequences that were computed before, for prompts that begin with the same tokens.
//!
//! Knows token ids and how much a position costs. A hit never changes an answer: keys and values
//! of a position depend on nothing but the tokens up to it.

use crate::backend::Backend;
use crate::model::{Decoder, ModelError, Sequence};

/// The least recently used sequences go when the bound is passed.
pub(super) struct PrefixCache<B: Backend> {
    /// Least recently used first.
    entries: Vec<Entry<B>>,
    /// Positions of all entries together.
    positions: usize,
    most_positions: usize,
}

struct Entry<B: Backend> {
    tokens: Vec<u32>,
    sequence: Sequence<B>,
}

impl<B: Backend> PrefixCache<B> {
    pub(super) fn new(most_bytes: usize, bytes_per_position: usize) -> Self {
        Self {
            entries: Vec::new(),
            positions: 0,
            most_positions: most_bytes / bytes_per_position.max(1),
        }
    }

    /// A sequence for `prompt`, with as much of its beginning as is known: at most all but the
    /// last token, which has to be computed for its logits.
    pub(super) fn start(
        &mut self,
        decoder: &Decoder<B>,
        prompt: &[u32],
    ) -> Result<Sequence<B>, ModelError> {
        let usable = &prompt[..prompt.len().saturating_sub(1)];
        let common = |entry: &Entry<B>| {
            let pairs = entry.tokens.iter().zip(usable);
            pairs.take_while(|(known, asked)| known == asked).count()
        };
        let best = self.entries.iter().map(common).enumerate();
        match best.max_by_key(|(_, length)| *length) {
            Some((index, length)) if length > 0 => {
                let entry = self.entries.remove(index);
                let sequence = decoder.fork(&entry.sequence, length);
                self.entries.push(entry);
                sequence
            }
            _ => decoder.start(),
        }
    }

    /// Keeps a copy of a sequence that holds exactly `tokens`.
    pub(super) fn keep(
        &mut self,
        decoder: &Decoder<B>,
        tokens: &[u32],
        sequence: &Sequence<B>,
    ) -> Result<(), ModelError> {
        let length = sequence.position();
        let known = |entry: &Entry<B>| entry.tokens.starts_with(tokens);
        if length == 0 || length > self.most_positions || self.entries.iter().any(known) {
            return Ok(());
        }
        // What is a beginning of the new one is no longer needed.
        self.entries
            .retain(|entry| !tokens.starts_with(&entry.tokens));
        self.entries.push(Entry {
            tokens: tokens.to_vec(),
            sequence: decoder.fork(sequence, length)?,
        });
        self.positions = self.entries.iter().map(|entry| entry.tokens.len()).sum();
        while self.positions > self.most_positions {
            self.positions -= self.entries.remove(0).tokens.len();
        }
        Ok(())
    }
}
