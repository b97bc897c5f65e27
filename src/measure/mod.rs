//! Measures how fast a loaded engine is: prefill, and decode of one or many sequences.
//!
//! Everything goes through [`Engine::submit`], so a figure holds for what a user of the engine
//! gets: scheduling, greedy sampling with log-probabilities, and hand-over included. Prompts are
//! random token ids, no two alike; what the model makes of them does not matter for its speed.
//! This module does not know models, flags or terminals, and does not judge the figures.

mod spread;
mod window;

use std::time::{Duration, Instant};

pub use spread::Spread;

use crate::engine::{Engine, EngineError, Events};
use crate::generation::{EventKind, GenerateRequest, Prompt, SamplingParams, SamplingSettings};

/// How often sequences that did not come together may try again, each time with longer answers.
const ATTEMPTS: usize = 4;

/// What to measure. All numbers are at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurements {
    /// Tokens of the prompts whose prefill is measured.
    pub prompt: usize,
    /// Decode steps of each sequence that are measured.
    pub tokens: usize,
    /// Tokens in the context of each sequence before its first decode step.
    pub depth: usize,
    /// How many sequences decode together, one measurement for each entry.
    pub batches: Vec<usize>,
    /// How often everything is measured, after one round to warm up.
    pub repeats: usize,
}

/// One timed stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Tokens of all sequences in it.
    pub tokens: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl Sample {
    /// Tokens of all sequences per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.tokens as f64 / self.elapsed.as_secs_f64()
    }
}

/// Every sample of a series of measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The very first prompt's time to first token, when nothing was warm.
    pub cold: Duration,
    /// From request to first token, over the prompt's tokens; one per repeat.
    pub prefill: Vec<Sample>,
    /// For each batch its samples, one per repeat.
    pub decode: Vec<(usize, Vec<Sample>)>,
}

/// What is being measured, for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The prefill of one prompt.
    Prefill,
    /// This many sequences decode.
    Decode(usize),
}

impl Measurements {
    /// How many steps there are, the round to warm up included.
    #[must_use]
    pub fn steps(&self) -> usize {
        (self.repeats + 1) * (self.batches.len() + 1)
    }

    /// Most positions that are held at the same time, in tokens of all sequences: what the KV
    /// cache needs.
    #[must_use]
    pub fn positions(&self, prefill_chunk: usize) -> usize {
        let decode = self
            .batches
            .iter()
            .map(|sequences| sequences * (self.depth + self.answer(*sequences, prefill_chunk)));
        decode.fold(self.prompt + 1, usize::max)
    }

    /// Tokens that each of `sequences` has to generate, so that all of them decode together for
    /// `tokens` steps: the first token ends prefill, and while the last one joins, the others
    /// decode already, by one step for each chunk of prompt that is computed in the meantime.
    fn answer(&self, sequences: usize, prefill_chunk: usize) -> usize {
        let joining = match sequences {
            1 => 0,
            _ => sequences * self.depth.div_ceil(prefill_chunk),
        };
        1 + self.tokens + joining
    }

    /// Measures everything in turn, round after round, so that a machine that changes its pace
    /// meanwhile does not favour one of them. `step` hears what comes next.
    ///
    /// # Errors
    /// If the engine refuses a prompt, fails, or stops.
    pub fn run(
        &self,
        engine: &Engine,
        prefill_chunk: usize,
        step: &mut dyn FnMut(Step),
    ) -> Result<Measured, EngineError> {
        let mut prompts = Prompts::new(engine.model().vocab_size());
        let mut measured = Measured {
            cold: Duration::ZERO,
            prefill: Vec::new(),
            decode: self
                .batches
                .iter()
                .map(|size| (*size, Vec::new()))
                .collect(),
        };
        for round in 0..=self.repeats {
            let warming = round == 0;
            step(Step::Prefill);
            let prefill = self.prefill(engine, &mut prompts)?;
            if warming {
                measured.cold = prefill.elapsed;
            } else {
                measured.prefill.push(prefill);
            }
            for (sequences, samples) in &mut measured.decode {
                step(Step::Decode(*sequences));
                let answer = self.answer(*sequences, prefill_chunk);
                let sample = self.decode(engine, &mut prompts, *sequences, answer)?;
                if !warming {
                    samples.push(sample);
                }
            }
        }
        Ok(measured)
    }

    fn prefill(&self, engine: &Engine, prompts: &mut Prompts) -> Result<Sample, EngineError> {
        let times = generate(engine, vec![prompts.next(self.prompt)], 1)?;
        let (submitted, tokens) = times.first().ok_or(EngineError::Stopped)?;
        let first = tokens.first().ok_or(EngineError::Stopped)?;
        Ok(Sample {
            tokens: self.prompt,
            elapsed: first.duration_since(*submitted),
        })
    }

    fn decode(
        &self,
        engine: &Engine,
        prompts: &mut Prompts,
        sequences: usize,
        mut answer: usize,
    ) -> Result<Sample, EngineError> {
        for _ in 0..ATTEMPTS {
            let prompts = (0..sequences).map(|_| prompts.next(self.depth)).collect();
            let times = generate(engine, prompts, answer)?;
            let times: Vec<Vec<Instant>> = times.into_iter().map(|(_, tokens)| tokens).collect();
            if let Some(elapsed) = window::together(&times, self.tokens) {
                return Ok(Sample {
                    tokens: sequences * self.tokens,
                    elapsed,
                });
            }
            // This thread was held up between two requests, while the first of them decoded.
            answer = 2 * answer + sequences;
        }
        Err(EngineError::Request(format!(
            "{sequences} sequences did not once decode {} steps together, so there is nothing to measure; the machine is too busy",
            self.tokens
        )))
    }
}

/// Submits all prompts at once, and returns for each when it was submitted and when each of its
/// `answer` tokens came.
fn generate(
    engine: &Engine,
    prompts: Vec<Vec<u32>>,
    answer: usize,
) -> Result<Vec<(Instant, Vec<Instant>)>, EngineError> {
    let sampling = greedy(answer)?;
    let mut running: Vec<Running> = Vec::with_capacity(prompts.len());
    for tokens in prompts {
        let request = GenerateRequest {
            prompt: Prompt::Tokens { tokens },
            sampling: sampling.clone(),
            top_logprobs: 0,
            constraint: None,
        };
        running.push(Running {
            submitted: Instant::now(),
            receiver: Some(engine.submit(request)),
            tokens: Vec::with_capacity(answer),
        });
    }
    // One event of each in turn: they decode together, so no reader falls far behind, which
    // would make its sequence wait.
    while running.iter().any(|sequence| sequence.receiver.is_some()) {
        for sequence in &mut running {
            sequence.read()?;
        }
    }
    Ok(running
        .into_iter()
        .map(|sequence| (sequence.submitted, sequence.tokens))
        .collect())
}

/// The cheapest way to a token, which is also what other benchmarks use: no penalties.
fn greedy(answer: usize) -> Result<SamplingParams, EngineError> {
    let settings = SamplingSettings {
        temperature: Some(0.0),
        repetition_penalty: Some(1.0),
        max_tokens: Some(answer),
        ignore_eos: Some(true),
        ..SamplingSettings::default()
    };
    settings
        .resolve()
        .map_err(|error| EngineError::Request(error.to_string()))
}

/// A sequence that is being read.
struct Running {
    /// The zero of its events' times.
    submitted: Instant,
    /// `None` when it has finished.
    receiver: Option<Events>,
    tokens: Vec<Instant>,
}

impl Running {
    fn read(&mut self) -> Result<(), EngineError> {
        let Some(receiver) = &mut self.receiver else {
            return Ok(());
        };
        let event = receiver.blocking_recv().ok_or(EngineError::Stopped)??;
        match event.kind {
            EventKind::Delta { .. } => self.tokens.push(self.submitted + event.at),
            EventKind::Finished { .. } => self.receiver = None,
            EventKind::Started { .. }
            | EventKind::Said { .. }
            | EventKind::Text(_)
            | EventKind::ToolCall(_)
            | EventKind::Retried(_)
            | EventKind::Streamed(_) => {}
        }
        Ok(())
    }
}

/// Random prompts, the same in every process.
struct Prompts {
    vocabulary: u64,
    state: u64,
}

impl Prompts {
    fn new(vocabulary: usize) -> Self {
        Self {
            vocabulary: vocabulary.max(1) as u64,
            state: 0,
        }
    }

    fn next(&mut self, length: usize) -> Vec<u32> {
        (0..length).map(|_| self.token()).collect()
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn token(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The remainder is below the vocabulary, whose ids are u32 everywhere.
        (mixed % self.vocabulary) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurements(depth: usize, batches: &[usize]) -> Measurements {
        Measurements {
            prompt: 256,
            tokens: 64,
            depth,
            batches: batches.to_vec(),
            repeats: 5,
        }
    }

    #[test]
    fn no_two_prompts_are_alike_and_all_ids_exist() {
        let mut prompts = Prompts::new(50);
        let first = prompts.next(40);
        let second = prompts.next(40);
        assert_ne!(first, second);
        assert!(first.iter().chain(&second).all(|id| *id < 50));
        assert_eq!(first, Prompts::new(50).next(40));
    }

    #[test]
    fn sequences_get_spare_tokens_for_the_time_in_which_the_last_one_joins() {
        assert_eq!(measurements(1, &[1]).answer(1, 512), 65);
        assert_eq!(measurements(1, &[8]).answer(8, 512), 73);
        assert_eq!(measurements(1000, &[8]).answer(8, 512), 81);
    }

    #[test]
    fn the_kv_cache_has_to_hold_the_largest_batch_or_the_prompt() {
        assert_eq!(measurements(1, &[1]).positions(512), 257);
        assert_eq!(measurements(1, &[1, 8]).positions(512), 8 * 74);
    }
}
