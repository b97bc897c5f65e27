//! Logit bias and the three penalties on recent tokens.

use std::sync::Arc;

use crate::generation::SamplingParams;

/// The processors of one sequence: what they add, and to whom they do not apply.
#[derive(Debug, Clone)]
pub struct Penalties {
    bias: Arc<[(u32, f32)]>,
    repetition: Option<Penalty>,
    presence: Option<Penalty>,
    frequency: Option<Penalty>,
    exempt: Vec<u32>,
}

/// A penalty that is not off.
#[derive(Debug, Clone, Copy)]
struct Penalty {
    value: f32,
    /// Most tokens looked at; 0 is the whole history.
    context_size: usize,
}

impl Penalties {
    /// The processors for `params`; the tokens `exempt` are never penalised.
    #[must_use]
    pub fn new(params: &SamplingParams, exempt: &[u32]) -> Self {
        let unless = |off: &[f64], value: f64, context_size| {
            (!off.contains(&value)).then_some(Penalty {
                value: value as f32,
                context_size,
            })
        };
        Self {
            bias: params
                .logit_bias
                .iter()
                .map(|(id, bias)| (*id, *bias))
                .collect(),
            repetition: unless(
                &[0.0, 1.0],
                params.repetition_penalty,
                params.repetition_context_size,
            ),
            presence: unless(
                &[0.0],
                params.presence_penalty,
                params.presence_context_size,
            ),
            frequency: unless(
                &[0.0],
                params.frequency_penalty,
                params.frequency_context_size,
            ),
            exempt: exempt.to_vec(),
        }
    }

    /// What they do to raw logits, given the tokens that windows are cut from, oldest first.
    pub fn changes(&self, history: &[u32]) -> Changes {
        let of = |penalty: Option<Penalty>, once: bool| {
            let penalty = penalty?;
            let mut ids = self.recent(history, penalty);
            ids.sort_unstable();
            if once {
                ids.dedup();
            }
            (!ids.is_empty()).then_some((penalty.value, ids))
        };
        Changes {
            bias: Arc::clone(&self.bias),
            repetition: of(self.repetition, true),
            presence: of(self.presence, true),
            frequency: of(self.frequency, false),
        }
    }

    /// Changes raw logits, given the tokens that windows are cut from, oldest first. Ids outside
    /// the vocabulary are left alone.
    pub fn apply(&self, history: &[u32], logits: &mut [f32]) {
        self.changes(history).apply(logits);
    }

    /// The tokens of a window that may be penalised.
    fn recent(&self, history: &[u32], penalty: Penalty) -> Vec<u32> {
        let from = match penalty.context_size {
            0 => 0,
            size => history.len().saturating_sub(size),
        };
        let window = history[from..].iter().copied();
        window.filter(|id| !self.exempt.contains(id)).collect()
    }
}

/// What penalties do to the logits of one step. Those that do the same are equal, whatever their
/// windows are.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    bias: Arc<[(u32, f32)]>,
    /// By how much, and of which tokens, in ascending order.
    repetition: Option<(f32, Vec<u32>)>,
    presence: Option<(f32, Vec<u32>)>,
    /// A token comes as often as it is penalised.
    frequency: Option<(f32, Vec<u32>)>,
}

impl Changes {
    /// Changes raw logits. Ids outside the vocabulary are left alone.
    ///
    /// In order (mlx-lm 0.32.2, `sample_utils.py`, `make_logits_processors`):
    /// - bias: `l + b`;
    /// - repetition (Keskar et al. 2019, with the sign rule): `l / p` if `l >= 0`, else `l · p`,
    ///   once per distinct token of its window;
    /// - presence: `l - p`, once per distinct token of its window;
    /// - frequency: `l - p` for each occurrence in its window.
    pub fn apply(&self, logits: &mut [f32]) {
        for (id, bias) in &*self.bias {
            change(logits, *id, |logit| logit + bias);
        }
        if let Some((penalty, ids)) = &self.repetition {
            for id in ids {
                change(logits, *id, |logit| {
                    if logit < 0.0 {
                        logit * penalty
                    } else {
                        logit / penalty
                    }
                });
            }
        }
        for (penalty, ids) in [&self.presence, &self.frequency].into_iter().flatten() {
            for id in ids {
                change(logits, *id, |logit| logit - penalty);
            }
        }
    }
}

fn change(logits: &mut [f32], id: u32, change: impl FnOnce(f32) -> f32) {
    if let Some(logit) = logits.get_mut(id as usize) {
        *logit = change(*logit);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::generation::SamplingSettings;

    fn apply(settings: SamplingSettings, exempt: &[u32], history: &[u32]) -> Vec<f32> {
        let mut logits = vec![4.0, -4.0, 0.0, 2.0];
        let params = settings.resolve().expect("in range");
        Penalties::new(&params, exempt).apply(history, &mut logits);
        logits
    }

    fn off() -> SamplingSettings {
        SamplingSettings {
            repetition_penalty: Some(1.0),
            ..Default::default()
        }
    }

    #[rstest]
    #[case(&[0, 1, 2], [2.0, -8.0, 0.0, 2.0])]
    #[case(&[0, 0, 0], [2.0, -4.0, 0.0, 2.0])]
    #[case(&[], [4.0, -4.0, 0.0, 2.0])]
    #[case(&[9], [4.0, -4.0, 0.0, 2.0])]
    fn repetition_follows_the_sign_and_counts_a_token_once(
        #[case] history: &[u32],
        #[case] expected: [f32; 4],
    ) {
        let settings = SamplingSettings {
            repetition_penalty: Some(2.0),
            ..off()
        };
        assert_eq!(apply(settings, &[], history), expected);
    }

    #[test]
    fn the_window_forgets_and_zero_never_forgets() {
        let settings = |size| SamplingSettings {
            repetition_penalty: Some(2.0),
            repetition_context_size: Some(size),
            ..off()
        };
        assert_eq!(apply(settings(2), &[], &[0, 1, 3]), [4.0, -8.0, 0.0, 1.0]);
        assert_eq!(apply(settings(0), &[], &[0, 1, 3]), [2.0, -8.0, 0.0, 1.0]);
    }

    #[test]
    fn each_penalty_has_its_own_window() {
        let settings = SamplingSettings {
            repetition_penalty: Some(2.0),
            repetition_context_size: Some(1),
            presence_penalty: Some(1.0),
            presence_context_size: Some(2),
            frequency_penalty: Some(0.25),
            frequency_context_size: Some(0),
            ..off()
        };
        let history = [3, 3, 1, 0];
        assert_eq!(apply(settings, &[], &history), [0.75, -5.25, 0.0, 1.5]);
    }

    #[test]
    fn presence_counts_once_and_frequency_each_time() {
        let presence = SamplingSettings {
            presence_penalty: Some(0.5),
            ..off()
        };
        assert_eq!(apply(presence, &[], &[3, 3, 3]), [4.0, -4.0, 0.0, 1.5]);
        let frequency = SamplingSettings {
            frequency_penalty: Some(0.5),
            ..off()
        };
        assert_eq!(apply(frequency, &[], &[3, 3, 3]), [4.0, -4.0, 0.0, 0.5]);
    }

    #[test]
    fn the_end_of_sequence_is_never_penalised_but_can_be_biased() {
        let settings = SamplingSettings {
            repetition_penalty: Some(2.0),
            presence_penalty: Some(1.0),
            logit_bias: Some([(3, 1.0), (0, -1.0)].into()),
            ..off()
        };
        assert_eq!(apply(settings, &[3], &[0, 3]), [0.5, -4.0, 0.0, 3.0]);
    }
}
