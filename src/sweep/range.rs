//! Evenly spaced values of an axis: from the least to the greatest by a step.

use serde::Deserialize;
use serde_json::{Number, Value};

/// More values of one axis than this are a mistake in the step.
const MOST_VALUES: f64 = 10_000.0;
/// Values are rounded to so many parts of one, so that 1.0 and twice 0.05 are 1.1.
const PARTS: f64 = 1e9;

/// `{min: 1.0, max: 1.3, step: 0.05}`, or `1.0..1.3:0.05` on the command line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    min: Number,
    max: Number,
    step: Number,
}

impl Range {
    /// A range as the command line gives it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once("..")
            .and_then(|(min, rest)| Some((min, rest.split_once(':')?)));
        let number = |text: &str| text.trim().parse::<Number>().ok();
        let range = parts.and_then(|(min, (max, step))| {
            Some(Self {
                min: number(min)?,
                max: number(max)?,
                step: number(step)?,
            })
        });
        range.ok_or_else(|| {
            format!("'{text}' is no range; write it as least..greatest:step, such as 1.0..1.3:0.05")
        })
    }

    /// Its values; the greatest is among them if whole steps lead to it. They are whole numbers if
    /// the least and the step are.
    pub(super) fn values(&self) -> Result<Vec<Value>, String> {
        let [min, max, step] =
            [&self.min, &self.max, &self.step].map(|number| number.as_f64().unwrap_or(f64::NAN));
        let steps = (max - min) / step;
        if !(step > 0.0 && steps >= 0.0) {
            return Err(format!(
                "a range from {} to {} by {} has no values; min must not be above max, and step \
                 must be above 0",
                self.min, self.max, self.step
            ));
        }
        // A step that is a little too long by rounding still leads to the greatest.
        let steps = (steps + 1e-6).floor();
        if steps >= MOST_VALUES {
            return Err(format!(
                "a range has at most {MOST_VALUES} values; take a greater step"
            ));
        }
        let whole = self.min.as_u64().zip(self.step.as_u64());
        let value = |at: u64| match whole {
            Some((min, step)) => Value::from(min + at * step),
            None => Value::from(((min + at as f64 * step) * PARTS).round() / PARTS),
        };
        Ok((0..=steps as u64).map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("1.0..1.3:0.05", json!([1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3]))]
    #[case("16..70:16", json!([16, 32, 48, 64]))]
    #[case("0..1:0.3", json!([0.0, 0.3, 0.6, 0.9]))]
    #[case("0.7 .. 0.7 : 0.1", json!([0.7]))]
    fn ranges_have_the_values_that_a_person_would_write(#[case] text: &str, #[case] wanted: Value) {
        let values = Range::parse(text).and_then(|range| range.values());
        assert_eq!(values.map(Value::Array), Ok(wanted));
    }

    #[rstest]
    #[case("1.0..1.3", "is no range; write it as least..greatest:step")]
    #[case("1.0..x:0.1", "is no range")]
    #[case("1.3..1.0:0.1", "min must not be above max")]
    #[case("1.0..1.3:0", "step must be above 0")]
    #[case("1.0..1.3:-0.1", "step must be above 0")]
    #[case("0..1:0.00001", "take a greater step")]
    fn ranges_that_are_none_are_explained(#[case] text: &str, #[case] message: &str) {
        let values = Range::parse(text).and_then(|range| range.values());
        let error = values.expect_err("refused");
        assert!(error.contains(message), "{error}");
    }
}
