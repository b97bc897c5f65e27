//! JSON objects read field by field, so that an error can name its place.

use serde_json::{Map, Value};
use thiserror::Error;

/// A place in a document, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {problem}")]
pub struct WireError {
    /// The place, such as `messages[2].tool_calls[0].function`.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl WireError {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

/// An object from which known fields are taken; what is left is an error.
pub(super) struct Fields<'a> {
    place: String,
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value, place: String) -> Result<Self, WireError> {
        match value.as_object() {
            Some(object) => Ok(Self {
                place,
                object,
                known: Vec::new(),
            }),
            None => Err(WireError::new(
                place,
                format!("expected an object, found {}", kind(value)),
            )),
        }
    }

    /// Where a field stands.
    pub(super) fn place(&self, field: &str) -> String {
        if self.place.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.place)
        }
    }

    /// An error at a field.
    pub(super) fn error(&self, field: &str, problem: impl Into<String>) -> WireError {
        WireError::new(self.place(field), problem)
    }

    /// A field, or `None` if it is absent or null.
    pub(super) fn optional(&mut self, field: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&field) {
            self.known.push(field);
        }
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(super) fn required(&mut self, field: &'static str) -> Result<&'a Value, WireError> {
        self.optional(field)
            .ok_or_else(|| self.error(field, "is missing"))
    }

    /// A text, or `None`.
    pub(super) fn optional_text(
        &mut self,
        field: &'static str,
    ) -> Result<Option<String>, WireError> {
        match self.optional(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.error(field, format!("expected text, found {}", kind(other)))),
        }
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, field: &'static str) -> Result<String, WireError> {
        self.optional_text(field)?
            .ok_or_else(|| self.error(field, "is missing"))
    }

    /// Items of a list with their places; none if the field is absent.
    pub(super) fn list(
        &mut self,
        field: &'static str,
    ) -> Result<Vec<(&'a Value, String)>, WireError> {
        match self.optional(field) {
            None => Ok(Vec::new()),
            Some(value) => items(value, &self.place(field)),
        }
    }

    /// Refuses fields that nobody asked for.
    pub(super) fn finish(self) -> Result<(), WireError> {
        match self
            .object
            .keys()
            .find(|key| !self.known.contains(&key.as_str()))
        {
            None => Ok(()),
            Some(key) => Err(self.error(
                key,
                format!("is not known here; known are {}", self.known.join(", ")),
            )),
        }
    }
}

/// Items of a list with their places.
pub(super) fn items<'a>(
    value: &'a Value,
    place: &str,
) -> Result<Vec<(&'a Value, String)>, WireError> {
    match value.as_array() {
        Some(list) => Ok(list
            .iter()
            .enumerate()
            .map(|(index, item)| (item, format!("{place}[{index}]")))
            .collect()),
        None => Err(WireError::new(
            place,
            format!("expected a list, found {}", kind(value)),
        )),
    }
}

/// What a value is, in a word.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
