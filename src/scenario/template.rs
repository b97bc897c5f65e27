//! `{{name}}` in a text: what stands there, and what it becomes.
//!
//! A template holds names and nothing else: no filters, no conditions, and a value is put in as it
//! is, braces and all. Which names there are is the neighbour `variables`.

use serde_json::Value;

use crate::yaml::remedy;

/// A template that cannot be understood or filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TemplateError {
    /// The piece of the text that is wrong, as it stands there.
    pub(super) piece: String,
    /// What is wrong.
    pub(super) message: String,
    /// What would be right.
    pub(super) help: String,
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// To be taken as it is.
    Text(&'a str),
    /// `{{name}}`: as it stands there, and the name.
    Name(&'a str, &'a str),
}

/// Takes a text apart.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let (before, from) = rest.split_at(open);
        if !before.is_empty() {
            found.push(Piece::Text(before));
        }
        let (piece, length) = braces(from)?;
        found.push(piece);
        rest = from.get(length..).unwrap_or_default();
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    Ok(found)
}

/// What begins with two braces, and its length with the closing ones.
fn braces(from: &str) -> Result<(Piece<'_>, usize), TemplateError> {
    let inside = from.get(2..).unwrap_or_default();
    let start = inside.trim_start();
    let (content, is_text) = match start.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let text = start.get(1..).unwrap_or_default();
            (text.split(quote).next().unwrap_or_default(), true)
        }
        _ => (
            start.split("}}").next().unwrap_or_default().trim_end(),
            false,
        ),
    };
    let skipped = inside.len() - start.len();
    let behind = 2 + skipped + content.len() + if is_text { 2 } else { 0 };
    let tail = from.get(behind..).unwrap_or_default();
    let Some(after) = tail.trim_start().strip_prefix("}}") else {
        return Err(bad(from, "'{{' is not closed"));
    };
    let length = from.len() - after.len();
    let raw = from.get(..length).unwrap_or_default();
    if is_text {
        return Ok((Piece::Text(content), length));
    }
    if !is_name(content) {
        return Err(bad(
            raw,
            &format!("'{raw}' does not hold the name of a variable"),
        ));
    }
    Ok((Piece::Name(raw, content), length))
}

/// Whether a variable may have this name.
pub(super) fn is_name(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(part) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn bad(piece: &str, message: &str) -> TemplateError {
    TemplateError {
        piece: piece.lines().next().unwrap_or_default().to_owned(),
        message: message.to_owned(),
        help: "write {{name}} for a variable, and {{ '{{' }} for two braces".to_owned(),
    }
}

/// The text with its variables put in.
pub(super) fn fill<'v>(
    text: &str,
    value: &dyn Fn(&str) -> Option<&'v Value>,
    known: &dyn Fn() -> Vec<String>,
) -> Result<String, TemplateError> {
    let mut filled = String::new();
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Name(raw, name) => match value(name) {
                Some(Value::String(text)) => filled.push_str(text),
                Some(Value::Number(number)) => filled += &number.to_string(),
                Some(Value::Bool(truth)) => filled += &truth.to_string(),
                Some(_) => return Err(not_one(raw, name)),
                None => return Err(unknown(raw, name, &known())),
            },
        }
    }
    Ok(filled)
}

/// The same in every text of a value. A text that is one name and nothing else becomes the
/// variable's value, of whatever type.
pub(super) fn fill_value<'v>(
    written: &Value,
    value: &dyn Fn(&str) -> Option<&'v Value>,
    known: &dyn Fn() -> Vec<String>,
) -> Result<Value, TemplateError> {
    match written {
        Value::String(text) => match pieces(text)?.as_slice() {
            [Piece::Name(raw, name)] => match value(name) {
                Some(value) => Ok(value.clone()),
                None => Err(unknown(raw, name, &known())),
            },
            _ => fill(text, value, known).map(Value::String),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| fill_value(item, value, known));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, item)| Ok((key.clone(), fill_value(item, value, known)?)));
            fields.collect::<Result<_, _>>().map(Value::Object)
        }
        other => Ok(other.clone()),
    }
}

/// Adds the names in every text of a value.
pub(super) fn names_in(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => names(text, found),
        Value::Array(items) => items.iter().for_each(|item| names_in(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| names_in(item, found)),
        _ => {}
    }
}

/// Adds the names in a text; what is wrong with it is said where it is filled in.
pub(super) fn names(text: &str, found: &mut Vec<String>) {
    for piece in pieces(text).unwrap_or_default() {
        if let Piece::Name(_, name) = piece {
            found.push(name.to_owned());
        }
    }
}

fn unknown(raw: &str, name: &str, known: &[String]) -> TemplateError {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    TemplateError {
        piece: raw.to_owned(),
        message: format!("there is no variable '{name}'"),
        help: match known.as_slice() {
            [] => format!("give it a value: vars: {{{name}: …}}; two braces are {{{{ '{{{{' }}}}"),
            known => remedy(name, known),
        },
    }
}

fn not_one(raw: &str, name: &str) -> TemplateError {
    TemplateError {
        piece: raw.to_owned(),
        message: format!("'{name}' is no single text, number or truth value, and stands in a text"),
        help: "a list belongs into 'matrix', for a case of each of its values".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn filled(written: Value) -> Result<Value, String> {
        let values = json!({"a": "x {{b}}", "n": 3, "yes": true, "list": [1, "2"]});
        let value = |name: &str| values.get(name);
        let known = || vec!["a".to_owned(), "list".to_owned()];
        fill_value(&written, &value, &known)
            .map_err(|error| format!("{}: {}; {}", error.piece, error.message, error.help))
    }

    #[rstest]
    #[case(json!("say {{a}}, {{ n }} and {{yes}}"), json!("say x {{b}}, 3 and true"))]
    #[case(json!("{{n}}"), json!(3))]
    #[case(json!("{{list}}"), json!([1, "2"]))]
    #[case(json!({"k {{n}}": ["{{n}}", 1.5]}), json!({"k {{n}}": [3, 1.5]}))]
    #[case(json!("{{ '{{' }}x{{ \"}}\" }} {one} }}"), json!("{{x}} {one} }}"))]
    fn texts_are_filled_in(#[case] written: Value, #[case] expected: Value) {
        assert_eq!(filled(written), Ok(expected));
    }

    #[rstest]
    #[case(
        "{{ lst }}!",
        "{{ lst }}: there is no variable 'lst'; did you mean 'list'?"
    )]
    #[case("a {{list}}", "{{list}}: 'list' is no single text")]
    #[case("a {{n", "{{n: '{{' is not closed; write {{name}}")]
    #[case("{{}}", "{{}}: '{{}}' does not hold the name of a variable")]
    #[case("{{n | upper}}", "{{n | upper}}: '{{n | upper}}' does not hold")]
    #[case("{{ 'a }}", "{{ 'a }}: '{{' is not closed")]
    fn mistakes_are_named(#[case] written: &str, #[case] message: &str) {
        let error = filled(json!(written)).expect_err("refused");
        assert!(error.starts_with(message), "{error}");
    }
}
