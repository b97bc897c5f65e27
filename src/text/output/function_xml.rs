//! `<function=NAME><parameter=KEY>VALUE</parameter>…</function>`, as Qwen3-Coder writes calls.
//!
//! Values are text; the tool's schema says what they stand for.

use serde_json::{Map, Value};

use super::calls::{Awaited, Awaiting, Progress, ReadCall, Tools};
use super::{hermes, python};
use crate::generation::ToolCall;

/// Opens a call.
pub(super) const OPEN: &str = "<function=";
const CLOSE: &str = "</function>";
const OPEN_VALUE: &str = "<parameter=";
const CLOSE_VALUE: &str = "</parameter>";

/// One call.
#[derive(Debug)]
pub(super) struct FunctionXml {
    state: State,
    name: String,
    arguments: Map<String, Value>,
    tools: Tools,
}

#[derive(Debug)]
enum State {
    Open(Awaited),
    Name,
    /// Between parameters: the beginning of a tag.
    Body(String),
    Key(String),
    Value(String, String),
    /// Behind the call: what may be `</tool_call>`. Models forget it, and write it where they forgot
    /// `<tool_call>`.
    Stray(String),
}

impl FunctionXml {
    /// From behind [`OPEN`].
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            state: State::Name,
            name: String::new(),
            arguments: Map::new(),
            tools,
        }
    }

    /// From behind `<tool_call>`.
    pub(super) fn within_marks(tools: Tools) -> Self {
        Self {
            state: State::Open(Awaited::new(OPEN)),
            ..Self::new(tools)
        }
    }

    fn call(&mut self) -> Vec<ToolCall> {
        vec![ToolCall {
            id: None,
            name: std::mem::take(&mut self.name),
            arguments: std::mem::take(&mut self.arguments),
        }]
    }

    fn tag(&mut self, mut tag: String, c: char) -> Progress {
        if tag.is_empty() && c.is_whitespace() {
            self.state = State::Body(tag);
            return Progress::More;
        }
        tag.push(c);
        if tag == OPEN_VALUE {
            self.state = State::Key(String::new());
        } else if tag == CLOSE {
            self.state = State::Stray(String::new());
        } else if OPEN_VALUE.starts_with(&tag) || CLOSE.starts_with(&tag) {
            self.state = State::Body(tag);
        } else {
            return Progress::No;
        }
        Progress::More
    }

    fn value(&mut self, key: String, mut value: String, c: char) -> Progress {
        value.push(c);
        self.state = match value.strip_suffix(CLOSE_VALUE) {
            None => State::Value(key, value),
            Some(value) => {
                // Models put values on lines of their own.
                let value = value.strip_prefix('\n').unwrap_or(value);
                let value = value.strip_suffix('\n').unwrap_or(value);
                let tool = self.tools.iter().find(|tool| tool.name == self.name);
                let schema = tool.and_then(|tool| tool.parameters.get("properties")?.get(&key));
                self.arguments.insert(key, typed(value, schema));
                State::Body(String::new())
            }
        };
        Progress::More
    }

    fn stray(&mut self, mut tail: String, c: char) -> Progress {
        tail.push(c);
        let mark = tail.trim_start();
        if mark == hermes::CLOSE {
            return Progress::Calls(self.call(), String::new());
        }
        if hermes::CLOSE.starts_with(mark) {
            self.state = State::Stray(tail);
            return Progress::More;
        }
        Progress::Calls(self.call(), tail)
    }
}

impl ReadCall for FunctionXml {
    fn push(&mut self, c: char) -> Progress {
        // Every branch that goes on sets the state again.
        match std::mem::replace(&mut self.state, State::Name) {
            State::Open(mut open) => match open.push(c) {
                Awaiting::Other => return Progress::No,
                Awaiting::Here => {}
                Awaiting::More => self.state = State::Open(open),
            },
            State::Name => match c {
                '>' if self.name.is_empty() => return Progress::No,
                '>' => self.state = State::Body(String::new()),
                '<' => return Progress::No,
                c if c.is_whitespace() => return Progress::No,
                c => self.name.push(c),
            },
            State::Body(tag) => return self.tag(tag, c),
            State::Key(mut key) => match c {
                '>' if key.is_empty() => return Progress::No,
                '>' => self.state = State::Value(key, String::new()),
                '<' | '\n' => return Progress::No,
                c => {
                    key.push(c);
                    self.state = State::Key(key);
                }
            },
            State::Value(key, value) => return self.value(key, value, c),
            State::Stray(tail) => return self.stray(tail, c),
        }
        Progress::More
    }

    fn end(&mut self) -> Progress {
        match &mut self.state {
            State::Stray(tail) => {
                let tail = std::mem::take(tail);
                Progress::Calls(self.call(), tail)
            }
            _ => Progress::No,
        }
    }
}

/// What a text stands for. A parameter that may be a text is one, and so is one whose schema does
/// not say; others are JSON, or what Python calls the same.
fn typed(text: &str, schema: Option<&Value>) -> Value {
    let word = text.trim();
    let kinds = kinds(schema);
    if word == "null" && kinds.contains(&"null") {
        return Value::Null;
    }
    let as_text = || Value::String(text.to_owned());
    if kinds.iter().all(|kind| *kind == "null") || kinds.contains(&"string") {
        return as_text();
    }
    let json = serde_json::from_str(word).ok();
    json.or_else(|| python::literal(word))
        .unwrap_or_else(as_text)
}

/// The types that a schema allows.
fn kinds(schema: Option<&Value>) -> Vec<&str> {
    let Some(schema) = schema else {
        return Vec::new();
    };
    let own = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(kind)) => vec![kind.as_str()],
        _ => Vec::new(),
    };
    let branches = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(*key));
    let branches = branches.filter_map(Value::as_array).flatten();
    let inner = branches.flat_map(|branch| match branch.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        _ => Vec::new(),
    });
    own.into_iter().chain(inner).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("7", json!({"type": "integer"}), json!(7))]
    #[case("7", json!({"type": "string"}), json!("7"))]
    #[case("7", json!({}), json!("7"))]
    #[case("True", json!({"type": "boolean"}), json!(true))]
    #[case(" [1, 2]\n", json!({"type": "array"}), json!([1, 2]))]
    #[case("null", json!({"type": ["integer", "null"]}), json!(null))]
    #[case("null", json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(null))]
    #[case("null", json!({"type": "string"}), json!("null"))]
    #[case("3", json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}), json!("3"))]
    #[case("many", json!({"type": "integer"}), json!("many"))]
    fn a_value_is_what_the_schema_says(
        #[case] text: &str,
        #[case] schema: Value,
        #[case] expected: Value,
    ) {
        assert_eq!(typed(text, Some(&schema)), expected);
    }
}
