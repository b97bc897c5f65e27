//! `[TOOL_CALLS]` before a JSON list of calls (Mistral 7B v0.3 and its contemporaries), or before
//! `name[ARGS]{…}` (from Mistral Small 3.2 on), perhaps with `[CALL_ID]…` between.

use serde_json::Value;

use super::calls::{Progress, ReadCall};
use super::json::{JsonScan, Scanned, call_of};
use crate::generation::ToolCall;

/// Opens calls; nothing closes them.
pub(super) const OPEN: &str = "[TOOL_CALLS]";
const ID: &str = "[CALL_ID]";
const ARGUMENTS: &str = "[ARGS]";

/// Most bytes of an id. Theirs have nine letters.
const MOST_ID_BYTES: usize = 64;

/// What stands behind the mark.
#[derive(Debug)]
pub(super) struct Mistral {
    state: State,
    name: String,
    id: Option<String>,
}

#[derive(Debug)]
enum State {
    Start,
    List(JsonScan),
    /// A name, and perhaps the beginning of a mark.
    Name(String),
    Id(String),
    Arguments(JsonScan),
}

impl Mistral {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            name: String::new(),
            id: None,
        }
    }

    fn name(&mut self, mut name: String, c: char) -> Progress {
        name.push(c);
        let (word, mark) = match name.find(['[', '{']) {
            Some(at) => name.split_at(at),
            None => (name.as_str(), ""),
        };
        let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        let word = word.trim_end();
        if !word.chars().all(is_name) || (word.is_empty() && !mark.is_empty()) {
            return Progress::No;
        }
        let state = match mark {
            "" => None,
            "{" => {
                let mut scan = JsonScan::default();
                scan.push(c);
                Some(State::Arguments(scan))
            }
            ARGUMENTS => Some(State::Arguments(JsonScan::default())),
            ID => Some(State::Id(String::new())),
            mark if ID.starts_with(mark) || ARGUMENTS.starts_with(mark) => None,
            _ => return Progress::No,
        };
        self.state = match state {
            None => State::Name(name),
            Some(state) => {
                word.clone_into(&mut self.name);
                state
            }
        };
        Progress::More
    }

    fn id(&mut self, mut id: String, c: char) -> Progress {
        id.push(c);
        if id.len() > MOST_ID_BYTES {
            return Progress::No;
        }
        self.state = match id.strip_suffix(ARGUMENTS) {
            None => State::Id(id),
            Some(id) => {
                self.id = Some(id.trim().to_owned()).filter(|id| !id.is_empty());
                State::Arguments(JsonScan::default())
            }
        };
        Progress::More
    }
}

impl ReadCall for Mistral {
    fn push(&mut self, c: char) -> Progress {
        // Every branch that goes on sets the state again.
        match std::mem::replace(&mut self.state, State::Start) {
            State::Start if c.is_whitespace() => Progress::More,
            State::Start if c == '[' => {
                let mut scan = JsonScan::default();
                scan.push(c);
                self.state = State::List(scan);
                Progress::More
            }
            State::Start => self.name(String::new(), c),
            State::Name(name) => self.name(name, c),
            State::Id(id) => self.id(id, c),
            State::List(mut scan) => match scan.push(c) {
                Scanned::Broken => Progress::No,
                Scanned::Value(value) => listed(&value),
                Scanned::More => {
                    self.state = State::List(scan);
                    Progress::More
                }
            },
            State::Arguments(mut scan) => match scan.push(c) {
                Scanned::Value(Value::Object(arguments)) => Progress::call(ToolCall {
                    id: self.id.take(),
                    name: std::mem::take(&mut self.name),
                    arguments,
                }),
                Scanned::Broken | Scanned::Value(_) => Progress::No,
                Scanned::More => {
                    self.state = State::Arguments(scan);
                    Progress::More
                }
            },
        }
    }

    fn end(&mut self) -> Progress {
        Progress::No
    }
}

/// A list that has a call in every place.
fn listed(value: &Value) -> Progress {
    let call = |value: &Value| {
        let id = value.get("id").and_then(Value::as_str);
        Some(ToolCall {
            id: id.map(str::to_owned),
            ..call_of(value, &["arguments"])?
        })
    };
    let calls: Option<Vec<ToolCall>> = match value.as_array() {
        Some(list) => list.iter().map(call).collect(),
        None => None,
    };
    match calls {
        Some(calls) if !calls.is_empty() => Progress::Calls(calls, String::new()),
        _ => Progress::No,
    }
}
