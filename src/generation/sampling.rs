//! Sampling parameters: what a person may leave out, and the checked set an engine uses.
//!
//! [`SamplingSettings`] is one layer of wishes (a scenario, the environment, the command line).
//! Layers are laid over each other and lowered once into [`SamplingParams`], whose fields are
//! all present and all in range.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Repetition penalty when nobody asks for another one.
pub const DEFAULT_REPETITION_PENALTY: f32 = 1.05;
/// Window of the penalties, in generated tokens, when nobody asks for another one.
pub const DEFAULT_REPETITION_CONTEXT_SIZE: usize = 20;
/// Length limit when nobody asks for another one.
pub const DEFAULT_MAX_TOKENS: usize = 512;

/// One layer of sampling wishes; every field may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingSettings {
    /// 0 is greedy; otherwise log-probabilities are divided by it. Range 0 to 10, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Keep the smallest set of likeliest tokens with at least this mass. Range above 0 to 1,
    /// default 1 (off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Keep this many likeliest tokens; 0 is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Drop tokens less likely than this share of the likeliest one. Range 0 to 1, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Seed of the random numbers, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Most tokens to generate, at least 1, default 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Divide positive and multiply negative logits of recent tokens. Range above 0 to 10,
    /// default 1.05; 1 is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    /// Window of all three penalties, in generated tokens. Default 20; 0 means the whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_context_size: Option<usize>,
    /// Subtracted once from each recent token's logit. Range -10 to 10, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    /// Subtracted from a recent token's logit for each occurrence. Range -10 to 10, default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    /// Added to the logit of a token id. Range -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_bias: Option<BTreeMap<u32, f32>>,
    /// Strings that end the answer and are removed from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Go on after an end-of-sequence token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_eos: Option<bool>,
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
    /// See [`SamplingSettings::temperature`].
    pub temperature: f32,
    /// See [`SamplingSettings::top_p`].
    pub top_p: f32,
    /// See [`SamplingSettings::top_k`].
    pub top_k: usize,
    /// See [`SamplingSettings::min_p`].
    pub min_p: f32,
    /// See [`SamplingSettings::seed`].
    pub seed: u64,
    /// See [`SamplingSettings::max_tokens`].
    pub max_tokens: usize,
    /// See [`SamplingSettings::repetition_penalty`].
    pub repetition_penalty: f32,
    /// See [`SamplingSettings::repetition_context_size`].
    pub repetition_context_size: usize,
    /// See [`SamplingSettings::presence_penalty`].
    pub presence_penalty: f32,
    /// See [`SamplingSettings::frequency_penalty`].
    pub frequency_penalty: f32,
    /// See [`SamplingSettings::logit_bias`].
    pub logit_bias: BTreeMap<u32, f32>,
    /// See [`SamplingSettings::stop`].
    pub stop: Vec<String>,
    /// See [`SamplingSettings::ignore_eos`].
    pub ignore_eos: bool,
}

impl SamplingSettings {
    /// Lays `over` on top of `self`: each field that `over` has wins.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        fn pick<T: Clone>(base: &Option<T>, over: &Option<T>) -> Option<T> {
            over.clone().or_else(|| base.clone())
        }
        Self {
            temperature: pick(&self.temperature, &over.temperature),
            top_p: pick(&self.top_p, &over.top_p),
            top_k: pick(&self.top_k, &over.top_k),
            min_p: pick(&self.min_p, &over.min_p),
            seed: pick(&self.seed, &over.seed),
            max_tokens: pick(&self.max_tokens, &over.max_tokens),
            repetition_penalty: pick(&self.repetition_penalty, &over.repetition_penalty),
            repetition_context_size: pick(
                &self.repetition_context_size,
                &over.repetition_context_size,
            ),
            presence_penalty: pick(&self.presence_penalty, &over.presence_penalty),
            frequency_penalty: pick(&self.frequency_penalty, &over.frequency_penalty),
            logit_bias: pick(&self.logit_bias, &over.logit_bias),
            stop: pick(&self.stop, &over.stop),
            ignore_eos: pick(&self.ignore_eos, &over.ignore_eos),
        }
    }

    /// Fills in the defaults and checks every range.
    ///
    /// # Errors
    /// The first field out of range, by name.
    pub fn resolve(&self) -> Result<SamplingParams, SamplingError> {
        let params = SamplingParams {
            temperature: in_range("temperature", self.temperature.unwrap_or(0.0), 0.0..=10.0)?,
            top_p: positive_up_to_one(self.top_p.unwrap_or(1.0))?,
            top_k: self.top_k.unwrap_or(0),
            min_p: in_range("min_p", self.min_p.unwrap_or(0.0), 0.0..=1.0)?,
            seed: self.seed.unwrap_or(0),
            max_tokens: self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            repetition_penalty: self.checked_repetition_penalty()?,
            repetition_context_size: self
                .repetition_context_size
                .unwrap_or(DEFAULT_REPETITION_CONTEXT_SIZE),
            presence_penalty: in_range(
                "presence_penalty",
                self.presence_penalty.unwrap_or(0.0),
                -10.0..=10.0,
            )?,
            frequency_penalty: in_range(
                "frequency_penalty",
                self.frequency_penalty.unwrap_or(0.0),
                -10.0..=10.0,
            )?,
            logit_bias: self.logit_bias.clone().unwrap_or_default(),
            stop: self.stop.clone().unwrap_or_default(),
            ignore_eos: self.ignore_eos.unwrap_or(false),
        };
        params.check_lists()?;
        Ok(params)
    }

    fn checked_repetition_penalty(&self) -> Result<f32, SamplingError> {
        let value = self
            .repetition_penalty
            .unwrap_or(DEFAULT_REPETITION_PENALTY);
        if value > 0.0 && value <= 10.0 {
            Ok(value)
        } else {
            Err(refusal(
                "repetition_penalty",
                value,
                "above 0 and at most 10 (1 switches it off)",
            ))
        }
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
        SamplingSettings {
            temperature: Some(self.temperature),
            top_p: unless(1.0, self.top_p),
            top_k: unless(0, self.top_k),
            min_p: unless(0.0, self.min_p),
            seed: unless(0, self.seed),
            max_tokens: Some(self.max_tokens),
            repetition_penalty: Some(self.repetition_penalty),
            repetition_context_size: Some(self.repetition_context_size),
            presence_penalty: unless(0.0, self.presence_penalty),
            frequency_penalty: unless(0.0, self.frequency_penalty),
            logit_bias: unless(BTreeMap::new(), self.logit_bias.clone()),
            stop: unless(Vec::new(), self.stop.clone()),
            ignore_eos: unless(false, self.ignore_eos),
        }
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

fn positive_up_to_one(value: f32) -> Result<f32, SamplingError> {
    if value > 0.0 && value <= 1.0 {
        Ok(value)
    } else {
        Err(refusal("top_p", value, "above 0 and at most 1"))
    }
}

fn in_range(
    field: &'static str,
    value: f32,
    range: std::ops::RangeInclusive<f32>,
) -> Result<f32, SamplingError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(SamplingError {
        field,
        value: value.to_string(),
        expected: format!("between {} and {}", range.start(), range.end()),
    })
}

fn refusal(
    field: &'static str,
    value: impl std::fmt::Display,
    expected: &'static str,
) -> SamplingError {
    SamplingError {
        field,
        value: value.to_string(),
        expected: expected.to_owned(),
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
    #[case("max_tokens: 0", "max_tokens is 0")]
    #[case("stop: ['']", "stop is an empty string")]
    #[case("logit_bias: {3: 2000}", "logit_bias is 2000")]
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
    fn parameters_as_settings_resolve_to_themselves() {
        let settings = SamplingSettings {
            top_k: Some(5),
            stop: Some(vec!["x".to_owned()]),
            ..Default::default()
        };
        let params = settings.resolve().expect("valid");
        assert_eq!(params.as_settings().resolve(), Ok(params));
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
