//! Finds the end of a JSON object or array while it comes, without reading it again and again.

use serde_json::Value;

use crate::generation::ToolCall;

/// An object or array that is being read.
#[derive(Debug, Default)]
pub(super) struct JsonScan {
    text: String,
    /// Brackets that are open.
    depth: usize,
    in_string: bool,
    /// Whether the last character was a backslash that counts.
    escaped: bool,
}

/// How far it is read.
#[derive(Debug, PartialEq)]
pub(super) enum Scanned {
    /// It is not complete.
    More,
    /// All of it.
    Value(Value),
    /// No JSON, whatever follows.
    Broken,
}

impl JsonScan {
    /// Takes the next character. White space in front is skipped.
    pub(super) fn push(&mut self, c: char) -> Scanned {
        if self.text.is_empty() && c.is_whitespace() {
            return Scanned::More;
        }
        self.text.push(c);
        if self.in_string {
            return self.within_string(c);
        }
        match c {
            '"' => self.in_string = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return serde_json::from_str(&self.text)
                        .map_or(Scanned::Broken, Scanned::Value);
                }
            }
            _ if c.is_ascii_alphanumeric() || c.is_ascii_whitespace() => {}
            '+' | '-' | '.' | ',' | ':' => {}
            _ => return Scanned::Broken,
        }
        match self.depth {
            0 => Scanned::Broken,
            _ => Scanned::More,
        }
    }

    fn within_string(&mut self, c: char) -> Scanned {
        match c {
            // JSON wants these escaped.
            '\0'..='\x1f' => return Scanned::Broken,
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = true,
            '"' => self.in_string = false,
            _ => {}
        }
        Scanned::More
    }
}

/// A call as an object with a `name`, and with arguments under one of `keys`.
pub(super) fn call_of(value: &Value, keys: &[&str]) -> Option<ToolCall> {
    let name = value
        .get("name")?
        .as_str()
        .filter(|name| !name.is_empty())?;
    let arguments = keys.iter().find_map(|key| value.get(*key))?.as_object()?;
    Some(ToolCall {
        id: None,
        name: name.to_owned(),
        arguments: arguments.clone(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// What the first characters are, and how many were needed to know.
    fn scan(text: &str) -> (Scanned, usize) {
        let mut scan = JsonScan::default();
        for (at, c) in text.chars().enumerate() {
            match scan.push(c) {
                Scanned::More => {}
                done => return (done, at + 1),
            }
        }
        (Scanned::More, text.chars().count())
    }

    #[rstest]
    #[case(r#" {"a": "}\"]", "b": [1, {}]} rest"#, Scanned::Value(json!({"a": "}\"]", "b": [1, {}]})), 28)]
    #[case("[]x", Scanned::Value(json!([])), 2)]
    #[case(r#"{"a": <"#, Scanned::Broken, 7)]
    #[case("{\"a\n", Scanned::Broken, 4)]
    #[case("{]", Scanned::Broken, 2)]
    #[case("5", Scanned::Broken, 1)]
    #[case("}", Scanned::Broken, 1)]
    #[case(r#"{"a""#, Scanned::More, 4)]
    #[case(r#"{"a"}"#, Scanned::Broken, 5)]
    fn the_end_is_found_where_it_is(
        #[case] text: &str,
        #[case] expected: Scanned,
        #[case] needed: usize,
    ) {
        assert_eq!(scan(text), (expected, needed));
    }
}
