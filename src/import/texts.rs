//! Templates of promptfoo: whether a text says the same with our variables, and which it names.
//!
//! promptfoo renders texts with Nunjucks, which has filters, conditions and paths. Ours hold names
//! alone.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::scenario::slug;

/// A template of one name.
static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{\{-?\s*([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}").ok());

/// Adds the names in every text of a value.
///
/// # Errors
/// The part of a text that only Nunjucks understands.
pub(super) fn names(value: &Value, found: &mut Vec<String>) -> Result<(), String> {
    match value {
        Value::String(text) => names_of(text, found),
        Value::Array(items) => items.iter().try_for_each(|item| names(item, found)),
        Value::Object(fields) => fields.values().try_for_each(|item| names(item, found)),
        _ => Ok(()),
    }
}

fn names_of(text: &str, found: &mut Vec<String>) -> Result<(), String> {
    let Some(pattern) = NAME.as_ref() else {
        return Ok(());
    };
    for hit in pattern.captures_iter(text) {
        if let Some(name) = hit.get(1) {
            found.push(name.as_str().to_owned());
        }
    }
    let rest = pattern.replace_all(text, "");
    let left = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open));
    match left.min() {
        None if has_trimming(text) => Err("{{- … -}}".to_owned()),
        None => Ok(()),
        Some(at) => {
            let piece = rest.get(at..).unwrap_or_default();
            Err(piece.chars().take_while(|c| *c != '\n').take(40).collect())
        }
    }
}

/// A hyphen takes the white space around a template with it.
fn has_trimming(text: &str) -> bool {
    text.contains("{{-") || text.contains("-}}")
}

/// An id of at most 48 characters.
pub(super) fn id_of(text: &str) -> String {
    let cut: String = slug(text).chars().take(48).collect();
    cut.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("a {{x}} b {{ y_2 }}", Ok(vec!["x", "y_2"]))]
    #[case("{ {x} } {%", Err("{%"))]
    #[case("{{ x | upper }}!", Err("{{ x | upper }}!"))]
    #[case("{{x}} {{a.b}}", Err("{{a.b}}"))]
    #[case("{{-x}}", Err("{{- … -}}"))]
    #[case("{% if x %}y{% endif %}", Err("{% if x %}y{% endif %}"))]
    fn names_are_found_and_more_is_refused(
        #[case] text: &str,
        #[case] expected: Result<Vec<&str>, &str>,
    ) {
        let mut found = Vec::new();
        let outcome = names(&json!([text, 1]), &mut found);
        match expected {
            Ok(names) => assert_eq!(
                (outcome, found),
                (Ok(()), names.iter().map(ToString::to_string).collect())
            ),
            Err(piece) => assert_eq!(outcome, Err(piece.to_owned())),
        }
    }

    #[test]
    fn an_id_is_cut_at_a_word() {
        assert_eq!(id_of(&format!("{} x", "a".repeat(47))), "a".repeat(47));
    }
}
