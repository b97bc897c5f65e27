//! The engine's loop: which requests take part in the next pass over the weights.
//!
//! Every step feeds one token of each decoding request and a chunk of the prompts that are not
//! complete yet, in the order of arrival. Requests join and leave between steps. A prompt that
//! begins like the one of an earlier request takes the common part over from it, and waits for
//! it meanwhile.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::prefix_cache::PrefixCache;
use super::request::{Progress, Running};
use super::writer::{Sampled, Writer};
use super::{EngineError, EngineOptions, Job, LoadedModel};
use crate::backend::{Backend, BackendError};
use crate::model::{Decoder, ModelError};

/// How long to sleep when every reader is slower than the model.
const FULL_READERS: Duration = Duration::from_millis(1);

/// Answers requests until the queue is closed and all are answered.
pub(super) fn run<B: Backend>(
    decoder: &Decoder<B>,
    model: &LoadedModel,
    options: &EngineOptions,
    mut queue: UnboundedReceiver<Job>,
) {
    let known = PrefixCache::new(options.prefix_cache_bytes, decoder.kv_bytes_per_position());
    let mut scheduler = Scheduler {
        decoder,
        model,
        options,
        known,
        running: Vec::new(),
    };
    while scheduler.admit(&mut queue) {
        scheduler.drop_abandoned();
        scheduler.step();
    }
}

struct Scheduler<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    model: &'a LoadedModel,
    options: &'a EngineOptions,
    known: PrefixCache<B>,
    /// In the order of arrival.
    running: Vec<Running<'a, B>>,
}

impl<'a, B: Backend> Scheduler<'a, B> {
    /// Takes requests from the queue while there is room; waits for one if nothing runs. False
    /// if there is nothing left to do.
    fn admit(&mut self, queue: &mut UnboundedReceiver<Job>) -> bool {
        while self.running.len() < self.options.max_batch.max(1) {
            let job = if self.running.is_empty() {
                queue.blocking_recv().ok_or(TryRecvError::Disconnected)
            } else {
                queue.try_recv()
            };
            match job {
                Ok(job) => {
                    let started = Running::start(job, self.model, self.decoder, &mut self.known);
                    self.running.extend(started);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return !self.running.is_empty(),
            }
        }
        true
    }

    /// Ends the requests whose readers have gone. What they computed stays of use.
    fn drop_abandoned(&mut self) {
        let (decoder, known) = (self.decoder, &mut self.known);
        self.running.retain(|request| {
            let abandoned = request.writer.is_abandoned();
            if abandoned {
                // Nobody is left to be told of a failure.
                let _ = request.keep(decoder, known);
            }
            !abandoned
        });
    }

    /// One pass over the weights.
    fn step(&mut self) {
        let held = self.share_prompts();
        let parts = self.parts(&held);
        if parts.iter().all(|part| *part == 0) {
            if !self.running.is_empty() {
                std::thread::sleep(FULL_READERS);
            }
            return;
        }
        if parts.iter().any(|part| *part > 1) {
            // A prompt takes long, and no token that is ready waits for it.
            self.running
                .iter_mut()
                .for_each(|request| request.writer.tell());
        }

        let taking_part = self
            .running
            .iter_mut()
            .zip(&parts)
            .filter(|(_, part)| **part > 0);
        let mut feeds: Vec<_> = taking_part
            .map(|(request, part)| request.feed(*part))
            .collect();
        match self.decoder.feed(&mut feeds) {
            Ok(logits) => self.advance(logits, &parts),
            Err(error) => {
                // Nobody can say how far each sequence came, so all of the batch end here.
                let problem = error.to_string();
                for mut request in self.running.drain(..) {
                    let error = ModelError::Backend(BackendError(problem.clone()));
                    request.writer.fail(error.into());
                }
            }
        }
    }

    /// Lets prompts take over what an earlier request has computed of them, and says which ones
    /// have to wait for more. Only an earlier request that can go on itself is waited for, so the
    /// first one never waits, and one that ends early holds up nobody.
    fn share_prompts(&mut self) -> Vec<bool> {
        let mut held = vec![false; self.running.len()];
        for index in 0..self.running.len() {
            let (earlier, rest) = self.running.split_at_mut(index);
            let Some(request) = rest.first_mut().filter(|request| request.waiting() > 1) else {
                continue;
            };
            let shares = earlier.iter().zip(&held).map(|(other, other_is_held)| {
                let shared = request.shared_with(other);
                let computed = shared.min(other.position());
                let goes_on = !other_is_held && other.writer.has_room();
                (if goes_on { shared } else { computed }, computed, other)
            });
            let best = shares.max_by_key(|(promised, computed, _)| (*promised, *computed));
            let Some((promised, computed, other)) = best else {
                continue;
            };
            if promised <= request.position() {
                continue;
            }
            held[index] = computed < promised;
            if !held[index] {
                // If it fails, the sequence is as it was, and the prompt is computed.
                let _ = request.take_over(other, computed, self.decoder);
            }
        }
        held
    }

    /// How many tokens of each request the next pass takes; none of those that wait for another
    /// one or for their reader.
    fn parts(&self, held: &[bool]) -> Vec<usize> {
        let mut prompt_tokens = self.options.prefill_chunk.max(1);
        let requests = self.running.iter().zip(held);
        requests
            .map(|(request, held)| {
                if *held || !request.writer.has_room() {
                    return 0;
                }
                match request.waiting() {
                    1 => 1,
                    prompt => {
                        let part = prompt.min(prompt_tokens);
                        prompt_tokens -= part;
                        part
                    }
                }
            })
            .collect()
    }

    /// Samples the next tokens of the requests whose last one has been fed, and ends those that
    /// are complete.
    fn advance(&mut self, mut logits: Vec<f32>, parts: &[usize]) {
        let model = self.model;
        let complete: Vec<bool> = self
            .running
            .iter()
            .zip(parts)
            .map(|(request, part)| *part > 0 && request.waiting() == 0)
            .collect();
        let writers = self.running.iter_mut().zip(&complete);
        let rows: Vec<Mutex<Row<'_, 'a>>> = writers
            .filter(|(_, complete)| **complete)
            .zip(logits.chunks_exact_mut(self.decoder.vocab_size()))
            .map(|((request, _), logits)| {
                Mutex::new(Row {
                    writer: &mut request.writer,
                    logits,
                    sampled: None,
                })
            })
            .collect();
        self.decoder.for_each(rows.len(), |index| {
            // Each index comes once, so a row is never locked twice.
            if let Ok(mut row) = rows[index].try_lock() {
                row.sample(model);
            }
        });
        let sampled: Vec<_> = rows
            .into_iter()
            .filter_map(|row| row.into_inner().ok()?.sampled)
            .collect();

        let mut sampled = sampled.into_iter();
        let mut complete = complete.into_iter();
        let (decoder, known) = (self.decoder, &mut self.known);
        self.running.retain_mut(|request| {
            match complete
                .next()
                .unwrap_or(false)
                .then(|| sampled.next())
                .flatten()
            {
                Some(sampled) => request.advance(sampled, decoder, known) == Progress::Goes,
                None => true,
            }
        });
    }
}

/// The logits of one request, and what becomes of them.
struct Row<'w, 'a> {
    writer: &'w mut Writer<'a>,
    logits: &'w mut [f32],
    sampled: Option<Result<Sampled, EngineError>>,
}

impl Row<'_, '_> {
    fn sample(&mut self, model: &LoadedModel) {
        self.sampled = Some(self.writer.sample(self.logits, model));
    }
}
