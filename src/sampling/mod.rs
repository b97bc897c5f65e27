//! From logits to a token: penalties, filters, and the random choice, in mlx-lm's order.
//!
//! One step is: logit bias, repetition, presence and frequency penalty on the raw logits;
//! log-softmax; then greedy choice, or top_p, min_p, XTC, top_k and a draw at the temperature
//! (mlx-lm 0.32.2, `sample_utils.py` and `generate.py`). Where versions differ, a
//! [`Profile`] says what to do. Under the default one the windows of
//! the penalties hold tokens of the answer only, and end-of-sequence tokens are never penalised:
//! both differ from mlx-lm 0.32.2 on purpose, because a penalised end keeps a model from stopping.
//!
//! Given the same logits, each profile draws the tokens that its version draws with MLX on an
//! x86-64 CPU, and the same tokens on every other machine.
//!
//! This module does not know models, text or requests.

mod distortion;
mod filters;
mod numerics;
mod penalties;
mod rng;

pub use distortion::{Distortion, TeacherForced};
pub use filters::{min_p, top_k, top_p, xtc};
pub use penalties::Penalties;
pub use rng::Rng;

use crate::generation::{EndOfSequence, Profile, SamplingParams, Token};
use numerics::{constant, first_equal, greatest, log_softmax};

/// What a sampler has to know about the sequence that it continues.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequence<'a> {
    /// The ids of the whole prompt.
    pub prompt: &'a [u32],
    /// How many of them, from the front, came from a prompt cache.
    pub cached: usize,
    /// The end-of-sequence tokens.
    pub eos: &'a [u32],
    /// The tokens of a line break, which XTC never removes, as it never removes `eos`.
    pub newline: &'a [u32],
}

/// The penalties on the answer to `sequence`, and the tokens that their windows are cut from
/// before its first one.
fn at_start(params: &SamplingParams, sequence: &Sequence<'_>) -> (Penalties, Vec<u32>) {
    let profile = params.semantics.profile();
    let window = match params.seed {
        Some(_) => profile.seeded_window,
        None => profile.window,
    };
    let never_penalised = match profile.end_of_sequence {
        EndOfSequence::Exempt => sequence.eos,
        EndOfSequence::Penalised => &[],
    };
    let history = window.of_prompt(sequence.prompt, sequence.cached);
    (Penalties::new(params, never_penalised), history.to_vec())
}

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
    params: SamplingParams,
    penalties: Penalties,
    rng: Rng,
    /// The tokens that the windows of the penalties are cut from.
    history: Vec<u32>,
    xtc_exempt: Vec<u32>,
}

impl Sampler {
    /// A sampler at the start of the answer to `sequence`.
    #[must_use]
    pub fn new(params: &SamplingParams, sequence: &Sequence<'_>) -> Self {
        let (penalties, history) = at_start(params, sequence);
        Self {
            penalties,
            rng: Rng::seeded(params.seed.unwrap_or(0), params.semantics.profile()),
            params: params.clone(),
            history,
            xtc_exempt: [sequence.newline, sequence.eos].concat(),
        }
    }

    /// Chooses the next token from the model's raw logits, and reports `top` alternatives.
    /// The logits are changed in place. An empty vocabulary gives token 0.
    pub fn sample(&mut self, logits: &mut [f32], top: usize) -> Token {
        self.penalties.apply(&self.history, logits);
        let margin = margin(logits);
        log_softmax(logits);
        let token = Token {
            id: self.choose(logits),
            logprob: 0.0,
            margin,
            top: likeliest(logits, top),
        };
        self.history.push(token.id);
        Token {
            logprob: logits.get(token.id as usize).copied().unwrap_or(0.0),
            ..token
        }
    }

    fn choose(&mut self, logprobs: &[f32]) -> u32 {
        if self.params.temperature == 0.0 {
            return argmax(logprobs);
        }
        let profile = self.params.semantics.profile();
        let mut kept = logprobs.to_vec();
        self.filter(&mut kept, profile);
        // Python divides in f64, and MLX narrows the quotient.
        let inverse = constant(1.0 / self.params.temperature, profile.constants);
        for value in &mut kept {
            *value *= inverse;
        }
        self.rng.categorical(&kept)
    }

    /// The filters see the distribution at temperature 1, whatever the temperature.
    fn filter(&mut self, kept: &mut [f32], profile: &Profile) {
        let params = &self.params;
        if params.top_p > 0.0 && params.top_p < 1.0 {
            top_p(kept, params.top_p, profile);
        }
        if params.min_p > 0.0 {
            min_p(kept, params.min_p, profile.constants);
        }
        // Each step draws, whether XTC then applies or not.
        let probability = constant(params.xtc_probability, profile.constants);
        if params.xtc_probability > 0.0 && self.rng.uniform() <= probability {
            xtc(
                kept,
                params.xtc_threshold,
                &self.xtc_exempt,
                profile.constants,
            );
        }
        if params.top_k > 0 {
            top_k(kept, params.top_k);
        }
    }
}

/// The first of the greatest values; of none, 0.
fn argmax(values: &[f32]) -> u32 {
    if let Some([first, _]) = greatest(values) {
        return first_equal(values, first).unwrap_or(0) as u32;
    }
    // With something that is not a number, the order of comparisons counts.
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best as u32
}

/// Distance between the greatest and the second-greatest value; 0 with fewer than two.
fn margin(values: &[f32]) -> f32 {
    // With something that is not a number, the token is refused whatever its margin.
    let Some([first, second]) = greatest(values) else {
        return 0.0;
    };
    let margin = first - second;
    if margin.is_finite() { margin } else { 0.0 }
}

/// The `count` likeliest ids with their log-probabilities, likeliest first, ties by id.
fn likeliest(logprobs: &[f32], count: usize) -> Vec<(u32, f32)> {
    if count == 0 {
        return Vec::new();
    }
    let mut ids: Vec<u32> = (0..logprobs.len() as u32).collect();
    let order = |a: &u32, b: &u32| {
        logprobs[*b as usize]
            .total_cmp(&logprobs[*a as usize])
            .then(a.cmp(b))
    };
    if count < ids.len() {
        ids.select_nth_unstable_by(count, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids.into_iter()
        .map(|id| (id, logprobs[id as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::SamplingSettings;

    fn params(settings: SamplingSettings) -> SamplingParams {
        settings.resolve().expect("in range")
    }

    fn ends_with(eos: &[u32]) -> Sequence<'_> {
        Sequence {
            eos,
            ..Sequence::default()
        }
    }

    /// A model whose favourite is always token 0, narrowly before token 1, with token 2 as its
    /// end of sequence: without a penalty it repeats for ever.
    fn stuck_model() -> Vec<f32> {
        vec![10.0, 9.9, 0.0]
    }

    #[test]
    fn the_default_penalty_breaks_a_loop_and_its_absence_does_not() {
        let mut cured = Sampler::new(&params(SamplingSettings::default()), &ends_with(&[2]));
        let first = cured.sample(&mut stuck_model(), 0).id;
        let second = cured.sample(&mut stuck_model(), 0).id;
        assert_eq!([first, second], [0, 1]);

        let off = SamplingSettings {
            repetition_penalty: Some(1.0),
            ..Default::default()
        };
        let mut looping = Sampler::new(&params(off), &ends_with(&[2]));
        let ids: Vec<u32> = (0..50)
            .map(|_| looping.sample(&mut stuck_model(), 0).id)
            .collect();
        assert_eq!(ids, [0; 50]);
    }

    #[test]
    fn the_report_is_after_penalties_and_before_temperature() {
        let mut sampler = Sampler::new(
            &params(SamplingSettings {
                temperature: Some(0.5),
                repetition_penalty: Some(1.0),
                top_k: Some(1),
                ..Default::default()
            }),
            &Sequence::default(),
        );
        let token = sampler.sample(&mut [2.0, 1.0, 0.0], 2);
        let log_sum = (2f32.exp() + 1f32.exp() + 1.0).ln();
        assert_eq!(token.id, 0);
        assert!((token.logprob - (2.0 - log_sum)).abs() < 1e-6);
        assert!((token.margin - 1.0).abs() < 1e-6);
        let ids: Vec<u32> = token.top.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [0, 1]);
    }

    #[test]
    fn a_seed_fixes_the_draws_and_another_seed_changes_them() {
        let draw = |seed| {
            let mut sampler = Sampler::new(
                &params(SamplingSettings {
                    temperature: Some(1.0),
                    repetition_penalty: Some(1.0),
                    seed: Some(seed),
                    ..Default::default()
                }),
                &Sequence::default(),
            );
            (0..32)
                .map(|_| sampler.sample(&mut [0.1; 16], 0).id)
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn logits_that_are_not_numbers_do_not_panic() {
        for mut logits in [vec![], vec![f32::NAN; 4], vec![f32::NEG_INFINITY; 4]] {
            for temperature in [0.0, 1.0] {
                let settings = SamplingSettings {
                    temperature: Some(temperature),
                    top_p: Some(0.5),
                    top_k: Some(2),
                    min_p: Some(0.1),
                    ..Default::default()
                };
                Sampler::new(&params(settings), &Sequence::default()).sample(&mut logits, 2);
            }
        }
    }
}
