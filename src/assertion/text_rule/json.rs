//! JSON in an answer: whether it is there, and of which schema.

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, Validator};
use serde_json::Value;

use crate::assertion::finding::{Finding, found};
use crate::assertion::message::{beginning, quoted};
use crate::assertion::spec::{AssertionSpec, SpecError};

/// Characters of JSON that a message shows.
const SHOWN_CHARS: usize = 120;

/// A JSON Schema: draft 7 unless it names another.
#[derive(Clone)]
pub struct Schema {
    written: Value,
    validator: Arc<Validator>,
}

/// As written, which is all that tells one from another.
impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.written)
    }
}

impl Schema {
    /// The schema of an assertion, if it has one.
    pub(super) fn of(spec: &AssertionSpec) -> Result<Option<Self>, SpecError> {
        let written = match &spec.value {
            None => return Ok(None),
            Some(written @ (Value::Object(_) | Value::Bool(_))) => written.clone(),
            Some(_) => return Err(spec.problem("needs a 'value' that is a JSON Schema, or none")),
        };
        let options = match written.get("$schema") {
            Some(_) => jsonschema::options(),
            None => jsonschema::options().with_draft(Draft::Draft7),
        };
        let validator = options
            .build(&written)
            .map_err(|error| spec.problem(format!("'value' is no JSON Schema: {error}")))?;
        Ok(Some(Self {
            written,
            validator: Arc::new(validator),
        }))
    }

    /// What is wrong with a value, if anything is.
    fn refuses(&self, value: &Value) -> Option<String> {
        let error = self.validator.validate(value).err()?;
        Some(format!("{error} (at '{}')", error.instance_path()))
    }
}

/// Whether an answer is JSON of this value.
pub(super) fn equals(answer: &str, value: &Value) -> Finding {
    match serde_json::from_str::<Value>(answer) {
        Ok(said) => found(
            same(&said, value),
            format!("the answer is {}", shown(&said)),
        ),
        Err(error) => not_json(answer, &error),
    }
}

/// Whether two values are the same. 1 and 1.0 are one number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let equal = |(key, value): (&String, &Value)| {
                other.get(key).is_some_and(|other| same(value, other))
            };
            one.len() == other.len() && one.iter().all(equal)
        }
        _ => one == other,
    }
}

/// Whether an answer is JSON.
pub(super) fn is(answer: &str, schema: Option<&Schema>) -> Finding {
    let value = match serde_json::from_str::<Value>(answer) {
        Ok(value) => value,
        Err(error) => return not_json(answer, &error),
    };
    match schema.and_then(|schema| schema.refuses(&value)) {
        Some(problem) => found(false, format!("JSON, and not of the schema: {problem}")),
        None => found(true, format!("the answer is JSON: {}", shown(&value))),
    }
}

/// Whether a JSON object stands somewhere in an answer.
pub(super) fn contains(answer: &str, schema: Option<&Schema>) -> Finding {
    let mut problem = None;
    let mut from = 0;
    while let Some(open) = answer.get(from..).and_then(|rest| rest.find('{')) {
        from += open;
        let rest = answer.get(from..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let Some(Ok(value)) = values.next() else {
            from += 1;
            continue;
        };
        let Some(refused) = schema.and_then(|schema| schema.refuses(&value)) else {
            let fact = format!("JSON stands at byte {from}: {}", shown(&value));
            return found(true, fact);
        };
        problem = Some(format!(
            "JSON at byte {from} is not of the schema: {refused}"
        ));
        from += values.byte_offset();
    }
    let none = || format!("no JSON object in the answer; {}", beginning(answer));
    found(false, problem.unwrap_or_else(none))
}

fn not_json(answer: &str, error: &serde_json::Error) -> Finding {
    found(false, format!("no JSON: {error}; {}", beginning(answer)))
}

fn shown(value: &Value) -> String {
    quoted(&value.to_string(), SHOWN_CHARS)
}
