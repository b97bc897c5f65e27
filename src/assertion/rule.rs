//! The types of assertions, lowered once into rules that cannot be wrong.
//!
//! How a person writes one down is the neighbour `spec`; whether a rule holds is decided in `judge`.

use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::rerun::RerunRule;
use super::snapshot_rule::SnapshotRule;
use super::spec::{AssertionSpec, SpecError};
use super::text_rule::TextRule;
use super::tool_rule::ToolRule;
use crate::generation::{Channel, FinishReason};
use crate::loops::{LoopKind, LoopState};

/// A bound on how likely an answer is to the model that gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Likelihood {
    /// Its perplexity, e to the power of the negated mean of the log-probabilities, is at most this.
    Perplexity(f64),
    /// 1 / (1 + perplexity) is at least this.
    Score(f64),
}

/// A checked rule. Text rules look at the last answer of the conversation.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Some generation of the conversation loops, at least this surely.
    Loop {
        /// [`LoopState::Suspected`] or [`LoopState::Confirmed`].
        weakest: LoopState,
        /// The kinds that count; all of them if there is none.
        kinds: Vec<LoopKind>,
        /// The channels of the answer in which loops count; anywhere if there is none.
        scope: Vec<Channel>,
    },
    /// The answer contains this text.
    Contains(String),
    /// The answer contains this text, whatever the case of its letters.
    ContainsIgnoreCase(String),
    /// The answer matches this expression somewhere.
    Regex(Regex),
    /// The answer is this text, surrounding white space apart.
    Equals(String),
    /// Something else that a text can be asked.
    Text(TextRule),
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
    /// Something else about the calls of tools.
    Tools(ToolRule),
    /// How the answer compares with that of the same conversation, held once more.
    Rerun(RerunRule),
    /// The last answer was likely enough to the model.
    Likelihood(Likelihood),
    /// Enough of several assertions hold.
    Set {
        /// The share of the weights that must hold; all of them if there is none.
        threshold: Option<f64>,
        /// The assertions and their weights, at least one.
        members: Vec<(f64, Assertion)>,
    },
    /// The output equals the reviewed snapshot.
    Snapshot(SnapshotRule),
    /// The stream of every generation kept to its API.
    StreamValid,
    /// The first token of every generation came within this time.
    Ttft(Duration),
    /// The mean time between the tokens of every generation is at most this.
    InterToken(Duration),
    /// No generation paused for longer than this once its first token had come.
    Stall(Duration),
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
    /// The turn of the user to whose answers it belongs, from 1; the whole conversation without.
    pub turn: Option<usize>,
    /// The file where it stands, if that is not the scenario's.
    pub file: Option<String>,
    /// The line of the file, counted from 1.
    pub line: usize,
}

impl Assertion {
    /// Its rule, and those of its assertions if it is a set.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let members: &[(f64, Self)] = match &self.rule {
            Rule::Set { members, .. } => members,
            _ => &[],
        };
        std::iter::once(&self.rule).chain(members.iter().map(|(_, member)| &member.rule))
    }

    /// Those of its rules for which the conversation is held once more.
    pub fn reruns(&self) -> impl Iterator<Item = &RerunRule> {
        self.rules().filter_map(|rule| match rule {
            Rule::Rerun(rule) => Some(rule),
            _ => None,
        })
    }
}

/// The types of this file, in the order of the documentation.
const OWN: [&str; 18] = [
    "loop",
    "contains",
    "icontains",
    "regex",
    "equals",
    "finish-reason",
    "max-tokens-used",
    "tool-called",
    "snapshot",
    "stream-valid",
    "ttft",
    "itl",
    "stall",
    "e2e",
    "latency",
    "perplexity",
    "perplexity-score",
    "assert-set",
];

/// Those that have no `not-` form: they bound something, and the other bound is no wish.
const NOT_NEGATABLE: [&str; 7] = [
    "max-tokens-used",
    "snapshot",
    "ttft",
    "itl",
    "stall",
    "e2e",
    "assert-set",
];

impl AssertionSpec {
    /// Every type without its `not-` form, in the order of the documentation.
    #[must_use]
    pub fn kinds() -> Vec<&'static str> {
        let all = OWN.iter().chain(&TextRule::KINDS).chain(&ToolRule::KINDS);
        let all = all.chain(&RerunRule::KINDS);
        all.copied().collect()
    }

    /// The types that also exist with `not-` in front.
    #[must_use]
    pub fn negatable() -> Vec<&'static str> {
        let mut kinds = Self::kinds();
        kinds.retain(|kind| !NOT_NEGATABLE.contains(kind) && !RerunRule::KINDS.contains(kind));
        kinds
    }

    /// Checks the assertion and lowers it.
    ///
    /// # Errors
    /// If the type is unknown, or a parameter is missing, superfluous or of the wrong kind.
    pub fn lower(&self) -> Result<Assertion, SpecError> {
        if self.weight.is_some() {
            return Err(self.problem("takes no 'weight'; only those of an assert-set do"));
        }
        if self.turn.is_some() && self.kind == "snapshot" {
            return Err(self.problem(
                "holds a whole conversation, and this is one turn of it; write it under the test's \
                 'assert'",
            ));
        }
        self.lower_member()
    }

    /// The same for one that may have a weight.
    fn lower_member(&self) -> Result<Assertion, SpecError> {
        let (base, negated) = match self.kind.strip_prefix("not-") {
            Some(base) if Self::negatable().contains(&base) => (base, true),
            _ => (self.kind.as_str(), false),
        };
        self.refuse_strangers(base)?;
        let other = match TextRule::lower(self, base)? {
            Some(rule) => Some(Rule::Text(rule)),
            None => match RerunRule::lower(self, base)? {
                Some(rule) => Some(Rule::Rerun(rule)),
                None => ToolRule::lower(self, base, negated)?.map(Rule::Tools),
            },
        };
        let rule = match other {
            Some(rule) => rule,
            None => self.own_rule(base)?,
        };
        Ok(Assertion {
            kind: self.kind.clone(),
            rule,
            negated,
            turn: self.turn,
            file: self.file.clone(),
            line: self.line,
        })
    }

    fn own_rule(&self, base: &str) -> Result<Rule, SpecError> {
        Ok(match base {
            "loop" => Rule::Loop {
                weakest: self.loop_state()?,
                kinds: self.loop_kinds()?,
                scope: self.scope()?,
            },
            "contains" => Rule::Contains(self.text()?),
            "icontains" => Rule::ContainsIgnoreCase(self.text()?),
            "equals" => match &self.value {
                Some(value @ (Value::Object(_) | Value::Array(_))) => {
                    Rule::Text(TextRule::EqualsJson(value.clone()))
                }
                _ => Rule::Equals(self.text()?),
            },
            "regex" => Rule::Regex(self.regex()?),
            "finish-reason" => Rule::FinishReason(self.finish_reason()?),
            "max-tokens-used" => Rule::MaxTokensUsed(self.count()?),
            "tool-called" => Rule::ToolCalled {
                name: self.text()?,
                args: self.args.clone().unwrap_or_default(),
            },
            "snapshot" => Rule::Snapshot(SnapshotRule::of(self)?),
            "stream-valid" => Rule::StreamValid,
            "ttft" => Rule::Ttft(self.duration()?),
            "itl" => Rule::InterToken(self.duration()?),
            "stall" => Rule::Stall(self.duration()?),
            "e2e" => Rule::EndToEnd(self.duration()?),
            "latency" => Rule::EndToEnd(Duration::from_secs_f64(
                self.needed_threshold("in milliseconds")?.min(1e9) / 1e3,
            )),
            "perplexity" => Rule::Likelihood(Likelihood::Perplexity(
                self.needed_threshold("the highest perplexity")?,
            )),
            "perplexity-score" => Rule::Likelihood(Likelihood::Score(
                self.needed_threshold("the lowest score")?,
            )),
            "assert-set" => self.set()?,
            _ => {
                return Err(SpecError::UnknownKind {
                    kind: self.kind.clone(),
                });
            }
        })
    }

    /// The assertions of a set. One that holds nothing could not fail.
    fn set(&self) -> Result<Rule, SpecError> {
        let written = self.assertions.as_deref().unwrap_or_default();
        if written.is_empty() {
            return Err(self.problem("needs assertions under 'assert'"));
        }
        let mut members = Vec::new();
        for spec in written {
            if matches!(spec.kind.as_str(), "assert-set" | "snapshot") {
                return Err(self.problem(format!("cannot hold a '{}'", spec.kind)));
            }
            let weight = spec.weight.unwrap_or(1.0);
            if !(weight > 0.0 && weight.is_finite()) {
                return Err(spec.problem(format!("weight is {weight}, but must be above 0")));
            }
            members.push((weight, spec.lower_member()?));
        }
        let threshold = match self.threshold {
            None => None,
            Some(_) => Some(self.threshold_or(1.0, 1.0)?),
        };
        if threshold == Some(0.0) {
            return Err(self.problem("threshold is 0, so it could not fail"));
        }
        Ok(Rule::Set { threshold, members })
    }

    /// A parameter that the type does not have is a mistake, not something to ignore.
    fn refuse_strangers(&self, base: &str) -> Result<(), SpecError> {
        let measures = [
            "latency",
            "perplexity",
            "perplexity-score",
            "assert-set",
            "tool-call-f1",
        ];
        let has_threshold = measures.contains(&base) || TextRule::WITH_THRESHOLD.contains(&base);
        let no_value = [
            "loop",
            "snapshot",
            "contains-html",
            "stream-valid",
            "deterministic",
            "penalty-effect",
        ];
        let strangers = [
            ("args", self.args.is_some(), base == "tool-called"),
            ("state", self.state.is_some(), base == "loop"),
            ("kind", self.loop_kinds.is_some(), base == "loop"),
            ("scope", self.scope.is_some(), base == "loop"),
            ("match", self.matching.is_some(), base == "snapshot"),
            ("tokens", self.tokens.is_some(), base == "snapshot"),
            ("tie_margin", self.tie_margin.is_some(), base == "snapshot"),
            ("threshold", self.threshold.is_some(), has_threshold),
            ("assert", self.assertions.is_some(), base == "assert-set"),
            (
                "value",
                self.value.is_some(),
                base == "tool-call-f1" || !(no_value.contains(&base) || measures.contains(&base)),
            ),
        ];
        match strangers
            .iter()
            .find(|(_, given, belongs)| *given && !belongs)
        {
            // Of a type that does not exist, nothing is known.
            Some((name, ..)) if Self::kinds().contains(&base) => {
                Err(self.problem(format!("takes no '{name}'")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn spec(json: Value) -> AssertionSpec {
        let mut json = json;
        json["line"] = json!(3);
        serde_json::from_value(json).expect("a spec")
    }

    #[rstest]
    #[case(json!({"type": "contains", "value": "x", "weight": 2}), "contains: takes no 'weight'")]
    #[case(json!({"type": "contains", "value": "x", "threshold": 1}), "contains: takes no 'threshold'")]
    #[case(json!({"type": "latency", "value": 5}), "latency: takes no 'value'")]
    #[case(json!({"type": "contains", "value": "x", "kind": "exact"}), "contains: takes no 'kind'")]
    #[case(
        json!({"type": "loop", "kind": ["exact", "exat"]}),
        "loop: kind is 'exat', but must be one or several of exact, counter, template, near-duplicate, low-novelty"
    )]
    #[case(json!({"type": "contains", "value": "x", "scope": "content"}), "contains: takes no 'scope'")]
    #[case(
        json!({"type": "not-loop", "scope": ["content", "thoughts"]}),
        "not-loop: scope is 'thoughts', but must be one or several of reasoning, content, tool-call"
    )]
    #[case(json!({"type": "not-loop", "scope": []}), "not-loop: scope is an empty list, but must be")]
    #[case(json!({"type": "snapshot", "tokens": 3}), "snapshot: 'tokens' belongs to match 'prefix'")]
    #[case(
        json!({"type": "snapshot", "match": "prefix"}),
        "snapshot: match 'prefix' needs 'tokens', how many, at least 1"
    )]
    #[case(
        json!({"type": "snapshot", "match": "txt"}),
        "snapshot: match is 'txt', but must be 'tokens', 'prefix', 'text' or 'normalised'"
    )]
    #[case(
        json!({"type": "snapshot", "match": "text", "tie_margin": 0.1}),
        "snapshot: 'tie_margin' is for tokens; text has no margins"
    )]
    #[case(
        json!({"type": "snapshot", "tie_margin": 2}),
        "snapshot: tie_margin is 2, but must be above 0 and at most 1 logit"
    )]
    #[case(json!({"type": "latency"}), "latency: needs a 'threshold' above 0, in milliseconds")]
    #[case(json!({"type": "assert-set"}), "assert-set: needs assertions under 'assert'")]
    #[case(
        json!({"type": "assert-set", "threshold": 0, "assert": [{"type": "not-loop", "line": 1}]}),
        "assert-set: threshold is 0, so it could not fail"
    )]
    #[case(
        json!({"type": "assert-set", "assert": [{"type": "snapshot", "line": 1}]}),
        "assert-set: cannot hold a 'snapshot'"
    )]
    #[case(
        json!({"type": "assert-set", "assert": [{"type": "not-loop", "line": 1, "weight": 0}]}),
        "not-loop: weight is 0, but must be above 0"
    )]
    #[case(
        json!({"type": "assert-set", "assert": [{"type": "not-lop", "line": 1}]}),
        "unknown assertion type 'not-lop'"
    )]
    fn mistakes_are_named(#[case] json: Value, #[case] message: &str) {
        let error = spec(json).lower().expect_err("refused").to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn every_documented_type_lowers() {
        let kinds = AssertionSpec::kinds();
        assert_eq!(kinds.len(), 40);
        for kind in kinds {
            let value = match kind {
                "loop" | "snapshot" | "latency" | "perplexity" | "perplexity-score"
                | "assert-set" | "contains-html" | "stream-valid" | "deterministic"
                | "batch-invariant" | "api-parity" | "penalty-effect" => None,
                "finish-reason" => Some(json!("stop")),
                "max-tokens-used" | "word-count" => Some(json!(5)),
                "ttft" | "itl" | "stall" | "e2e" => Some(json!("1.5s")),
                "is-json" | "contains-json" => Some(json!({"type": "object"})),
                "trajectory:tool-args-match" => Some(json!({"name": "x", "args": {"a": 1}})),
                _ => Some(json!("x")),
            };
            let measures = ["latency", "perplexity", "perplexity-score"];
            let plain = AssertionSpec {
                kind: kind.to_owned(),
                value,
                threshold: measures.contains(&kind).then_some(0.5),
                assertions: (kind == "assert-set").then(|| vec![spec(json!({"type": "loop"}))]),
                ..Default::default()
            };
            assert!(!plain.lower().expect(kind).negated);
            if AssertionSpec::negatable().contains(&kind) {
                let negated = AssertionSpec {
                    kind: format!("not-{kind}"),
                    ..plain
                };
                assert!(negated.lower().expect(kind).negated);
            }
        }
    }
}
