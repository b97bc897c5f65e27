//! One assertion of promptfoo as one of ours, under the same name and with the same meaning.

use serde_json::{Map, Value, json};

use super::Lost;
use super::node::{Kind, Node, line};
use super::texts::names;
use crate::assertion::{AssertionSpec, SpecError};

/// What a language model or a program judges there, which has no place here.
const JUDGED_ELSEWHERE: [&str; 24] = [
    "agent-rubric",
    "answer-relevance",
    "classifier",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "conversation-relevance",
    "factuality",
    "g-eval",
    "guardrails",
    "javascript",
    "llm-rubric",
    "model-graded-closedqa",
    "model-graded-factuality",
    "moderation",
    "pi",
    "python",
    "ruby",
    "search-rubric",
    "similar",
    "trajectory:goal-success",
    "webhook",
    "select-best",
    "max-score",
];

/// An assertion that was carried over.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    /// In the form of a scenario.
    pub(super) spec: Map<String, Value>,
    /// How much it counts where weights count.
    pub(super) weight: f64,
    /// The variables that it names.
    pub(super) names: Vec<String>,
}

/// Keys that change nothing in whether an assertion holds.
const HARMLESS: [&str; 5] = ["type", "value", "threshold", "weight", "metric"];

/// Carries one assertion over.
///
/// # Errors
/// Why that cannot be.
pub(super) fn carry(node: &Node) -> Result<Carried, Lost> {
    let lost = |what: String| Lost {
        line: line(node),
        what,
    };
    let entries = &node.value;
    let Some(kind) = entries.get("type").and_then(|kind| kind.value.text()) else {
        return Err(lost("an assertion without a type".to_owned()));
    };
    let base = kind.strip_prefix("not-").unwrap_or(kind);
    let refuse = |why: String| lost(format!("assertion '{kind}': {why}"));
    if JUDGED_ELSEWHERE.contains(&base) || base.starts_with("similar:") {
        return Err(refuse(
            "a model or a program judges it there; ours compute".to_owned(),
        ));
    }
    let is_set = base == "assert-set";
    let stranger = entries.entries().iter().find(|(key, _)| {
        let key = key.value.as_str();
        !(HARMLESS.contains(&key) || (is_set && key == "assert"))
    });
    if let Some((key, _)) = stranger {
        return Err(refuse(format!("there is no '{}' here", key.value)));
    }
    let weight = match entries.get("weight").map(|weight| weight.value.plain()) {
        None => 1.0,
        Some(weight) => weight.as_f64().unwrap_or(-1.0),
    };
    if weight <= 0.0 {
        return Err(refuse("with a weight of 0 it cannot fail".to_owned()));
    }
    let mut spec = Map::new();
    spec.insert("type".to_owned(), json!(kind));
    let mut found = Vec::new();
    let written = entries.get("value").map(|value| value.value.plain());
    if let Some(value) = value(base, written).map_err(&refuse)? {
        names(&value, &mut found)
            .map_err(|piece| refuse(format!("'{piece}' is more than the name of a variable")))?;
        spec.insert("value".to_owned(), value);
    }
    match entries.get("threshold").map(|one| one.value.plain()) {
        Some(threshold) => {
            spec.insert("threshold".to_owned(), threshold);
        }
        None if base.starts_with("perplexity") => {
            return Err(refuse("without a threshold it cannot fail".to_owned()));
        }
        None => {}
    }
    if is_set {
        let members = set(node, &mut found)
            .map_err(|one| refuse(format!("it is left out whole, because of {}", one.what)))?;
        spec.insert("assert".to_owned(), members);
    }
    check(&spec, &found).map_err(refuse)?;
    Ok(Carried {
        spec,
        weight,
        names: found,
    })
}

/// The assertions of a set, all of them: without one of them, the others weigh something else.
fn set(node: &Node, found: &mut Vec<String>) -> Result<Value, Lost> {
    let mut members = Vec::new();
    for member in node
        .value
        .get("assert")
        .map(Kind::items)
        .unwrap_or_default()
    {
        let carried = carry(member)?;
        found.extend(carried.names.iter().cloned());
        members.push(Value::Object(carried.weighted()));
    }
    Ok(Value::Array(members))
}

impl Carried {
    /// With its weight, for a set.
    pub(super) fn weighted(&self) -> Map<String, Value> {
        let mut spec = self.spec.clone();
        if self.weight != 1.0 {
            spec.insert("weight".to_owned(), json!(self.weight));
        }
        spec
    }
}

/// Whether ours takes it. What a variable will be is not known, so only its type is checked then.
fn check(spec: &Map<String, Value>, names: &[String]) -> Result<(), String> {
    fn placed(spec: &Map<String, Value>) -> Value {
        let mut spec = spec.clone();
        spec.insert("line".to_owned(), json!(1));
        if let Some(Value::Array(members)) = spec.get_mut("assert") {
            for member in members {
                if let Value::Object(fields) = member {
                    *member = placed(fields);
                }
            }
        }
        Value::Object(spec)
    }
    let spec: AssertionSpec =
        serde_json::from_value(placed(spec)).map_err(|error| error.to_string())?;
    match spec.lower() {
        Ok(_) => Ok(()),
        Err(SpecError::UnknownKind { .. }) => Err("there is no such type here".to_owned()),
        Err(SpecError::Parameter { .. }) if !names.is_empty() => Ok(()),
        Err(SpecError::Parameter { problem, .. }) => Err(problem),
    }
}

/// The value in the form that ours has.
fn value(base: &str, written: Option<Value>) -> Result<Option<Value>, String> {
    let Some(written) = written.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    if written
        .as_str()
        .is_some_and(|text| text.starts_with("file://"))
    {
        return Err("its value is a file; write the value itself".to_owned());
    }
    let value = match base {
        "contains-any" | "contains-all" | "icontains-any" | "icontains-all" => list(written),
        "is-xml" | "contains-xml" => match written {
            Value::Object(mut fields) => match fields.shift_remove("requiredElements") {
                Some(elements) => elements,
                None => Value::Object(fields),
            },
            other => list(other),
        },
        "tool-call-f1" => list(written),
        "is-json" | "contains-json" => match written {
            Value::String(text) => {
                serde_saphyr::from_str(&text).map_err(|_| "its schema cannot be read".to_owned())?
            }
            other => other,
        },
        "word-count" => match written.as_str().map(str::parse::<u64>) {
            Some(Ok(count)) => json!(count),
            _ => written,
        },
        "equals" => match written {
            Value::Number(number) => json!(number.to_string()),
            Value::Bool(truth) => json!(truth.to_string()),
            other => other,
        },
        "trajectory:tool-args-match" => match written {
            Value::Object(fields) => {
                let ours = |key: String| {
                    if key == "arguments" {
                        "args".to_owned()
                    } else {
                        key
                    }
                };
                let fields = fields.into_iter().map(|(key, value)| (ours(key), value));
                Value::Object(fields.collect())
            }
            other => other,
        },
        // Steps are names, or tables of which only a name has a place here.
        "trajectory:tool-sequence" => steps(written),
        _ => written,
    };
    Ok(Some(value))
}

fn steps(written: Value) -> Value {
    let name = |step: Value| match step {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("name") => {
            fields.get("name").cloned().unwrap_or_default()
        }
        other => other,
    };
    match written {
        Value::Array(items) => items.into_iter().map(name).collect(),
        Value::Object(mut fields) => {
            if let Some(steps) = fields.shift_remove("steps") {
                fields.insert("steps".to_owned(), self::steps(steps));
            }
            Value::Object(fields)
        }
        other => other,
    }
}

/// Values that promptfoo also takes as one text with commas, of which quotes keep one.
fn list(written: Value) -> Value {
    let Value::String(text) = written else {
        return written;
    };
    let mut items = Vec::new();
    let mut rest = text.as_str();
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        if rest.is_empty() {
            return Value::Array(items);
        }
        let (item, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                let (item, behind) = rest.split_once(',').unwrap_or((rest, ""));
                (item.trim(), behind)
            }
        };
        items.push(json!(item));
        rest = behind;
    }
}
