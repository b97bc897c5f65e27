//! `<tool_call>…</tool_call>` around one call: as JSON with `name` and `arguments` (Hermes, Qwen),
//! or as `<function=…>` (Qwen3-Coder).

use super::calls::{Awaited, Awaiting, Progress, ReadCall, Tools};
use super::function_xml::FunctionXml;
use super::json::{JsonScan, Scanned, call_of};
use crate::generation::ToolCall;

/// Opens a call.
pub(super) const OPEN: &str = "<tool_call>";
/// Closes it.
pub(super) const CLOSE: &str = "</tool_call>";

/// What stands between the marks.
#[derive(Debug)]
pub(super) struct Hermes {
    state: State,
    tools: Tools,
}

#[derive(Debug)]
enum State {
    Start,
    Json(JsonScan),
    Function(Box<FunctionXml>),
    Close(ToolCall, Awaited),
}

impl Hermes {
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            state: State::Start,
            tools,
        }
    }
}

impl ReadCall for Hermes {
    fn push(&mut self, c: char) -> Progress {
        match &mut self.state {
            State::Start if c.is_whitespace() => Progress::More,
            State::Start if c == '<' => {
                let mut function = FunctionXml::within_marks(self.tools.clone());
                let progress = function.push(c);
                self.state = State::Function(Box::new(function));
                progress
            }
            State::Start if c == '{' => {
                let mut scan = JsonScan::default();
                scan.push(c);
                self.state = State::Json(scan);
                Progress::More
            }
            State::Start => Progress::No,
            State::Json(scan) => match scan.push(c) {
                Scanned::More => Progress::More,
                Scanned::Broken => Progress::No,
                Scanned::Value(value) => match call_of(&value, &["arguments"]) {
                    None => Progress::No,
                    Some(call) => {
                        self.state = State::Close(call, Awaited::new(CLOSE));
                        Progress::More
                    }
                },
            },
            State::Function(function) => function.push(c),
            State::Close(call, close) => match close.push(c) {
                Awaiting::More => Progress::More,
                Awaiting::Other => Progress::No,
                Awaiting::Here => Progress::call(call.clone()),
            },
        }
    }

    fn end(&mut self) -> Progress {
        match &mut self.state {
            State::Function(function) => function.end(),
            _ => Progress::No,
        }
    }
}
