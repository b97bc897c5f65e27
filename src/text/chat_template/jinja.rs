//! The language of chat templates: minijinja with what Jinja2 and transformers add to it.
//!
//! Known to differ from Python still: a list or object that is printed without `tojson` writes
//! floats below 1e-4 or from 1e16, and unprintable characters, in minijinja's way.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};
use minijinja_contrib::pycompat;
use regex::Regex;

use super::python_json;

/// Steps that a template may take. A hostile one may loop; real ones take a few thousand per
/// message.
const FUEL: u64 = 50_000_000;

/// An environment in which chat templates run.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    // The builder fails only on clashing delimiters, and these are the default ones.
    environment.set_syntax(syntax.unwrap_or_default());
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        match (method, value.as_str(), arguments) {
            ("title", Some(text), []) => Ok(Value::from(title(text))),
            _ => pycompat::unknown_method_callback(state, value, method, arguments),
        }
    });
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_filter("tojson", python_json::to_json);
    environment.add_test("sequence", is_sequence);
    environment.set_fuel(Some(FUEL));
    environment
}

/// In Jinja2 a sequence is what has a length and can be indexed: text and mappings, too.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::String | ValueKind::Map
    )
}

/// Python's `str.title`: a letter is a capital if no letter stands before it.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        let letter = c.is_lowercase() || c.is_uppercase();
        match (letter, within) {
            (true, false) => titled.extend(c.to_uppercase()),
            (true, true) => titled.extend(c.to_lowercase()),
            (false, _) => titled.push(c),
        }
        within = letter;
    }
    titled
}

/// Takes the tags `{% generation %}` out, keeping what is between them and its white space.
/// They mark for trainers what the assistant says, and print nothing (transformers,
/// `AssistantTracker`).
pub(super) fn without_generation_tags(template: &str) -> String {
    static TAG: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").ok());
    let Some(tag) = TAG.as_ref() else {
        return template.to_owned();
    };
    let replaced = tag.replace_all(template, |found: &regex::Captures<'_>| {
        let word = if found.get(2).is_some() {
            "endif"
        } else {
            "if true"
        };
        format!("{{%{} {word} {}%}}", &found[1], &found[3])
    });
    replaced.into_owned()
}

/// The function `strftime_now` at a moment that the caller names.
pub(super) fn clock(moment: &serde_json::Value) -> Result<Value, String> {
    let parsed = moment
        .as_str()
        .and_then(|text| text.parse::<jiff::civil::DateTime>().ok());
    let Some(now) = parsed else {
        return Err(format!(
            "the variable strftime_now is {moment}, but must be a date or a date and time, \
             such as 2024-07-26"
        ));
    };
    Ok(Value::from_function(
        move |format: &str| -> Result<String, Error> {
            jiff::fmt::strtime::format(format, now).map_err(|error| {
                Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now: {error}"),
                )
            })
        },
    ))
}
