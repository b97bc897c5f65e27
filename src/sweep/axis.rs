//! One axis: a sampling field and the values that it takes.
//!
//! It knows names, short ones too, and how to read values. Whether a value is in its range is
//! known only together with the other settings of a point.

use serde_json::Value;
use thiserror::Error;

use super::range::Range;
use crate::generation::SamplingSettings;
use crate::yaml::{nearest, remedy};

/// The fields that can be swept. Lists and tables cannot.
const FIELDS: [&str; 15] = [
    "semantics",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "xtc_probability",
    "xtc_threshold",
    "max_tokens",
    "repetition_penalty",
    "repetition_context_size",
    "presence_penalty",
    "presence_context_size",
    "frequency_penalty",
    "frequency_context_size",
    "ignore_eos",
];

/// Short names of fields.
const SHORT: [(&str, &str); 6] = [
    ("penalty", "repetition_penalty"),
    ("window", "repetition_context_size"),
    ("presence", "presence_penalty"),
    ("presence_window", "presence_context_size"),
    ("frequency", "frequency_penalty"),
    ("frequency_window", "frequency_context_size"),
];

/// An axis that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct AxisError(pub String);

/// A sampling field and its values, at least one, no two alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The field of the sampling settings.
    pub field: &'static str,
    /// What it is set to, in the order given.
    pub values: Vec<Value>,
    /// Where it is written, if that is a file.
    pub(super) place: Option<String>,
}

impl Axis {
    /// An axis of a name, short or long, with or without `sampling.`.
    ///
    /// # Errors
    /// If there is no such field, it has no value or one twice, or one has the wrong type.
    pub fn new(name: &str, values: Vec<Value>) -> Result<Self, AxisError> {
        let field = field(name, "axis")?;
        if values.is_empty() {
            return Err(AxisError(format!("the axis {name} has no values")));
        }
        for (index, value) in values.iter().enumerate() {
            layer(field, value).map_err(|error| AxisError(format!("the axis {error}")))?;
            if values[..index].iter().any(|other| same(other, value)) {
                return Err(AxisError(format!(
                    "the axis {name} has the value {} twice",
                    shown(value)
                )));
            }
        }
        Ok(Self {
            field,
            values,
            place: None,
        })
    }

    /// An axis as a file gives it: a list of values, or the least, the greatest and the step
    /// between them.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if it is neither.
    pub(super) fn written(name: &str, values: Value) -> Result<Self, AxisError> {
        field(name, "axis")?;
        match values {
            Value::Array(values) => Self::new(name, values),
            values @ Value::Object(_) => {
                let range = serde_json::from_value::<Range>(values).map_err(|error| {
                    format!("{error}; write a range as {{min: 1.0, max: 1.3, step: 0.05}}")
                });
                let values = range.and_then(|range| range.values());
                Self::new(name, values.map_err(of_axis(name))?)
            }
            other => Err(AxisError(format!(
                "the axis {name}: {} is neither a list of values, such as [1.0, 1.1], nor a range, \
                 such as {{min: 1.0, max: 1.3, step: 0.05}}",
                shown(&other)
            ))),
        }
    }

    /// An axis as the command line gives it: `name=v1,v2,…` or `name=least..greatest:step`.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if it is not of that form.
    pub fn parse(text: &str) -> Result<Self, AxisError> {
        let Some((name, values)) = text.split_once('=') else {
            return Err(AxisError(format!(
                "write an axis as name=value,value,…, such as penalty=1.0,1.05,1.1; '{text}' has no ="
            )));
        };
        // The name first: whoever mistypes it should read of that.
        field(name.trim(), "axis")?;
        if values.contains("..") {
            let range = Range::parse(values).and_then(|range| range.values());
            return Self::new(name.trim(), range.map_err(of_axis(name))?);
        }
        let values: Vec<Value> = serde_saphyr::from_str(&format!("[{values}]")).map_err(|_| {
            AxisError(format!(
                "the axis {name}: '{values}' is no list of values with commas between them"
            ))
        })?;
        Self::new(name.trim(), values)
    }
}

fn of_axis(name: &str) -> impl Fn(String) -> AxisError {
    move |problem| AxisError(format!("the axis {name}: {problem}"))
}

/// The field of a name; `noun` is what a person wrote it as.
pub(super) fn field(name: &str, noun: &str) -> Result<&'static str, AxisError> {
    let bare = name.strip_prefix("sampling.").unwrap_or(name);
    let short = SHORT.iter().find(|(short, _)| *short == bare);
    let wanted = short.map_or(bare, |(_, long)| *long);
    if let Some(field) = FIELDS.iter().find(|field| **field == wanted) {
        return Ok(field);
    }
    if bare == "seed" || bare == "seeds" {
        return Err(AxisError(
            "seeds are no axis and no field of a point, because they are repeats of one setting; give --seeds 1,2,3"
                .to_owned(),
        ));
    }
    let names = || SHORT.iter().map(|(short, _)| *short).chain(FIELDS);
    let help = match nearest(bare, names()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => remedy(bare, &names().collect::<Vec<_>>()),
    };
    Err(AxisError(format!("there is no {noun} '{name}'; {help}")))
}

/// One value as a layer of settings.
pub(super) fn layer(field: &str, value: &Value) -> Result<SamplingSettings, AxisError> {
    let object = serde_json::Map::from_iter([(field.to_owned(), value.clone())]);
    serde_json::from_value(Value::Object(object)).map_err(|error| {
        AxisError(format!(
            "{field}: {} is not a value of it ({error})",
            shown(value)
        ))
    })
}

/// 1 and 1.0 are one number.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A value as a person writes it.
#[must_use]
pub(super) fn shown(value: &Value) -> String {
    match (value, value.as_f64()) {
        (Value::String(text), _) => text.clone(),
        (_, Some(number)) => number.to_string(),
        (other, _) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("penalty=1.0,1.05", "repetition_penalty", 2)]
    #[case("sampling.repetition_penalty=1.0", "repetition_penalty", 1)]
    #[case("window=20, 64", "repetition_context_size", 2)]
    #[case("semantics=loopwatch,mlx-lm-0.32.2", "semantics", 2)]
    #[case("ignore_eos=true,false", "ignore_eos", 2)]
    #[case("penalty=1.0..1.3:0.05", "repetition_penalty", 7)]
    fn names_and_values_are_read(#[case] text: &str, #[case] field: &str, #[case] values: usize) {
        let axis = Axis::parse(text).expect("an axis");
        assert_eq!((axis.field, axis.values.len()), (field, values));
    }

    #[rstest]
    #[case("penality=1.0", "there is no axis 'penality'; did you mean 'penalty'?")]
    #[case("sampling.repetition_penality=1", "did you mean 'repetition_penalty'?")]
    #[case("colour=red", "known are penalty, window")]
    #[case("penalty", "'penalty' has no =")]
    #[case("penalty=", "the axis penalty has no values")]
    #[case("penalty=1,1.0", "has the value 1 twice")]
    #[case(
        "penalty=high",
        "the axis repetition_penalty: high is not a value of it"
    )]
    #[case(
        "window=1.5",
        "the axis repetition_context_size: 1.5 is not a value of it"
    )]
    #[case("seed=1,2", "give --seeds 1,2,3")]
    #[case("penalty=[1", "is no list of values")]
    #[case("penalty=1..2", "the axis penalty: '1..2' is no range; write it as")]
    #[case(
        "window=1.5..3:0.5",
        "the axis repetition_context_size: 1.5 is not a value"
    )]
    fn mistakes_are_explained(#[case] text: &str, #[case] message: &str) {
        let error = Axis::parse(text).expect_err("refused").to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn every_field_of_the_settings_is_an_axis_or_known_not_to_be() {
        let schema = schemars::schema_for!(SamplingSettings);
        let all = schema.as_value()["properties"]
            .as_object()
            .expect("fields")
            .len();
        // `seed` is a repeat; `logit_bias`, `stop` and `repetition_detection` are tables and lists.
        assert_eq!(all, FIELDS.len() + 4);
    }
}
