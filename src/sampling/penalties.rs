//! Logit bias and the three penalties on recent tokens.

use crate::generation::SamplingParams;

/// The processors of one sequence: what they add, and to whom they do not apply.
#[derive(Debug, Clone)]
pub struct Penalties {
    bias: Vec<(u32, f32)>,
    repetition: f32,
    presence: f32,
    frequency: f32,
    /// Tokens of the window; `None` is the whole history.
    window: Option<usize>,
    exempt: Vec<u32>,
}

impl Penalties {
    /// The processors for `params`; the tokens `exempt` are never penalised.
    #[must_use]
    pub fn new(params: &SamplingParams, exempt: &[u32]) -> Self {
        Self {
            bias: params
                .logit_bias
                .iter()
                .map(|(id, bias)| (*id, *bias))
                .collect(),
            repetition: params.repetition_penalty,
            presence: params.presence_penalty,
            frequency: params.frequency_penalty,
            window: (params.repetition_context_size > 0).then_some(params.repetition_context_size),
            exempt: exempt.to_vec(),
        }
    }

    /// Changes raw logits, given the tokens so far. Ids outside the vocabulary are left alone.
    ///
    /// In order (mlx-lm 0.32.2, `make_logits_processors`):
    /// - bias: `l + b`;
    /// - repetition (Keskar et al. 2019, with the sign rule): `l / p` if `l >= 0`, else `l · p`,
    ///   once per distinct token of the window;
    /// - presence: `l - p`, once per distinct token;
    /// - frequency: `l - p` for each occurrence.
    pub fn apply(&self, history: &[u32], logits: &mut [f32]) {
        for (id, bias) in &self.bias {
            change(logits, *id, |logit| logit + bias);
        }
        let recent = self.recent(history);
        let mut distinct = recent.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if self.repetition != 1.0 {
            for id in &distinct {
                change(logits, *id, |logit| {
                    if logit < 0.0 {
                        logit * self.repetition
                    } else {
                        logit / self.repetition
                    }
                });
            }
        }
        if self.presence != 0.0 {
            for id in &distinct {
                change(logits, *id, |logit| logit - self.presence);
            }
        }
        if self.frequency != 0.0 {
            for id in &recent {
                change(logits, *id, |logit| logit - self.frequency);
            }
        }
    }

    /// The tokens of the window that may be penalised.
    fn recent(&self, history: &[u32]) -> Vec<u32> {
        let size = self.window.unwrap_or(history.len()).min(history.len());
        history[history.len() - size..]
            .iter()
            .copied()
            .filter(|id| !self.exempt.contains(id))
            .collect()
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
