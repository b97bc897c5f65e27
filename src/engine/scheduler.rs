//! The engine's loop: which requests take part in the next pass over the weights.
//!
//! Every step feeds one token of each decoding request and a chunk of the prompts that are not
//! complete yet, in the order of arrival. Requests join and leave between steps.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::prefix_cache::PrefixCache;
use super::request::{Progress, Running};
use super::{EngineOptions, Job, LoadedModel};
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
    let mut known = PrefixCache::new(options.prefix_cache_bytes, decoder.kv_bytes_per_position());
    let mut running: Vec<Running<'_, B>> = Vec::new();
    loop {
        while running.len() < options.max_batch.max(1) {
            let job = if running.is_empty() {
                queue.blocking_recv().ok_or(TryRecvError::Disconnected)
            } else {
                queue.try_recv()
            };
            match job {
                Ok(job) => running.extend(Running::start(job, model, decoder, &mut known)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if running.is_empty() => return,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        running.retain(|request| !request.is_abandoned());
        step(&mut running, decoder, model, options, &mut known);
    }
}

/// One pass over the weights.
fn step<'a, B: Backend>(
    running: &mut Vec<Running<'a, B>>,
    decoder: &Decoder<B>,
    model: &'a LoadedModel,
    options: &EngineOptions,
    known: &mut PrefixCache<B>,
) {
    let mut prompt_tokens = options.prefill_chunk.max(1);
    // Which requests take part, and with how many tokens.
    let mut parts = vec![0; running.len()];
    for (part, request) in parts.iter_mut().zip(running.iter()) {
        if !request.has_room() {
            continue;
        }
        match request.waiting() {
            1 => *part = 1,
            prompt => {
                *part = prompt.min(prompt_tokens);
                prompt_tokens -= *part;
            }
        }
    }
    if parts.iter().all(|part| *part == 0) {
        if !running.is_empty() {
            std::thread::sleep(FULL_READERS);
        }
        return;
    }

    let mut feeds: Vec<_> = running
        .iter_mut()
        .zip(&parts)
        .filter(|(_, part)| **part > 0)
        .map(|(request, part)| request.feed(*part))
        .collect();
    let wanting: Vec<bool> = feeds.iter().map(|feed| feed.logits).collect();
    let outcome = decoder.feed(&mut feeds);
    drop(feeds);

    let mut logits = match outcome {
        Ok(logits) => logits.into_iter(),
        Err(error) => {
            // Nobody can say how far each sequence came, so all of the batch end here.
            let problem = error.to_string();
            for request in running.drain(..) {
                let error = ModelError::Backend(BackendError(problem.clone()));
                request.fail(error.into());
            }
            return;
        }
    };
    let mut wanting = wanting.into_iter();
    let mut parts = parts.into_iter();
    running.retain_mut(|request| {
        let took_part = parts.next().is_some_and(|part| part > 0);
        if !took_part || !wanting.next().unwrap_or(false) {
            return true;
        }
        let Some(logits) = logits.next() else {
            return true;
        };
        request.step(logits, model, decoder, known) == Progress::Goes
    });
}
