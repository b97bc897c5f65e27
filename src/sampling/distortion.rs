//! How far penalties move the distribution of the next token, on a text that is already written.
//!
//! The text is fed token by token (teacher forcing), and at each step the distribution behind the
//! penalties is compared with the raw one of the same logits, both at temperature 1. Any number
//! of settings share one pass over the text. It does not know where logits come from, or whether
//! a text is a good one.

use super::{Penalties, Sequence, at_start};
use crate::generation::SamplingParams;

/// What penalties did to one step. `p` is the raw distribution, `q` the penalised one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Distortion {
    /// The divergence of Kullback and Leibler, `Σ q ln(q/p)`, in nats; at least 0.
    pub kl: f64,
    /// The total variation, `½ Σ |q - p|`, 0 to 1: the share of draws that come out otherwise,
    /// at least.
    pub total_variation: f64,
    /// Whether another token is the likeliest now.
    pub flipped: bool,
    /// Probability that the end-of-sequence tokens gained, negative if they lost it.
    pub eos_gain: f64,
}

/// Settings that are compared on one text.
#[derive(Debug)]
pub struct TeacherForced<'a> {
    settings: Vec<Setting>,
    eos: &'a [u32],
}

#[derive(Debug)]
struct Setting {
    penalties: Penalties,
    /// The tokens that its windows are cut from.
    history: Vec<u32>,
}

impl<'a> TeacherForced<'a> {
    /// Settings at the start of the text that answers `sequence`.
    #[must_use]
    pub fn new(settings: &[SamplingParams], sequence: &Sequence<'a>) -> Self {
        let setting = |params: &SamplingParams| {
            let (penalties, history) = at_start(params, sequence);
            Setting { penalties, history }
        };
        Self {
            settings: settings.iter().map(setting).collect(),
            eos: sequence.eos,
        }
    }

    /// What each setting does to the raw logits in front of `next`, which the text then goes on
    /// with.
    pub fn step(&mut self, raw: &[f32], next: u32) -> Vec<Distortion> {
        let raw = Raw::of(raw, self.eos);
        let mut buffer = raw.logits.to_vec();
        let each = self.settings.iter_mut().map(|setting| {
            buffer.copy_from_slice(raw.logits);
            setting.penalties.apply(&setting.history, &mut buffer);
            setting.history.push(next);
            raw.against(&buffer)
        });
        each.collect()
    }
}

/// The raw distribution of a step, computed once for all settings.
struct Raw<'a> {
    logits: &'a [f32],
    eos: &'a [u32],
    greatest: f64,
    /// The sum of `exp(logit - greatest)`.
    sum: f64,
    eos_mass: f64,
}

impl<'a> Raw<'a> {
    fn of(logits: &'a [f32], eos: &'a [u32]) -> Self {
        let greatest = logits
            .iter()
            .fold(f64::NEG_INFINITY, |greatest, l| greatest.max(f64::from(*l)));
        let sum: f64 = logits
            .iter()
            .map(|l| (f64::from(*l) - greatest).exp())
            .sum();
        let mut raw = Self {
            logits,
            eos,
            greatest,
            sum,
            eos_mass: 0.0,
        };
        raw.eos_mass = raw.eos.iter().map(|id| raw.weight(logits, *id) / sum).sum();
        raw
    }

    fn weight(&self, logits: &[f32], id: u32) -> f64 {
        let logit = logits.get(id as usize).copied();
        logit.map_or(0.0, |logit| (f64::from(logit) - self.greatest).exp())
    }

    /// Penalties change few logits, and for the others only the sum is another one.
    fn against(&self, penalised: &[f32]) -> Distortion {
        let pairs = self.logits.iter().zip(penalised).enumerate();
        let changed: Vec<(f64, f64)> = pairs
            .filter(|(_, (before, after))| before != after)
            .map(|(_, (before, after))| (f64::from(*before), f64::from(*after)))
            .collect();
        if changed.is_empty() {
            return Distortion::default();
        }
        let weight = |logit: f64| (logit - self.greatest).exp();
        let gained: f64 = changed
            .iter()
            .map(|(before, after)| weight(*after) - weight(*before))
            .sum();
        let sum = (self.sum + gained).max(f64::MIN_POSITIVE);
        let (mut kl, mut moved, mut touched) = ((self.sum / sum).ln(), 0.0, 0.0);
        for (before, after) in changed {
            let (p, q) = (weight(before) / self.sum, weight(after) / sum);
            kl += q * (after - before);
            moved += (q - p).abs();
            touched += p;
        }
        let untouched = (1.0 - touched).max(0.0);
        moved += untouched * (self.sum / sum - 1.0).abs();
        let eos_mass: f64 = (self.eos.iter())
            .map(|id| self.weight(penalised, *id) / sum)
            .sum();
        Distortion {
            // Rounding can leave a hair below nothing.
            kl: kl.max(0.0),
            total_variation: (moved / 2.0).min(1.0),
            flipped: first_greatest(self.logits) != first_greatest(penalised),
            eos_gain: eos_mass - self.eos_mass,
        }
    }
}

/// The token that greedy decoding takes.
fn first_greatest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::SamplingSettings;

    fn penalty(penalty: f64, window: usize) -> SamplingParams {
        let settings = SamplingSettings {
            repetition_penalty: Some(penalty),
            repetition_context_size: Some(window),
            ..SamplingSettings::default()
        };
        settings.resolve().expect("in range")
    }

    fn softmax(logits: &[f32]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        logits.iter().map(|l| f64::from(*l).exp() / sum).collect()
    }

    const RAW: [f32; 5] = [3.0, 2.5, -1.0, 0.5, 2.0];

    /// The short way against the definitions, over the whole vocabulary.
    #[test]
    fn a_step_is_what_the_definitions_say() {
        let eos = [4];
        let sequence = Sequence {
            eos: &eos,
            ..Sequence::default()
        };
        let mut text = TeacherForced::new(&[penalty(1.5, 20)], &sequence);
        text.step(&RAW, 0);
        text.step(&RAW, 2);
        let found = text.step(&RAW, 1)[0];
        let (p, q) = (softmax(&RAW), softmax(&[2.0, 2.5, -1.5, 0.5, 2.0]));
        let both = || p.iter().zip(&q);
        let kl: f64 = both().map(|(p, q)| q * (q / p).ln()).sum();
        let total_variation = both().map(|(p, q)| (q - p).abs()).sum::<f64>() / 2.0;
        assert!((found.kl - kl).abs() < 1e-9, "{found:?}");
        assert!((found.total_variation - total_variation).abs() < 1e-9);
        assert!((found.eos_gain - (q[4] - p[4])).abs() < 1e-9 && found.eos_gain > 0.0);
        assert!(found.flipped);
    }

    #[test]
    fn each_setting_has_its_own_window_and_no_penalty_does_nothing() {
        let settings = [penalty(1.0, 20), penalty(1.5, 1), penalty(1.5, 20)];
        let mut text = TeacherForced::new(&settings, &Sequence::default());
        assert!(
            text.step(&RAW, 0)
                .iter()
                .all(|d| *d == Distortion::default())
        );
        text.step(&RAW, 3);
        let [none, short, long] = text.step(&RAW, 1)[..] else {
            panic!("three settings");
        };
        assert_eq!(none, Distortion::default());
        assert!(!short.flipped && long.flipped && short.kl < long.kl);
    }
}
