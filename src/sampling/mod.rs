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
pub use penalties::{Changes, Penalties};
pub use rng::Rng;

use std::borrow::Cow;

use crate::generation::{EndOfSequence, Profile, SamplingParams, Semantics, Token};
use numerics::{constant, first_equal, greatest, log_softmax};
use rng::{RandomDraw, categorical};

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
        let mut draw = [Draw {
            changes: self.penalties.changes(&self.history),
            sampler: self,
            logits,
            top,
        }];
        // There is one token for each draw.
        sample_together(&mut draw).swap_remove(0)
    }

    /// What decides the next token, besides the logits. What `top` alternatives are reported
    /// counts as well.
    #[must_use]
    pub fn choice(&self, top: usize) -> Choice {
        let params = &self.params;
        let random = (params.temperature != 0.0).then(|| Random {
            rng: self.rng.clone(),
            temperature: params.temperature,
            top_p: params.top_p,
            min_p: params.min_p,
            top_k: params.top_k,
            xtc: (params.xtc_probability > 0.0).then(|| Xtc {
                probability: params.xtc_probability,
                threshold: params.xtc_threshold,
                exempt: self.xtc_exempt.clone(),
            }),
            semantics: params.semantics,
        });
        Choice {
            changes: self.penalties.changes(&self.history),
            random,
            top,
        }
    }

    /// Goes on with a token that another sampler chose, whose choice was equal.
    pub fn follow(&mut self, token: &Token, rng: &Rng) {
        self.rng = rng.clone();
        self.history.push(token.id);
    }

    /// The state of its random numbers.
    #[must_use]
    pub fn rng(&self) -> &Rng {
        &self.rng
    }

    /// The random choice of a token; `None` if the likeliest is chosen.
    fn random_draw<'s>(&'s mut self, logprobs: &'s [f32]) -> Option<RandomDraw<'s>> {
        let temperature = self.params.temperature;
        if temperature == 0.0 {
            return None;
        }
        let profile = self.params.semantics.profile();
        let mut values = Cow::Borrowed(logprobs);
        self.filter(&mut values, profile);
        Some(RandomDraw {
            rng: &mut self.rng,
            values,
            // Python divides in f64, and MLX narrows the quotient.
            factor: constant(1.0 / temperature, profile.constants),
        })
    }

    /// The filters see the distribution at temperature 1, whatever the temperature.
    fn filter(&mut self, kept: &mut Cow<'_, [f32]>, profile: &Profile) {
        let params = &self.params;
        if params.top_p > 0.0 && params.top_p < 1.0 {
            top_p(kept.to_mut(), params.top_p, profile);
        }
        if params.min_p > 0.0 {
            min_p(kept.to_mut(), params.min_p, profile.constants);
        }
        // Each step draws, whether XTC then applies or not.
        let probability = constant(params.xtc_probability, profile.constants);
        if params.xtc_probability > 0.0 && self.rng.uniform() <= probability {
            xtc(
                kept.to_mut(),
                params.xtc_threshold,
                &self.xtc_exempt,
                profile.constants,
            );
        }
        if params.top_k > 0 {
            top_k(kept.to_mut(), params.top_k);
        }
    }
}

/// What decides which token a sampler chooses from given logits: where it is equal, so is the token.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    changes: Changes,
    /// `None` if the likeliest token is chosen.
    random: Option<Random>,
    top: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Random {
    rng: Rng,
    temperature: f64,
    top_p: f64,
    min_p: f64,
    top_k: usize,
    xtc: Option<Xtc>,
    semantics: Semantics,
}

#[derive(Debug, Clone, PartialEq)]
struct Xtc {
    probability: f64,
    threshold: f64,
    exempt: Vec<u32>,
}

/// A token that is to be chosen.
#[derive(Debug)]
pub struct Draw<'a> {
    sampler: &'a mut Sampler,
    changes: Changes,
    top: usize,
    logits: &'a mut [f32],
}

impl<'a> Draw<'a> {
    /// The token of a choice of `sampler`, from the model's raw logits, which are changed in place.
    pub fn new(sampler: &'a mut Sampler, choice: Choice, logits: &'a mut [f32]) -> Self {
        Self {
            sampler,
            changes: choice.changes,
            top: choice.top,
            logits,
        }
    }
}

/// [`Sampler::sample`] for several sequences: the same tokens, in less time, since most of a draw
/// is a sum whose additions wait for each other.
pub fn sample_together(draws: &mut [Draw<'_>]) -> Vec<Token> {
    let margins = draws.iter_mut().map(|draw| {
        draw.changes.apply(draw.logits);
        margin(draw.logits)
    });
    let margins: Vec<f32> = margins.collect();
    let mut rows: Vec<_> = draws.iter_mut().map(|draw| &mut *draw.logits).collect();
    log_softmax(&mut rows);
    let ids = choose(draws);
    let draws = draws.iter_mut().zip(margins).zip(ids);
    draws
        .map(|((draw, margin), id)| {
            draw.sampler.history.push(id);
            Token {
                id,
                logprob: draw.logits.get(id as usize).copied().unwrap_or(0.0),
                margin,
                top: likeliest(draw.logits, draw.top),
            }
        })
        .collect()
}

/// Each draw's token, from its log-probabilities.
fn choose(draws: &mut [Draw<'_>]) -> Vec<u32> {
    let mut ids = vec![0; draws.len()];
    let (mut places, mut random) = (Vec::new(), Vec::new());
    for (place, draw) in draws.iter_mut().enumerate() {
        match draw.sampler.random_draw(draw.logits) {
            None => ids[place] = argmax(draw.logits),
            Some(draw) => {
                places.push(place);
                random.push(draw);
            }
        }
    }
    for (place, id) in places.into_iter().zip(categorical(&mut random)) {
        ids[place] = id;
    }
    ids
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
    use proptest::prelude::*;

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

    /// Settings that do the same at first, and then not.
    fn some_settings() -> impl Strategy<Value = SamplingSettings> {
        let penalty = prop_oneof![Just(1.0), Just(1.3)];
        let window = prop_oneof![Just(2usize), Just(3), Just(8)];
        let temperature = prop_oneof![Just(0.0), Just(0.9)];
        (
            penalty,
            window,
            temperature,
            0u64..2,
            prop_oneof![Just(1.0), Just(0.9)],
        )
            .prop_map(
                |(penalty, window, temperature, seed, top_p)| SamplingSettings {
                    repetition_penalty: Some(penalty),
                    repetition_context_size: Some(window),
                    temperature: Some(temperature),
                    seed: Some(seed),
                    top_p: Some(top_p),
                    ..Default::default()
                },
            )
    }

    fn samplers(settings: &[SamplingSettings]) -> Vec<Sampler> {
        let settings = settings.iter().cloned();
        let sampler = |settings| Sampler::new(&params(settings), &ends_with(&[5]));
        settings.map(sampler).collect()
    }

    proptest! {
        #[test]
        fn who_follows_an_equal_choice_goes_on_as_if_it_had_drawn(
            settings in prop::collection::vec(some_settings(), 2..7),
            logits in prop::collection::vec(prop::collection::vec(-2.0f32..2.0, 6), 12),
        ) {
            let [mut alone, mut sharing] = [samplers(&settings), samplers(&settings)];
            for logits in logits {
                let expected = alone.iter_mut().map(|s| s.sample(&mut logits.clone(), 1));
                let expected: Vec<Token> = expected.collect();
                let choices: Vec<Choice> = sharing.iter().map(|s| s.choice(1)).collect();
                for index in 0..sharing.len() {
                    let leader = choices[..index].iter().position(|c| *c == choices[index]);
                    let token = match leader {
                        Some(leader) => {
                            let rng = sharing[leader].rng().clone();
                            sharing[index].follow(&expected[leader], &rng);
                            expected[leader].clone()
                        }
                        None => sharing[index].sample(&mut logits.clone(), 1),
                    };
                    prop_assert_eq!(&token, &expected[index]);
                }
            }
        }

        #[test]
        fn draws_together_are_those_of_each_alone(
            settings in prop::collection::vec(some_settings(), 0..10),
            logits in prop::collection::vec(prop::collection::vec(-2.0f32..2.0, 70), 10),
        ) {
            let [mut alone, mut together] = [samplers(&settings), samplers(&settings)];
            for _ in 0..3 {
                let rows = alone.iter_mut().zip(&logits);
                let expected: Vec<Token> =
                    rows.map(|(sampler, row)| sampler.sample(&mut row.clone(), 2)).collect();
                let mut rows = logits.clone();
                let mut draws: Vec<Draw<'_>> = together
                    .iter_mut()
                    .zip(&mut rows)
                    .map(|(sampler, row)| {
                        let choice = sampler.choice(2);
                        Draw::new(sampler, choice, row)
                    })
                    .collect();
                prop_assert_eq!(sample_together(&mut draws), expected);
            }
        }
    }
}
