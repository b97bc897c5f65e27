//! Sampling parameters: what a person may leave out, and the checked set an engine uses.
//!
//! [`SamplingSettings`] is one layer of wishes (a scenario, the environment, the command line).
//! Layers are laid over each other and lowered once into [`SamplingParams`], whose fields are
//! all present and all in range.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{RepetitionDetection, Semantics};

/// Window of each penalty, in tokens, when nobody asks for another one.
pub const DEFAULT_CONTEXT_SIZE: usize = 20;
/// Length limit when nobody asks for another one.
pub const DEFAULT_MAX_TOKENS: usize = 512;

/// One layer of sampling wishes; every field may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingSettings {
    /// Whose semantics to follow: `loopwatch` (default), or a version of mlx-lm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantics: Option<Semantics>,
    /// 0 is greedy; otherwise log-probabilities are divided by it. Range 0 to 10, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Keep the smallest set of likeliest tokens with at least this mass. Range above 0 to 1,
    /// default 1 (off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Keep this many likeliest tokens; 0 is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Drop tokens less likely than this share of the likeliest one. Range 0 to 1, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f64>,
    /// Probability that a step drops all tokens above `xtc_threshold` but the least likely of
    /// them. Range 0 to 1, default 0 (off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xtc_probability: Option<f64>,
    /// Probability above which `xtc_probability` drops tokens. Range 0 to 0.5; the default is
    /// that of the semantics, 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xtc_threshold: Option<f64>,
    /// Seed of the random numbers, default 0. Under the semantics of mlx-lm, a request with a
    /// seed also takes another path than one without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Most tokens to generate, at least 1, default 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Divide positive and multiply negative logits of recent tokens. Range above 0 to 10; 1 is
    /// off, and 0 too under the semantics of mlx-lm. The default is that of the semantics, 1.05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Window of the repetition penalty, in tokens. Default 20; 0 means everything. Which tokens
    /// are looked at is a choice of the semantics; by default, those of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_context_size: Option<usize>,
    /// Subtracted once from each recent token's logit. Range -10 to 10, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Window of the presence penalty. Default 20; 0 means everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_context_size: Option<usize>,
    /// Subtracted from a recent token's logit for each occurrence. Range -10 to 10, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Window of the frequency penalty. Default 20; 0 means everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_context_size: Option<usize>,
    /// Added to the logit of a token id. Range -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_bias: Option<BTreeMap<u32, f32>>,
    /// Strings that end the answer and are removed from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Go on after an end-of-sequence token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_eos: Option<bool>,
    /// Which repetition at its end ends the answer, as in vLLM; default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_detection: Option<RepetitionDetection>,
}

/// A sampling value out of its range.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field} is {value}, but must be {expected}")]
pub struct SamplingError {
    /// The field's name as users write it.
    pub field: &'static str,
    /// The refused value.
    pub value: String,
    /// What would be accepted.
    pub expected: String,
}

/// A complete, checked set of sampling parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// See [`SamplingSettings::semantics`].
    #[serde(default)]
    pub semantics: Semantics,
    /// See [`SamplingSettings::temperature`].
    pub temperature: f64,
    /// See [`SamplingSettings::top_p`].
    pub top_p: f64,
    /// See [`SamplingSettings::top_k`].
    pub top_k: usize,
    /// See [`SamplingSettings::min_p`].
    pub min_p: f64,
    /// See [`SamplingSettings::xtc_probability`].
    #[serde(default)]
    pub xtc_probability: f64,
    /// See [`SamplingSettings::xtc_threshold`].
    #[serde(default)]
    pub xtc_threshold: f64,
    /// See [`SamplingSettings::seed`]; `None` draws as 0 does.
    pub seed: Option<u64>,
    /// See [`SamplingSettings::max_tokens`].
    pub max_tokens: usize,
    /// See [`SamplingSettings::repetition_penalty`].
    pub repetition_penalty: f64,
    /// See [`SamplingSettings::repetition_context_size`].
    pub repetition_context_size: usize,
    /// See [`SamplingSettings::presence_penalty`].
    pub presence_penalty: f64,
    /// See [`SamplingSettings::presence_context_size`].
    #[serde(default = "default_context_size")]
    pub presence_context_size: usize,
    /// See [`SamplingSettings::frequency_penalty`].
    pub frequency_penalty: f64,
    /// See [`SamplingSettings::frequency_context_size`].
    #[serde(default = "default_context_size")]
    pub frequency_context_size: usize,
    /// See [`SamplingSettings::logit_bias`].
    pub logit_bias: BTreeMap<u32, f32>,
    /// See [`SamplingSettings::stop`].
    pub stop: Vec<String>,
    /// See [`SamplingSettings::ignore_eos`].
    pub ignore_eos: bool,
    /// See [`SamplingSettings::repetition_detection`]; `None` if it is switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_detection: Option<RepetitionDetection>,
}

fn default_context_size() -> usize {
    DEFAULT_CONTEXT_SIZE
}

impl SamplingSettings {
    /// Lays `over` on top of `self`: each field that `over` has wins.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        fn pick<T: Clone>(base: &Option<T>, over: &Option<T>) -> Option<T> {
            over.clone().or_else(|| base.clone())
        }
        Self {
            semantics: pick(&self.semantics, &over.semantics),
            temperature: pick(&self.temperature, &over.temperature),
            top_p: pick(&self.top_p, &over.top_p),
            top_k: pick(&self.top_k, &over.top_k),
            min_p: pick(&self.min_p, &over.min_p),
            xtc_probability: pick(&self.xtc_probability, &over.xtc_probability),
            xtc_threshold: pick(&self.xtc_threshold, &over.xtc_threshold),
            seed: pick(&self.seed, &over.seed),
            max_tokens: pick(&self.max_tokens, &over.max_tokens),
            repetition_penalty: pick(&self.repetition_penalty, &over.repetition_penalty),
            repetition_context_size: pick(
                &self.repetition_context_size,
                &over.repetition_context_size,
            ),
            presence_penalty: pick(&self.presence_penalty, &over.presence_penalty),
            presence_context_size: pick(&self.presence_context_size, &over.presence_context_size),
            frequency_penalty: pick(&self.frequency_penalty, &over.frequency_penalty),
            frequency_context_size: pick(
                &self.frequency_context_size,
                &over.frequency_context_size,
            ),
            logit_bias: pick(&self.logit_bias, &over.logit_bias),
            stop: pick(&self.stop, &over.stop),
            ignore_eos: pick(&self.ignore_eos, &over.ignore_eos),
            repetition_detection: pick(&self.repetition_detection, &over.repetition_detection),
        }
    }

    /// Fills in the defaults, those of the semantics among them, and checks every range.
    ///
    /// # Errors
    /// The first field out of range, by name.
    pub fn resolve(&self) -> Result<SamplingParams, SamplingError> {
        let semantics = self.semantics.unwrap_or_default();
        let profile = semantics.profile();
        let or = |value: Option<f64>, default| value.unwrap_or(default);
        let window = |size: Option<usize>| size.unwrap_or(DEFAULT_CONTEXT_SIZE);
        let params = SamplingParams {
            semantics,
            temperature: or(self.temperature, 0.0),
            top_p: or(self.top_p, 1.0),
            top_k: self.top_k.unwrap_or(0),
            min_p: or(self.min_p, 0.0),
            xtc_probability: or(self.xtc_probability, 0.0),
            xtc_threshold: or(self.xtc_threshold, profile.default_xtc_threshold),
            seed: self.seed,
            max_tokens: self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            repetition_penalty: or(self.repetition_penalty, profile.default_repetition_penalty),
            repetition_context_size: window(self.repetition_context_size),
            presence_penalty: or(self.presence_penalty, 0.0),
            presence_context_size: window(self.presence_context_size),
            frequency_penalty: or(self.frequency_penalty, 0.0),
            frequency_context_size: window(self.frequency_context_size),
            logit_bias: self.logit_bias.clone().unwrap_or_default(),
            stop: self.stop.clone().unwrap_or_default(),
            ignore_eos: self.ignore_eos.unwrap_or(false),
            repetition_detection: self.repetition_detection.unwrap_or_default().resolve()?,
        };
        params.check_numbers()?;
        params.check_penalties()?;
        params.check_lists()?;
        Ok(params)
    }
}

impl SamplingParams {
    /// The same parameters as settings, without those that are switched off: what a person would
    /// write to get exactly these.
    #[must_use]
    pub fn as_settings(&self) -> SamplingSettings {
        fn unless<T: PartialEq>(off: T, value: T) -> Option<T> {
            (value != off).then_some(value)
        }
        let profile = self.semantics.profile();
        SamplingSettings {
            semantics: unless(Semantics::default(), self.semantics),
            temperature: Some(self.temperature),
            top_p: unless(1.0, self.top_p),
            top_k: unless(0, self.top_k),
            min_p: unless(0.0, self.min_p),
            xtc_probability: unless(0.0, self.xtc_probability),
            xtc_threshold: unless(profile.default_xtc_threshold, self.xtc_threshold),
            seed: self.seed,
            max_tokens: Some(self.max_tokens),
            repetition_penalty: Some(self.repetition_penalty),
            repetition_context_size: Some(self.repetition_context_size),
            presence_penalty: unless(0.0, self.presence_penalty),
            presence_context_size: unless(DEFAULT_CONTEXT_SIZE, self.presence_context_size),
            frequency_penalty: unless(0.0, self.frequency_penalty),
            frequency_context_size: unless(DEFAULT_CONTEXT_SIZE, self.frequency_context_size),
            logit_bias: unless(BTreeMap::new(), self.logit_bias.clone()),
            stop: unless(Vec::new(), self.stop.clone()),
            ignore_eos: unless(false, self.ignore_eos),
            repetition_detection: self.repetition_detection,
        }
    }

    /// Whether any penalty is on.
    #[must_use]
    pub fn penalises(&self) -> bool {
        let repetition = self.repetition_penalty;
        let off = self.semantics.profile().zero_is_off && repetition == 0.0;
        let additive = [self.presence_penalty, self.frequency_penalty];
        (repetition != 1.0 && !off) || additive.iter().any(|penalty| *penalty != 0.0)
    }

    /// The same parameters with every penalty off.
    #[must_use]
    pub fn without_penalties(&self) -> Self {
        Self {
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            ..self.clone()
        }
    }

    fn check_numbers(&self) -> Result<(), SamplingError> {
        in_range("temperature", self.temperature, 0.0..=10.0)?;
        in_range("min_p", self.min_p, 0.0..=1.0)?;
        in_range("xtc_probability", self.xtc_probability, 0.0..=1.0)?;
        in_range("xtc_threshold", self.xtc_threshold, 0.0..=0.5)?;
        let off = self.semantics.profile().zero_is_off && self.top_p == 0.0;
        if off || (self.top_p > 0.0 && self.top_p <= 1.0) {
            Ok(())
        } else {
            Err(refusal("top_p", self.top_p, "above 0 and at most 1"))
        }
    }

    fn check_penalties(&self) -> Result<(), SamplingError> {
        let profile = self.semantics.profile();
        let penalty = self.repetition_penalty;
        let off = profile.zero_is_off && penalty == 0.0;
        let valid = off || (penalty > 0.0 && penalty <= 10.0);
        if !valid {
            let expected = "above 0 and at most 10 (1 switches it off)";
            return Err(refusal("repetition_penalty", penalty, expected));
        }
        for (field, penalty) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            in_range(field, penalty, -10.0..=10.0)?;
            if penalty != 0.0 && !profile.additive_penalties {
                let expected = format!("0, because {} does not have it", self.semantics);
                return Err(refusal(field, penalty, expected));
            }
        }
        Ok(())
    }

    fn check_lists(&self) -> Result<(), SamplingError> {
        for bias in self.logit_bias.values() {
            in_range("logit_bias", *bias, -1000.0..=1000.0)?;
        }
        if self.max_tokens == 0 {
            return Err(refusal("max_tokens", 0, "at least 1"));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(refusal("stop", "an empty string", "non-empty strings"));
        }
        Ok(())
    }
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<(), SamplingError> {
    if range.contains(&value) {
        return Ok(());
    }
    let expected = format!("between {} and {}", range.start(), range.end());
    Err(refusal(field, value, expected))
}

fn refusal(
    field: &'static str,
    value: impl std::fmt::Display,
    expected: impl Into<String>,
) -> SamplingError {
    SamplingError {
        field,
        value: value.to_string(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("repetition_penalty: 0", "repetition_penalty is 0")]
    #[case("repetition_penalty: -1", "repetition_penalty is -1")]
    #[case("repetition_penalty: .nan", "repetition_penalty is NaN")]
    #[case("repetition_penalty: 10.5", "repetition_penalty is 10.5")]
    #[case("temperature: -0.1", "temperature is -0.1")]
    #[case("temperature: .inf", "temperature is inf")]
    #[case("top_p: 0", "top_p is 0")]
    #[case("top_p: 1.01", "top_p is 1.01")]
    #[case("min_p: 2", "min_p is 2")]
    #[case("presence_penalty: 11", "presence_penalty is 11")]
    #[case("frequency_penalty: -11", "frequency_penalty is -11")]
    #[case("xtc_probability: 1.5", "xtc_probability is 1.5")]
    #[case("xtc_threshold: 0.6", "xtc_threshold is 0.6")]
    #[case(
        "{semantics: mlx-lm-0.32.2, repetition_penalty: -1}",
        "repetition_penalty is -1"
    )]
    #[case(
        "{semantics: mlx-lm-0.28.3, presence_penalty: 1}",
        "presence_penalty is 1, but must be 0, because mlx-lm-0.28.3 does not have it"
    )]
    #[case("max_tokens: 0", "max_tokens is 0")]
    #[case("stop: ['']", "stop is an empty string")]
    #[case("logit_bias: {3: 2000}", "logit_bias is 2000")]
    #[case(
        "repetition_detection: {max_pattern_size: 4}",
        "repetition_detection.min_count is 0, but must be at least 2"
    )]
    #[case(
        "repetition_detection: {max_pattern_size: 4, min_pattern_size: 5, min_count: 2}",
        "repetition_detection.min_pattern_size is 5, but must be at most max_pattern_size, which is 4"
    )]
    #[case(
        "repetition_detection: {max_pattern_size: 65537, min_count: 2}",
        "repetition_detection.max_pattern_size is 65537, but must be at most 65536"
    )]
    fn out_of_range_values_are_refused_by_name(#[case] yaml: &str, #[case] message: &str) {
        let settings: SamplingSettings = serde_saphyr::from_str(yaml).expect("parses");
        let error = settings.resolve().expect_err("is refused").to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn the_defaults_are_the_cure() {
        let params = SamplingSettings::default().resolve().expect("valid");
        assert_eq!(params.repetition_penalty, 1.05);
        assert_eq!(params.repetition_context_size, 20);
        assert_eq!(params.temperature, 0.0);
    }

    #[test]
    fn the_default_penalty_is_that_of_the_semantics_unless_one_is_set() {
        for (semantics, penalty) in Semantics::ALL.into_iter().zip([1.05, 1.0, 0.0, 0.0]) {
            let settings = SamplingSettings {
                semantics: Some(semantics),
                ..Default::default()
            };
            let resolved = |settings: &SamplingSettings| settings.resolve().expect("valid");
            assert_eq!(resolved(&settings).repetition_penalty, penalty);
            let explicit = SamplingSettings {
                repetition_penalty: Some(1.2),
                ..settings
            };
            assert_eq!(resolved(&explicit).repetition_penalty, 1.2);
        }
    }

    #[test]
    fn parameters_as_settings_resolve_to_themselves() {
        for semantics in Semantics::ALL {
            let settings = SamplingSettings {
                semantics: Some(semantics),
                top_k: Some(5),
                seed: Some(0),
                xtc_threshold: Some(0.2),
                presence_context_size: Some(7),
                stop: Some(vec!["x".to_owned()]),
                repetition_detection: Some(RepetitionDetection {
                    max_pattern_size: 4,
                    min_pattern_size: 2,
                    min_count: 3,
                }),
                ..Default::default()
            };
            let params = settings.resolve().expect("valid");
            assert_eq!(params.as_settings().resolve(), Ok(params));
        }
    }

    #[test]
    fn a_later_layer_wins_field_by_field() {
        let base = SamplingSettings {
            temperature: Some(0.5),
            seed: Some(1),
            ..Default::default()
        };
        let over = SamplingSettings {
            temperature: Some(0.0),
            ..Default::default()
        };
        let both = base.overlaid(&over);
        assert_eq!(both.temperature, Some(0.0));
        assert_eq!(both.seed, Some(1));
    }
}
