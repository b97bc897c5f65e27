//! JSON objects read field by field, so that an error can name its place.

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::yaml::nearest;

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

/// A field that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// Its place, such as `messages[0].nmae`.
    pub place: String,
    /// The known field of that object that was most likely meant.
    pub meant: Option<&'static str>,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not known here and was ignored", self.place)?;
        match self.meant {
            Some(meant) => write!(f, "; did you mean '{meant}'?"),
            None => Ok(()),
        }
    }
}

/// What becomes of fields that nobody asked for.
#[derive(Debug)]
pub(super) enum Unknown {
    /// They are errors: a person wrote the document.
    Refused,
    /// They are noted: a program sent it, which may know more than we do.
    Noted(Vec<UnknownField>),
}

impl Unknown {
    /// What was noted.
    pub(super) fn noted(self) -> Vec<UnknownField> {
        match self {
            Self::Refused => Vec::new(),
            Self::Noted(fields) => fields,
        }
    }
}

/// Most unknown fields that are noted: more say no more.
const MOST_NOTED: usize = 16;

/// An object from which known fields are taken; what is left is unknown.
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

    /// A number, or `None`.
    pub(super) fn number(&mut self, field: &'static str) -> Result<Option<f64>, WireError> {
        match self.optional(field) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| {
                self.error(field, format!("expected a number, found {}", kind(value)))
            }),
        }
    }

    /// A whole number that is not negative, or `None`.
    pub(super) fn whole(&mut self, field: &'static str) -> Result<Option<u64>, WireError> {
        let Some(value) = self.optional(field) else {
            return Ok(None);
        };
        let found = match value {
            Value::Number(number) => match number.as_u64() {
                Some(whole) => return Ok(Some(whole)),
                None => number.to_string(),
            },
            other => kind(other).to_owned(),
        };
        let problem = format!("expected a whole number, 0 or more, found {found}");
        Err(self.error(field, problem))
    }

    /// A whole number that counts or indexes, or `None`.
    pub(super) fn size(&mut self, field: &'static str) -> Result<Option<usize>, WireError> {
        let whole = self.whole(field)?;
        Ok(whole.map(|whole| usize::try_from(whole).unwrap_or(usize::MAX)))
    }

    /// True or false, or `None`.
    pub(super) fn flag(&mut self, field: &'static str) -> Result<Option<bool>, WireError> {
        match self.optional(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => {
                let problem = format!("expected true or false, found {}", kind(other));
                Err(self.error(field, problem))
            }
        }
    }

    /// Takes fields that are known and have no effect here.
    pub(super) fn without_effect(&mut self, fields: &[&'static str]) {
        for field in fields {
            self.optional(field);
        }
    }

    /// Deals with the fields that nobody asked for.
    pub(super) fn finish(self, unknown: &mut Unknown) -> Result<(), WireError> {
        let is_unknown = |key: &&String| !self.known.contains(&key.as_str());
        match unknown {
            Unknown::Refused => match self.object.keys().find(is_unknown) {
                None => Ok(()),
                Some(key) => Err(self.error(
                    key,
                    format!("is not known here; known are {}", self.known.join(", ")),
                )),
            },
            Unknown::Noted(noted) => {
                let room = MOST_NOTED.saturating_sub(noted.len());
                let fields = self.object.keys().filter(is_unknown).take(room);
                noted.extend(fields.map(|key| UnknownField {
                    place: self.place(key),
                    meant: nearest(key, self.known.iter().copied()),
                }));
                Ok(())
            }
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
