//! The little of Python's grammar that calls are written in: names, keyword arguments, literals.

use serde_json::{Map, Number, Value};

use crate::generation::ToolCall;

/// Most brackets within brackets.
const MOST_DEPTH: usize = 64;

/// `[f(a=1), g()]`.
pub(super) fn calls(text: &str) -> Option<Vec<ToolCall>> {
    let mut rest = Rest(text);
    rest.take('[')?;
    let calls = rest.list(']', |rest| rest.call())?;
    rest.end().then_some(calls)
}

/// `f(a=1)`; the name may have dots.
pub(super) fn call(text: &str) -> Option<ToolCall> {
    let mut rest = Rest(text);
    let call = rest.call()?;
    rest.end().then_some(call)
}

/// A number, a text, `True`, `None`, a list, a tuple or a dictionary.
pub(super) fn literal(text: &str) -> Option<Value> {
    let mut rest = Rest(text);
    let value = rest.value(0)?;
    rest.end().then_some(value)
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start();
    }

    fn end(&mut self) -> bool {
        self.skip_space();
        self.0.is_empty()
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.0.chars().next()
    }

    fn take(&mut self, c: char) -> Option<()> {
        self.skip_space();
        self.0 = self.0.strip_prefix(c)?;
        Some(())
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> Option<&'a str> {
        self.skip_space();
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Items up to `close`, parted by commas; a last comma may stand behind all.
    fn list<T>(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while self.peek()? != close {
            items.push(item(self)?);
            if self.peek()? != close {
                self.take(',')?;
            }
        }
        self.take(close)?;
        Some(items)
    }

    fn call(&mut self) -> Option<ToolCall> {
        let name = self.word(|c| c.is_alphanumeric() || "_-.".contains(c))?;
        self.take('(')?;
        let arguments = self.list(')', |rest| {
            let key = rest.word(|c| c.is_alphanumeric() || c == '_')?;
            rest.take('=')?;
            Some((key.to_owned(), rest.value(0)?))
        })?;
        Some(ToolCall {
            id: None,
            name: name.to_owned(),
            arguments: arguments.into_iter().collect(),
        })
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MOST_DEPTH {
            return None;
        }
        let close = match self.peek()? {
            '"' | '\'' => return self.text().map(Value::String),
            '{' => return self.dictionary(depth),
            '[' => ']',
            '(' => ')',
            _ => return self.scalar(),
        };
        self.0 = self.0.get(1..)?;
        let items = self.list(close, |rest| rest.value(depth + 1))?;
        Some(Value::Array(items))
    }

    fn dictionary(&mut self, depth: usize) -> Option<Value> {
        self.take('{')?;
        let entries = self.list('}', |rest| {
            rest.skip_space();
            let key = rest.text()?;
            rest.take(':')?;
            Some((key, rest.value(depth + 1)?))
        })?;
        Some(Value::Object(entries.into_iter().collect::<Map<_, _>>()))
    }

    fn scalar(&mut self) -> Option<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))?;
        match word {
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            "None" | "null" => Some(Value::Null),
            number => match number.parse::<i64>() {
                Ok(whole) => Some(whole.into()),
                // Rust knows words for numbers that Python does not.
                Err(_) if !number.contains(|c: char| c.is_ascii_digit()) => None,
                Err(_) => Number::from_f64(number.parse().ok()?).map(Value::Number),
            },
        }
    }

    /// A text in quotes of either kind.
    fn text(&mut self) -> Option<String> {
        let mut chars = self.0.chars();
        let quote = chars.next().filter(|c| matches!(c, '"' | '\''))?;
        let mut text = String::new();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\n' => return None,
                '\\' => escape(&mut chars, &mut text)?,
                c => text.push(c),
            }
        }
        self.0 = chars.as_str();
        Some(text)
    }
}

/// What stands behind a backslash. One that means nothing stays, as in Python.
fn escape(chars: &mut std::str::Chars<'_>, text: &mut String) -> Option<()> {
    let digits = match chars.next()? {
        '\n' => 0,
        'x' => 2,
        'u' => 4,
        'U' => 8,
        other => {
            match other {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\\' | '\'' | '"' => text.push(other),
                other => text.extend(['\\', other]),
            }
            0
        }
    };
    if digits > 0 {
        let hex = chars.as_str().get(..digits)?;
        text.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
        *chars = chars.as_str().get(digits..)?.chars();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("-3", json!(-3))]
    #[case("2.5e3", json!(2500.0))]
    #[case("True", json!(true))]
    #[case("None", json!(null))]
    #[case(r"'it\'s \u00e9\n\d'", json!("it's é\n\\d"))]
    #[case("[1, (2, 3,), {'a': \"b\"},]", json!([1, [2, 3], {"a": "b"}]))]
    fn literals_are_read(#[case] text: &str, #[case] expected: Value) {
        assert_eq!(literal(text), Some(expected));
    }

    #[rstest]
    #[case("")]
    #[case("1 2")]
    #[case("x")]
    #[case("inf")]
    #[case("'a")]
    #[case("'a\nb'")]
    #[case("[1")]
    #[case("[1 2]")]
    #[case("{1: 2}")]
    #[case(r"'\uZZZZ'")]
    fn others_are_not(#[case] text: &str) {
        assert_eq!(literal(text), None);
    }

    #[test]
    fn brackets_have_a_limit() {
        let deep = "[".repeat(100_000);
        assert_eq!(literal(&deep), None);
    }

    #[test]
    fn calls_take_keywords_alone() {
        let read = calls("[f(a=1, b='x'), g.h()]").expect("calls");
        assert_eq!(read[0].name, "f");
        assert_eq!(
            Value::Object(read[0].arguments.clone()),
            json!({"a": 1, "b": "x"})
        );
        assert_eq!(read[1].name, "g.h");
        for text in ["[f(1)]", "[f(a=1)", "[f(a=1)] x", "f(a=1)", "[f]"] {
            assert_eq!(calls(text), None, "{text}");
        }
    }
}
