//! Writes YAML: blocks for what a person edits, JSON, which is YAML, for values.

use serde_json::Value;

/// A scenario being written.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    text: String,
}

impl Emitter {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// A line as it is.
    pub(super) fn line(&mut self, indent: usize, line: &str) {
        self.text += &" ".repeat(indent);
        self.text += line;
        self.text.push('\n');
    }

    /// A key and its value.
    pub(super) fn entry(&mut self, indent: usize, key: &str, value: &Value) {
        match value {
            Value::String(text) if is_block(text) => {
                let keep = if text.ends_with('\n') { "|" } else { "|-" };
                self.line(indent, &format!("{key}: {keep}"));
                for line in text.trim_end_matches('\n').split('\n') {
                    match line {
                        "" => self.text.push('\n'),
                        line => self.line(indent + 2, line),
                    }
                }
            }
            value => self.line(indent, &format!("{key}: {}", inline(value))),
        }
    }
}

/// Whether a text of several lines reads back from a block: nothing at its ends that a block drops.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    text.contains('\n')
        && !body.is_empty()
        && !body.ends_with('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && !text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{FEFF}'])
}

/// A value on one line: JSON, with spaces, and without quotes where a word needs none.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| {
                    format!("{}: {}", inline(&Value::String(key.clone())), inline(value))
                })
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether YAML reads a word as this text and nothing else.
fn is_word(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '/' | '.');
    let other = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'))
        && text.chars().all(part)
        && !other.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read_back(value: &Value) -> Value {
        let mut out = Emitter::default();
        out.line(0, "a:");
        out.entry(2, "k", value);
        let read: Value = serde_saphyr::from_str(&out.into_text()).expect("YAML");
        read["a"]["k"].clone()
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in [
            json!("a\nb\n\n  c"),
            json!("a\nb\n"),
            json!(" a\nb"),
            json!("yes"),
            json!("1"),
            json!({"type": "is-json", "value": {"a b": [1, 2.5, null, true, "x: y"]}}),
        ] {
            assert_eq!(read_back(&value), value);
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in "[a-z :#\\-\n\t'\"{}\\[\\]|>&*!%@`,.é0-9]{0,40}") {
            let value = Value::String(text);
            prop_assert_eq!(read_back(&value), value);
        }
    }
}
