//! From logits to a token: penalties, filters, and the random choice, in mlx-lm's order.
//!
//! One step is: logit bias, repetition, presence and frequency penalty on the raw logits;
//! log-softmax; then greedy choice, or top_p, min_p, top_k and a draw at the temperature
//! (mlx-lm 0.32.2, `sample_utils.py` and `generate.py`). The window of the penalties holds
//! generated tokens only, and end-of-sequence tokens are never penalised: both differ from
//! mlx-lm 0.32.2 on purpose, because a penalised end keeps a model from stopping.
//!
//! This module does not know models, text or requests.

mod filters;
mod penalties;
mod rng;

pub use filters::{min_p, top_k, top_p};
pub use penalties::Penalties;
pub use rng::Rng;

use crate::generation::{SamplingParams, Token};

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub struct Sampler {
    params: SamplingParams,
    penalties: Penalties,
    rng: Rng,
    generated: Vec<u32>,
}

impl Sampler {
    /// A sampler at the start of a sequence. `never_penalised` are the end-of-sequence tokens.
    #[must_use]
    pub fn new(params: &SamplingParams, never_penalised: &[u32]) -> Self {
        Self {
            penalties: Penalties::new(params, never_penalised),
            rng: Rng::seeded(params.seed),
            params: params.clone(),
            generated: Vec::new(),
        }
    }

    /// Chooses the next token from the model's raw logits, and reports `top` alternatives.
    /// The logits are changed in place. An empty vocabulary gives token 0.
    pub fn sample(&mut self, logits: &mut [f32], top: usize) -> Token {
        self.penalties.apply(&self.generated, logits);
        let margin = margin(logits);
        log_softmax(logits);
        let token = Token {
            id: self.choose(logits),
            logprob: 0.0,
            margin,
            top: likeliest(logits, top),
        };
        self.generated.push(token.id);
        Token {
            logprob: logits.get(token.id as usize).copied().unwrap_or(0.0),
            ..token
        }
    }

    fn choose(&mut self, logprobs: &[f32]) -> u32 {
        if self.params.temperature == 0.0 {
            return argmax(logprobs);
        }
        let mut kept = logprobs.to_vec();
        // The filters see the distribution at temperature 1, whatever the temperature.
        if self.params.top_p < 1.0 {
            top_p(&mut kept, self.params.top_p);
        }
        if self.params.min_p > 0.0 {
            min_p(&mut kept, self.params.min_p);
        }
        if self.params.top_k > 0 {
            top_k(&mut kept, self.params.top_k);
        }
        for value in &mut kept {
            *value *= 1.0 / self.params.temperature;
        }
        self.rng.categorical(&kept)
    }
}

/// The first of the greatest values.
fn argmax(values: &[f32]) -> u32 {
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
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for value in values {
        if *value > first {
            second = first;
            first = *value;
        } else if *value > second {
            second = *value;
        }
    }
    let margin = first - second;
    if margin.is_finite() { margin } else { 0.0 }
}

/// `x - log Σ exp x`, summed in order with the maximum taken out.
fn log_softmax(values: &mut [f32]) {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = values.iter().map(|value| libm::expf(value - max)).sum();
    let log_sum = max + libm::logf(sum);
    for value in values {
        *value -= log_sum;
    }
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

    /// A model whose favourite is always token 0, narrowly before token 1, with token 2 as its
    /// end of sequence: without a penalty it repeats for ever.
    fn stuck_model() -> Vec<f32> {
        vec![10.0, 9.9, 0.0]
    }

    #[test]
    fn the_default_penalty_breaks_a_loop_and_its_absence_does_not() {
        let mut cured = Sampler::new(&params(SamplingSettings::default()), &[2]);
        let first = cured.sample(&mut stuck_model(), 0).id;
        let second = cured.sample(&mut stuck_model(), 0).id;
        assert_eq!([first, second], [0, 1]);

        let off = SamplingSettings {
            repetition_penalty: Some(1.0),
            ..Default::default()
        };
        let mut looping = Sampler::new(&params(off), &[2]);
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
            &[],
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
                &[],
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
                Sampler::new(&params(settings), &[]).sample(&mut logits, 2);
            }
        }
    }
}
