//! Rules about the calls of a conversation: which tools, how often, in which order, with which
//! arguments. Types and meaning are those of promptfoo.
//!
//! Knows names and arguments. What a tool answers is not known here.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::finding::{Finding, found};
use super::message::{call, count};
use super::spec::{AssertionSpec, SpecError};
use crate::generation::{Conversation, ToolCall};

/// A rule about the calls of tools.
#[derive(Debug, Clone)]
pub enum ToolRule {
    /// These tools are called: all of them, or any.
    Used {
        /// At least one.
        names: Vec<String>,
        /// One is enough.
        any: bool,
    },
    /// A tool is called so often.
    Times {
        /// The tool.
        name: String,
        /// At least so often.
        min: usize,
        /// At most so often.
        max: usize,
    },
    /// Tools are called in this order.
    Sequence {
        /// At least one.
        names: Vec<String>,
        /// Without others between, before or behind them.
        exact: bool,
    },
    /// A tool is called with these arguments.
    Args {
        /// The tool.
        name: String,
        /// The arguments.
        args: Map<String, Value>,
        /// And no others.
        exact: bool,
    },
    /// The F1 score of the set of tools that are called, against these, is at least `least`.
    F1 {
        /// At least one.
        names: BTreeSet<String>,
        /// From 0 to 1.
        least: f64,
    },
}

impl ToolRule {
    /// The types here, in the order of the documentation.
    pub(super) const KINDS: [&'static str; 4] = [
        "trajectory:tool-used",
        "trajectory:tool-sequence",
        "trajectory:tool-args-match",
        "tool-call-f1",
    ];

    /// Lowers an assertion of the type `base`; nothing if it is not one of these.
    pub(super) fn lower(
        spec: &AssertionSpec,
        base: &str,
        negated: bool,
    ) -> Result<Option<Self>, SpecError> {
        let rule = match base {
            "trajectory:tool-used" => match &spec.value {
                Some(Value::Object(value)) => times(spec, value),
                // Negated, none of them may be called: promptfoo forbids each, not all together.
                _ => Ok(Self::Used {
                    names: spec.texts()?,
                    any: negated,
                }),
            },
            "trajectory:tool-sequence" => sequence(spec),
            "trajectory:tool-args-match" => arguments(spec),
            "tool-call-f1" => Ok(Self::F1 {
                names: spec.texts()?.into_iter().collect(),
                least: spec.threshold_or(1.0, 1.0)?,
            }),
            _ => return Ok(None),
        };
        rule.map(Some)
    }

    /// The tools that it names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Used { names, .. } | Self::Sequence { names, .. } => {
                names.iter().map(String::as_str).collect()
            }
            Self::Times { name, .. } | Self::Args { name, .. } => vec![name],
            Self::F1 { names, .. } => names.iter().map(String::as_str).collect(),
        }
    }

    /// What stands behind the type in a label.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Used { names, .. } => names.join(", "),
            Self::Times {
                name,
                min,
                max: usize::MAX,
            } => format!("{name} >= {min}"),
            Self::Times { name, min, max } => format!("{name} {min} to {max}"),
            Self::Sequence { names, exact: true } => format!("{} (exact)", names.join(", ")),
            Self::Sequence { names, .. } => names.join(", "),
            Self::Args { name, args, exact } => {
                format!(
                    "{}{}",
                    call(name, args),
                    if *exact { " (exact)" } else { "" }
                )
            }
            Self::F1 { names, least } => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("{} >= {least}", names.join(", "))
            }
        }
    }

    /// Judges the calls of a conversation.
    pub(super) fn judge(&self, conversation: &Conversation) -> Finding {
        let calls: Vec<&ToolCall> = conversation.tool_calls().collect();
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        let made = || match names.as_slice() {
            [] => "no tool was called".to_owned(),
            names => format!("the calls were: {}", names.join(", ")),
        };
        match self {
            Self::Used { names: wanted, any } => {
                let called = |name: &String| names.contains(&name.as_str());
                let holds = match any {
                    true => wanted.iter().any(called),
                    false => wanted.iter().all(called),
                };
                found(holds, made())
            }
            Self::Times { name, min, max } => {
                let times = names.iter().filter(|other| *other == name).count();
                let fact = format!("{} of {name}; {}", count(times, "call"), made());
                found((*min..=*max).contains(&times), fact)
            }
            Self::Sequence {
                names: wanted,
                exact,
            } => {
                let holds = match exact {
                    true => names == *wanted,
                    false => in_order(&names, wanted),
                };
                found(holds, made())
            }
            Self::Args { name, args, exact } => {
                let hit = calls.iter().find(|one| {
                    let same = || match exact {
                        true => one.arguments == *args,
                        false => partly(&one.arguments, args),
                    };
                    one.name == *name && same()
                });
                let with = |one: &&ToolCall| call(&one.name, &one.arguments);
                let fact = match (hit, calls.as_slice()) {
                    (Some(hit), _) => format!("called: {}", with(hit)),
                    (None, []) => made(),
                    (None, calls) => {
                        let all: Vec<String> = calls.iter().map(with).collect();
                        format!("the calls were: {}", all.join(", "))
                    }
                };
                found(hit.is_some(), fact)
            }
            Self::F1 {
                names: wanted,
                least,
            } => {
                let called: BTreeSet<&str> = names.iter().copied().collect();
                let shared = wanted.iter().filter(|name| called.contains(name.as_str()));
                let score = 2.0 * shared.count() as f64 / (wanted.len() + called.len()) as f64;
                Finding {
                    score,
                    ..found(
                        score >= *least,
                        format!("the score is {score:.3}; {}", made()),
                    )
                }
            }
        }
    }
}

/// Whether the wanted names come one behind the other, others between them or not.
fn in_order(names: &[&str], wanted: &[String]) -> bool {
    let mut names = names.iter();
    wanted.iter().all(|wanted| names.any(|name| name == wanted))
}

/// Objects may have more members than wanted; lists are compared item by item.
fn partly(given: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    fn of(given: &Value, wanted: &Value) -> bool {
        match (given, wanted) {
            (Value::Object(given), Value::Object(wanted)) => partly(given, wanted),
            (Value::Array(given), Value::Array(wanted)) => {
                let pairs = given.iter().zip(wanted);
                given.len() == wanted.len() && pairs.into_iter().all(|(one, other)| of(one, other))
            }
            (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
            _ => given == wanted,
        }
    }
    wanted
        .iter()
        .all(|(name, wanted)| given.get(name).is_some_and(|given| of(given, wanted)))
}

/// Refuses a key that is none of `known`.
fn known_keys(
    spec: &AssertionSpec,
    value: &Map<String, Value>,
    known: &[&str],
) -> Result<(), SpecError> {
    match value.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let known = known.join(", ");
            Err(spec.problem(format!("'value' has no '{key}'; known are {known}")))
        }
        None => Ok(()),
    }
}

fn tool_name(spec: &AssertionSpec, value: &Map<String, Value>) -> Result<String, SpecError> {
    match value.get("name") {
        Some(Value::String(name)) if !name.is_empty() => Ok(name.clone()),
        _ => Err(spec.problem("'value' needs the 'name' of a tool")),
    }
}

fn bound(
    spec: &AssertionSpec,
    value: &Map<String, Value>,
    key: &str,
) -> Result<Option<usize>, SpecError> {
    let Some(written) = value.get(key) else {
        return Ok(None);
    };
    let count = written
        .as_u64()
        .and_then(|count| usize::try_from(count).ok());
    count
        .map(Some)
        .ok_or_else(|| spec.problem(format!("'{key}' must be a whole number")))
}

/// `{name: read, min: 1, max: 2}`.
fn times(spec: &AssertionSpec, value: &Map<String, Value>) -> Result<ToolRule, SpecError> {
    known_keys(spec, value, &["name", "min", "max"])?;
    let (min, max) = (bound(spec, value, "min")?, bound(spec, value, "max")?);
    let (min, max) = (min.unwrap_or(1), max.unwrap_or(usize::MAX));
    if min > max {
        return Err(spec.problem(format!("min is {min}, and max {max}")));
    }
    Ok(ToolRule::Times {
        name: tool_name(spec, value)?,
        min,
        max,
    })
}

fn is_exact(
    spec: &AssertionSpec,
    value: &Map<String, Value>,
    other: &str,
) -> Result<bool, SpecError> {
    match value.get("mode").map(Value::as_str) {
        None => Ok(false),
        Some(Some("exact")) => Ok(true),
        Some(Some(mode)) if mode == other => Ok(false),
        Some(_) => Err(spec.problem(format!("'mode' must be 'exact' or '{other}'"))),
    }
}

/// A list of names, or `{steps: […], mode: exact}`.
fn sequence(spec: &AssertionSpec) -> Result<ToolRule, SpecError> {
    let Some(Value::Object(value)) = &spec.value else {
        return Ok(ToolRule::Sequence {
            names: spec.texts()?,
            exact: false,
        });
    };
    known_keys(spec, value, &["steps", "mode"])?;
    let steps = AssertionSpec {
        kind: spec.kind.clone(),
        value: value.get("steps").cloned(),
        ..AssertionSpec::default()
    };
    Ok(ToolRule::Sequence {
        names: steps.texts()?,
        exact: is_exact(spec, value, "in_order")?,
    })
}

/// `{name: read, args: {path: a}, mode: exact}`.
fn arguments(spec: &AssertionSpec) -> Result<ToolRule, SpecError> {
    let Some(Value::Object(value)) = &spec.value else {
        return Err(spec.problem("needs a 'value' that is {name: …, args: {…}}"));
    };
    known_keys(spec, value, &["name", "args", "mode"])?;
    let Some(Value::Object(args)) = value.get("args") else {
        return Err(spec.problem("'value' needs 'args', a table of arguments"));
    };
    Ok(ToolRule::Args {
        name: tool_name(spec, value)?,
        args: args.clone(),
        exact: is_exact(spec, value, "partial")?,
    })
}
