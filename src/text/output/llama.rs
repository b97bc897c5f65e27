//! Llama 3's calls: JSON with `name` and `parameters` that is the whole answer, several of them
//! parted by semicolons, perhaps behind `<|python_tag|>`; there also `name.call(a="b")`.
//!
//! An ordinary answer may be JSON as well, so only tools that the request offers count.

use super::calls::{Progress, ReadCall, Tools, offers};
use super::json::{JsonScan, Scanned, call_of};
use super::python;
use crate::generation::ToolCall;

/// Stands before calls.
pub(super) const TAG: &str = "<|python_tag|>";
/// Begins a call without the tag.
pub(super) const OPEN: &str = "{";

/// The calls of a built-in tool are methods.
const METHOD: &str = ".call";

/// An answer that may be calls.
#[derive(Debug)]
pub(super) struct Llama {
    state: State,
    calls: Vec<ToolCall>,
    tools: Tools,
}

#[derive(Debug)]
enum State {
    /// Behind the tag.
    Start,
    Json(JsonScan),
    /// Behind a call.
    Between,
    /// A call in Python's form.
    Python(String),
}

impl Llama {
    /// From behind [`TAG`].
    pub(super) fn tagged(tools: Tools) -> Self {
        Self {
            state: State::Start,
            calls: Vec::new(),
            tools,
        }
    }

    /// From behind [`OPEN`].
    pub(super) fn json(tools: Tools) -> Self {
        Self {
            state: object(),
            ..Self::tagged(tools)
        }
    }

    fn offered(&self, call: Option<ToolCall>) -> Option<ToolCall> {
        call.filter(|call| offers(&self.tools, &call.name))
    }
}

fn object() -> State {
    let mut scan = JsonScan::default();
    scan.push('{');
    State::Json(scan)
}

impl ReadCall for Llama {
    fn push(&mut self, c: char) -> Progress {
        match &mut self.state {
            State::Start | State::Between if c.is_whitespace() => {}
            State::Start | State::Between if c == '{' => self.state = object(),
            State::Start if c.is_alphabetic() || c == '_' => {
                self.state = State::Python(c.to_string());
            }
            State::Between if c == ';' => {}
            State::Start | State::Between => return Progress::No,
            State::Python(text) => text.push(c),
            State::Json(scan) => match scan.push(c) {
                Scanned::More => {}
                Scanned::Broken => return Progress::No,
                Scanned::Value(value) => {
                    let call = call_of(&value, &["parameters", "arguments"]);
                    match self.offered(call) {
                        None => return Progress::No,
                        Some(call) => self.calls.push(call),
                    }
                    self.state = State::Between;
                }
            },
        }
        Progress::More
    }

    fn end(&mut self) -> Progress {
        match &self.state {
            State::Between => Progress::Calls(std::mem::take(&mut self.calls), String::new()),
            State::Python(text) => {
                let call = python::call(text).map(|mut call| {
                    let name = call.name.strip_suffix(METHOD).unwrap_or(&call.name);
                    call.name = name.to_owned();
                    call
                });
                Progress::of(self.offered(call))
            }
            State::Start | State::Json(_) => Progress::No,
        }
    }
}
