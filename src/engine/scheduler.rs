//! The engine's loop: which requests take part in the next pass over the weights.
//!
//! Every step feeds one token of each decoding request and a chunk of the prompts that are not
//! complete yet, in the order of arrival. Requests join and leave between steps. Requests with
//! one history share its sequence. A prompt that begins like the one of an earlier request takes
//! the common part over from it, and waits for it meanwhile.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::counters::{Counters, Counting};
use super::draws::Turn;
use super::prefix_cache::PrefixCache;
use super::running::Running;
use super::writer::{Sampled, Writer};
use super::{EngineError, EngineOptions, Job, LoadedModel, Task};
use crate::backend::{Backend, BackendError};
use crate::generation::Prompt;
use crate::model::{Decoder, Logits};

/// How long to sleep when every reader is slower than the model.
const FULL_READERS: Duration = Duration::from_millis(1);

/// Answers requests until the queue is closed and all are answered.
pub(super) fn run<B: Backend>(
    decoder: &Decoder<B>,
    model: &LoadedModel,
    options: &EngineOptions,
    counting: Counting,
    mut queue: UnboundedReceiver<Task>,
) {
    let known = PrefixCache::new(options.prefix_cache_bytes, decoder.kv_bytes_per_position());
    let mut scheduler = Scheduler {
        decoder,
        model,
        options,
        known,
        counting,
        last_prompt: None,
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
    counting: Counting,
    /// What was tokenized last, with its ids.
    last_prompt: Option<(Prompt, Vec<u32>)>,
    /// In the order of arrival.
    running: Vec<Running<'a, B>>,
}

impl<'a, B: Backend> Scheduler<'a, B> {
    /// Takes requests from the queue while there is room; waits for one if nothing runs. False
    /// if there is nothing left to do.
    fn admit(&mut self, queue: &mut UnboundedReceiver<Task>) -> bool {
        let mut requests: usize = self.running.iter().map(|r| r.writers.len()).sum();
        while requests < self.options.max_batch.max(1) {
            let task = if self.running.is_empty() {
                queue.blocking_recv().ok_or(TryRecvError::Disconnected)
            } else {
                queue.try_recv()
            };
            match task {
                Ok(Task::Score(job)) => {
                    job.run(self.decoder, &mut self.known, self.options.prefill_chunk);
                }
                Ok(Task::Generate(job)) => {
                    let events = job.events.clone();
                    match self.begin(*job) {
                        Ok(()) => requests += 1,
                        // A reader that has gone does not want the error either.
                        Err(error) => drop(events.try_send(Err(error))),
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return !self.running.is_empty(),
            }
        }
        true
    }

    /// Tokenizes the prompt, tells the reader that the request has begun, and gives it a place:
    /// with the requests that have the same history, if there are any.
    fn begin(&mut self, job: Job) -> Result<(), EngineError> {
        self.model.check_ids(&job.request.sampling)?;
        let tokens = self.tokenize(&job.request.prompt)?;
        match self.running.iter_mut().find(|r| r.tokens() == tokens) {
            Some(same) => same.join(job, self.model)?,
            None => {
                let known = &mut self.known;
                let running = Running::start(tokens, job, self.model, self.decoder, known)?;
                self.running.push(running);
            }
        }
        Ok(())
    }

    /// The ids of a prompt. The points of a sweep bring the same one in a row, and a chat template
    /// takes as long as a pass.
    fn tokenize(&mut self, prompt: &Prompt) -> Result<Vec<u32>, EngineError> {
        if let Some((_, tokens)) = self.last_prompt.as_ref().filter(|(last, _)| last == prompt) {
            return Ok(tokens.clone());
        }
        let tokens = self.model.tokenize(prompt)?;
        self.last_prompt = Some((prompt.clone(), tokens.clone()));
        Ok(tokens)
    }

    /// Ends the requests whose readers have gone. What they computed stays of use.
    fn drop_abandoned(&mut self) {
        let (decoder, known) = (self.decoder, &mut self.known);
        self.running.retain_mut(|running| {
            running.writers.retain(|writer| !writer.is_abandoned());
            let wanted = !running.writers.is_empty();
            if !wanted {
                // Nobody is left to be told of a failure.
                let _ = running.keep(decoder, known);
            }
            wanted
        });
    }

    /// One pass over the weights.
    fn step(&mut self) {
        self.part_from_slow_readers();
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
            let writers = self.running.iter_mut().flat_map(|r| &mut r.writers);
            writers.for_each(Writer::tell);
        }

        let taking_part = self
            .running
            .iter_mut()
            .zip(&parts)
            .filter(|(_, part)| **part > 0);
        let mut feeds: Vec<_> = taking_part
            .map(|(running, part)| running.feed(*part))
            .collect();
        match self.decoder.feed(&mut feeds) {
            Ok(logits) => self.advance(logits, &parts),
            Err(error) => {
                // Nobody can say how far each sequence came, so all of the batch end here.
                let problem = error.to_string();
                for mut writer in self.running.drain(..).flat_map(|r| r.writers) {
                    writer.fail(BackendError(problem.clone()).into());
                }
            }
        }
    }

    /// Makes a slow reader wait for nobody's sake but its own.
    fn part_from_slow_readers(&mut self) {
        for index in (0..self.running.len()).rev() {
            if let Some(slow) = self.running[index].part_from_slow_readers(self.decoder) {
                self.running.insert(index + 1, slow);
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
            let Some(request) = rest.first_mut().filter(|running| running.waiting() > 1) else {
                continue;
            };
            let shares = earlier.iter().zip(&held).map(|(other, other_is_held)| {
                let shared = request.shared_with(other);
                let computed = shared.min(other.position());
                let goes_on = !other_is_held && other.has_room();
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
                if *held || !request.has_room() {
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
    fn advance(&mut self, mut logits: Logits, parts: &[usize]) {
        let complete: Vec<bool> = self
            .running
            .iter()
            .zip(parts)
            .map(|(running, part)| *part > 0 && running.waiting() == 0)
            .collect();
        let complete_ones = self.running.iter().zip(&complete).filter(|(_, c)| **c);
        // Before anybody hears of the tokens.
        self.counting.add(Counters {
            passes: 1,
            computed_tokens: parts.iter().sum::<usize>() as u64,
            sampled_tokens: complete_ones.map(|(r, _)| r.writers.len() as u64).sum(),
        });
        let sampled = self.sample(&mut logits, &complete);
        self.decoder.reuse(logits);
        let mut sampled = sampled.into_iter();
        let (decoder, known) = (self.decoder, &mut self.known);
        let before = std::mem::take(&mut self.running).into_iter().zip(complete);
        for (running, complete) in before {
            match complete.then(|| sampled.next()).flatten() {
                Some(sampled) => {
                    let branches = running.advance(sampled, decoder, known);
                    self.running.extend(branches);
                }
                None => self.running.push(running),
            }
        }
    }

    /// What each writer of the complete sequences draws from the logits behind its sequence.
    fn sample(
        &mut self,
        logits: &mut Logits,
        complete: &[bool],
    ) -> Vec<Vec<Result<Sampled, EngineError>>> {
        let model = self.model;
        let complete = self.running.iter_mut().zip(complete).filter(|(_, c)| **c);
        let turns = complete.zip(logits.rows_mut());
        let mut turns: Vec<Turn<'_, 'a>> = turns
            .map(|((running, _), logits)| Turn::new(&mut running.writers, logits))
            .collect();
        let tasks: Vec<_> = Turn::tasks(&mut turns)
            .into_iter()
            .map(Mutex::new)
            .collect();
        self.decoder.for_each(tasks.len(), |index| {
            // Each index comes once, so turns are never locked twice.
            if let Ok(mut turns) = tasks[index].try_lock() {
                Turn::draw_all(&mut turns, model);
            }
        });
        drop(tasks);
        turns.into_iter().map(|turn| turn.sampled).collect()
    }
}
