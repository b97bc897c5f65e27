//! Assertions as written under `assert:`: a type with its parameters, as records store it, and the
//! reading of those.
//!
//! The scenario reader knows the spellings that YAML allows; what the types mean is the neighbour
//! `rule`.

use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::scope::CHANNELS;
use crate::generation::{Channel, FinishReason};
use crate::loops::{LoopKind, LoopState};
use crate::snapshot::Redaction;

/// One assertion as written, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssertionSpec {
    /// The type, such as `contains` or `not-loop`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the type compares with: text, a number, a list, or a duration such as `200ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// `tool-called`: arguments that the call must have, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<serde_json::Map<String, serde_json::Value>>,
    /// `loop`: the weakest state that counts, `confirmed` (default) or `suspected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `loop`: the kinds that count, one or a list; all of them without.
    #[serde(default, rename = "kind", skip_serializing_if = "Option::is_none")]
    pub loop_kinds: Option<Value>,
    /// `loop`: the channels of the answer in which loops count, one or a list; all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Value>,
    /// `snapshot`: compare `tokens` (default), a `prefix` of them, the `text`, or that `normalised`.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
    /// `snapshot` with `match: prefix`: how many tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// `snapshot`: a first different token that won by less, in logits, is no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie_margin: Option<f64>,
    /// `snapshot`: what its text does not hold, which stands in `redact` of the test and its files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<Redaction>,
    /// How much is asked for, where a type measures: a share, a distance, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Within an `assert-set`: how much it counts, 1 if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// `assert-set`: its assertions.
    #[serde(default, rename = "assert", skip_serializing_if = "Option::is_none")]
    pub assertions: Option<Vec<AssertionSpec>>,
    /// The turn of the user to whose answers it belongs, from 1; the whole conversation without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<usize>,
    /// The file where it stands, if that is not the scenario's: one that the scenario extends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file, counted from 1.
    pub line: usize,
    /// The column in that line, counted from 1; 0 where it was not written down.
    #[serde(default)]
    pub column: usize,
}

/// An assertion that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// No such type.
    #[error("unknown assertion type '{kind}'")]
    UnknownKind {
        /// The type as written.
        kind: String,
    },
    /// A parameter is missing, superfluous or of the wrong kind.
    #[error("{kind}: {problem}")]
    Parameter {
        /// The type as written.
        kind: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl AssertionSpec {
    pub(super) fn loop_state(&self) -> Result<LoopState, SpecError> {
        match self.state.as_deref() {
            None | Some("confirmed") => Ok(LoopState::Confirmed),
            Some("suspected") => Ok(LoopState::Suspected),
            Some(other) => Err(self.problem(format!(
                "state is '{other}', but must be 'confirmed' or 'suspected'"
            ))),
        }
    }

    /// What `kind` of a `loop` may name.
    #[must_use]
    pub fn loop_kind_names() -> [&'static str; 5] {
        LoopKind::OF_TEXT.map(LoopKind::key)
    }

    /// The kinds of loops that count; none means all.
    pub(super) fn loop_kinds(&self) -> Result<Vec<LoopKind>, SpecError> {
        let known = LoopKind::OF_TEXT.map(|kind| (kind.key(), kind));
        self.named("kind", self.loop_kinds.as_ref(), &known)
    }

    /// What `scope` of a `loop` may name.
    #[must_use]
    pub fn scope_names() -> [&'static str; 3] {
        CHANNELS.map(|(name, _)| name)
    }

    /// The channels in which loops count; none means all.
    pub(super) fn scope(&self) -> Result<Vec<Channel>, SpecError> {
        self.named("scope", self.scope.as_ref(), &CHANNELS)
    }

    /// One or several things by their names; none where nothing is written.
    fn named<T: Copy>(
        &self,
        field: &str,
        written: Option<&Value>,
        known: &[(&str, T)],
    ) -> Result<Vec<T>, SpecError> {
        let wrong = |what: String| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            self.problem(format!(
                "{field} is {what}, but must be one or several of {}",
                names.join(", ")
            ))
        };
        let one = |value: &Value| {
            let name = value.as_str().unwrap_or_default();
            let found = known.iter().find(|(known, _)| *known == name);
            let found = found.map(|(_, thing)| *thing);
            found.ok_or_else(|| wrong(value.to_string().replace('"', "'")))
        };
        match written {
            None => Ok(Vec::new()),
            Some(Value::Array(all)) if all.is_empty() => Err(wrong("an empty list".to_owned())),
            Some(Value::Array(all)) => all.iter().map(one).collect(),
            Some(single) => Ok(vec![one(single)?]),
        }
    }

    pub(super) fn text(&self) -> Result<String, SpecError> {
        match &self.value {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            // YAML reads an unquoted 42 as a number, and means the text all the same.
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => Err(self.problem("needs a 'value' that is a non-empty text")),
        }
    }

    /// A list of texts, or one.
    pub(super) fn texts(&self) -> Result<Vec<String>, SpecError> {
        let wrong = || self.problem("needs a 'value' that is a list of texts, or one text");
        let text = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(wrong()),
        };
        match &self.value {
            Some(Value::Array(items)) if !items.is_empty() => items.iter().map(text).collect(),
            Some(value @ Value::String(_)) => Ok(vec![text(value)?]),
            _ => Err(wrong()),
        }
    }

    /// The threshold, or `usual` without one; from 0 to `most`.
    pub(super) fn threshold_or(&self, usual: f64, most: f64) -> Result<f64, SpecError> {
        let threshold = self.threshold.unwrap_or(usual);
        if (0.0..=most).contains(&threshold) {
            return Ok(threshold);
        }
        Err(self.problem(format!("threshold is {threshold}, but must be 0 to {most}")))
    }

    /// The threshold of a type that has no usual one.
    pub(super) fn needed_threshold(&self, unit: &str) -> Result<f64, SpecError> {
        let threshold = self
            .threshold
            .filter(|value| *value > 0.0 && value.is_finite());
        threshold.ok_or_else(|| self.problem(format!("needs a 'threshold' above 0, {unit}")))
    }

    pub(super) fn regex(&self) -> Result<Regex, SpecError> {
        let pattern = self.text()?;
        Regex::new(&pattern).map_err(|error| self.problem(format!("{error}")))
    }

    pub(super) fn finish_reason(&self) -> Result<FinishReason, SpecError> {
        let text = self.text()?;
        FinishReason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| {
                let known = FinishReason::ALL.map(FinishReason::as_str).join(", ");
                self.problem(format!("'{text}' is no finish reason; known are {known}"))
            })
    }

    pub(super) fn count(&self) -> Result<usize, SpecError> {
        self.value
            .as_ref()
            .and_then(Value::as_u64)
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| self.problem("needs a 'value' that is a whole number"))
    }

    pub(super) fn duration(&self) -> Result<Duration, SpecError> {
        let text = self.text()?;
        let parsed = text
            .strip_suffix("ms")
            .map(|number| (number, 1e-3))
            .or_else(|| text.strip_suffix('s').map(|number| (number, 1.0)))
            .and_then(|(number, unit)| Some(number.trim().parse::<f64>().ok()? * unit))
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        parsed.ok_or_else(|| {
            self.problem(format!(
                "'{text}' is no duration; write it as 200ms or 1.5s"
            ))
        })
    }

    pub(super) fn problem(&self, problem: impl Into<String>) -> SpecError {
        SpecError::Parameter {
            kind: self.kind.clone(),
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn spec(json: serde_json::Value) -> AssertionSpec {
        let mut json = json;
        json["line"] = json!(3);
        serde_json::from_value(json).expect("a spec")
    }

    #[rstest]
    #[case(json!({"type": "contain"}), "unknown assertion type 'contain'")]
    #[case(json!({"type": "not-ttft", "value": "1s"}), "unknown assertion type 'not-ttft'")]
    #[case(json!({"type": "contains"}), "contains: needs a 'value' that is a non-empty text")]
    #[case(json!({"type": "regex", "value": "("}), "regex: ")]
    #[case(json!({"type": "not-loop", "value": "x"}), "not-loop: takes no 'value'")]
    #[case(json!({"type": "contains", "value": "x", "state": "suspected"}), "contains: takes no 'state'")]
    #[case(json!({"type": "loop", "state": "sure"}), "loop: state is 'sure'")]
    #[case(json!({"type": "snapshot", "match": "all"}), "snapshot: match is 'all'")]
    #[case(json!({"type": "finish-reason", "value": "done"}), "finish-reason: 'done' is no finish reason")]
    #[case(json!({"type": "max-tokens-used", "value": 1.5}), "max-tokens-used: needs")]
    #[case(json!({"type": "deterministic", "value": 2}), "deterministic: takes no 'value'")]
    #[case(json!({"type": "not-deterministic"}), "unknown assertion type 'not-deterministic'")]
    #[case(json!({"type": "batch-invariant", "value": 0}), "batch-invariant: value is 0, but must be 1 to 64")]
    #[case(json!({"type": "batch-invariant", "value": "many"}), "batch-invariant: needs a 'value'")]
    #[case(json!({"type": "api-parity", "value": "grpc"}), "api-parity: value is \"grpc\", but must be one or several of openai, openai-whole, anthropic, anthropic-whole")]
    #[case(json!({"type": "api-parity", "value": []}), "api-parity: needs a 'value'")]
    #[case(json!({"type": "ttft", "value": "200"}), "ttft: '200' is no duration")]
    #[case(json!({"type": "e2e", "value": "-1s"}), "e2e: '-1s' is no duration")]
    fn mistakes_are_named(#[case] json: serde_json::Value, #[case] message: &str) {
        let error = spec(json).lower().expect_err("refused").to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
