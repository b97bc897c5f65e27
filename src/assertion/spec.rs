//! Assertions as written under `assert:`, lowered once into rules that cannot be wrong.
//!
//! The scenario reader knows the spellings that YAML allows; here an assertion is a type with
//! its parameters, as records store it.

use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::generation::FinishReason;
use crate::loops::LoopState;

/// One assertion as written, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssertionSpec {
    /// The type, such as `contains` or `not-loop`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the type compares with: text, a number, or a duration such as `200ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// `tool-called`: arguments that the call must have, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<serde_json::Map<String, serde_json::Value>>,
    /// `loop`: the weakest state that counts, `confirmed` (default) or `suspected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `snapshot`: compare `tokens` (default) or only `text`.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
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

/// How much of the output a snapshot fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotMatch {
    /// Every token id.
    Tokens,
    /// The text only.
    Text,
}

/// A checked rule. Text rules look at the last answer of the conversation.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Some generation of the conversation loops, at least this surely.
    Loop {
        /// [`LoopState::Suspected`] or [`LoopState::Confirmed`].
        weakest: LoopState,
    },
    /// The answer contains this text.
    Contains(String),
    /// The answer contains this text, whatever the case of its letters.
    ContainsIgnoreCase(String),
    /// The answer matches this expression somewhere.
    Regex(Regex),
    /// The answer is this text, surrounding white space apart.
    Equals(String),
    /// The last generation ended for this reason.
    FinishReason(FinishReason),
    /// All generations together used at most this many tokens.
    MaxTokensUsed(usize),
    /// A tool was called.
    ToolCalled {
        /// The tool's name.
        name: String,
        /// Arguments the call must have, at least.
        args: serde_json::Map<String, serde_json::Value>,
    },
    /// The output equals the reviewed snapshot.
    Snapshot(SnapshotMatch),
    /// The first token of every generation came within this time.
    Ttft(Duration),
    /// Every generation took at most this time.
    EndToEnd(Duration),
}

/// A checked assertion.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The type as written, `not-` included.
    pub kind: String,
    /// The rule without its negation.
    pub rule: Rule,
    /// Whether the rule must *not* hold.
    pub negated: bool,
    /// The file where it stands, if that is not the scenario's.
    pub file: Option<String>,
    /// The line of the file, counted from 1.
    pub line: usize,
}

impl AssertionSpec {
    /// Every type without its `not-` form, in the order of the documentation.
    pub const KINDS: [&'static str; 11] = [
        "loop",
        "contains",
        "icontains",
        "regex",
        "equals",
        "finish-reason",
        "max-tokens-used",
        "tool-called",
        "snapshot",
        "ttft",
        "e2e",
    ];

    /// The types that also exist with `not-` in front.
    pub const NEGATABLE: [&'static str; 7] = [
        "loop",
        "contains",
        "icontains",
        "regex",
        "equals",
        "finish-reason",
        "tool-called",
    ];

    /// Checks the assertion and lowers it.
    ///
    /// # Errors
    /// If the type is unknown, or a parameter is missing, superfluous or of the wrong kind.
    pub fn lower(&self) -> Result<Assertion, SpecError> {
        let (base, negated) = match self.kind.strip_prefix("not-") {
            Some(base) if Self::NEGATABLE.contains(&base) => (base, true),
            _ => (self.kind.as_str(), false),
        };
        self.refuse_strangers(base)?;
        let rule = match base {
            "loop" => Rule::Loop {
                weakest: self.loop_state()?,
            },
            "contains" => Rule::Contains(self.text()?),
            "icontains" => Rule::ContainsIgnoreCase(self.text()?),
            "equals" => Rule::Equals(self.text()?),
            "regex" => Rule::Regex(self.regex()?),
            "finish-reason" => Rule::FinishReason(self.finish_reason()?),
            "max-tokens-used" => Rule::MaxTokensUsed(self.count()?),
            "tool-called" => Rule::ToolCalled {
                name: self.text()?,
                args: self.args.clone().unwrap_or_default(),
            },
            "snapshot" => Rule::Snapshot(self.snapshot_match()?),
            "ttft" => Rule::Ttft(self.duration()?),
            "e2e" => Rule::EndToEnd(self.duration()?),
            _ => {
                return Err(SpecError::UnknownKind {
                    kind: self.kind.clone(),
                });
            }
        };
        Ok(Assertion {
            kind: self.kind.clone(),
            rule,
            negated,
            file: self.file.clone(),
            line: self.line,
        })
    }

    /// A parameter that the type does not have is a mistake, not something to ignore.
    fn refuse_strangers(&self, base: &str) -> Result<(), SpecError> {
        let strangers = [
            ("args", self.args.is_some(), base == "tool-called"),
            ("state", self.state.is_some(), base == "loop"),
            ("match", self.matching.is_some(), base == "snapshot"),
            (
                "value",
                self.value.is_some(),
                !matches!(base, "loop" | "snapshot"),
            ),
        ];
        match strangers
            .iter()
            .find(|(_, given, belongs)| *given && !belongs)
        {
            Some((name, ..)) => Err(self.problem(format!("takes no '{name}'"))),
            None => Ok(()),
        }
    }

    fn loop_state(&self) -> Result<LoopState, SpecError> {
        match self.state.as_deref() {
            None | Some("confirmed") => Ok(LoopState::Confirmed),
            Some("suspected") => Ok(LoopState::Suspected),
            Some(other) => Err(self.problem(format!(
                "state is '{other}', but must be 'confirmed' or 'suspected'"
            ))),
        }
    }

    fn snapshot_match(&self) -> Result<SnapshotMatch, SpecError> {
        match self.matching.as_deref() {
            None | Some("tokens") => Ok(SnapshotMatch::Tokens),
            Some("text") => Ok(SnapshotMatch::Text),
            Some(other) => Err(self.problem(format!(
                "match is '{other}', but must be 'tokens' or 'text'"
            ))),
        }
    }

    fn text(&self) -> Result<String, SpecError> {
        match &self.value {
            Some(serde_json::Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(self.problem("needs a 'value' that is a non-empty text")),
        }
    }

    fn regex(&self) -> Result<Regex, SpecError> {
        let pattern = self.text()?;
        Regex::new(&pattern).map_err(|error| self.problem(format!("{error}")))
    }

    fn finish_reason(&self) -> Result<FinishReason, SpecError> {
        let text = self.text()?;
        FinishReason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| {
                let known = FinishReason::ALL.map(FinishReason::as_str).join(", ");
                self.problem(format!("'{text}' is no finish reason; known are {known}"))
            })
    }

    fn count(&self) -> Result<usize, SpecError> {
        self.value
            .as_ref()
            .and_then(serde_json::Value::as_u64)
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| self.problem("needs a 'value' that is a whole number"))
    }

    fn duration(&self) -> Result<Duration, SpecError> {
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

    fn problem(&self, problem: impl Into<String>) -> SpecError {
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
    #[case(json!({"type": "ttft", "value": "200"}), "ttft: '200' is no duration")]
    #[case(json!({"type": "e2e", "value": "-1s"}), "e2e: '-1s' is no duration")]
    fn mistakes_are_named(#[case] json: serde_json::Value, #[case] message: &str) {
        let error = spec(json).lower().expect_err("refused").to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn every_documented_type_lowers() {
        for kind in AssertionSpec::KINDS {
            let value = match kind {
                "loop" | "snapshot" => None,
                "finish-reason" => Some(json!("stop")),
                "max-tokens-used" => Some(json!(5)),
                "ttft" | "e2e" => Some(json!("1.5s")),
                _ => Some(json!("x")),
            };
            let plain = AssertionSpec {
                kind: kind.to_owned(),
                value,
                ..Default::default()
            };
            assert!(!plain.lower().expect(kind).negated);
            if AssertionSpec::NEGATABLE.contains(&kind) {
                let negated = AssertionSpec {
                    kind: format!("not-{kind}"),
                    ..plain
                };
                assert!(negated.lower().expect(kind).negated);
            }
        }
    }
}
