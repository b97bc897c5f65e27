//! `[f(a=1, b="x"), g()]`: calls in Python's form that are the whole answer, as Llama 3.2 and 4
//! write them.
//!
//! An ordinary answer may begin with a bracket as well, so only tools that the request offers
//! count, and the first name that is none of them ends the search.

use super::calls::{Progress, ReadCall, Tools, offers};
use super::python;

/// Begins the list.
pub(super) const OPEN: &str = "[";

/// A list that may be calls.
#[derive(Debug)]
pub(super) struct PythonCalls {
    /// All of it, the bracket included.
    text: String,
    state: State,
    tools: Tools,
}

#[derive(Debug)]
enum State {
    /// A name, from this byte on.
    Name(usize),
    /// Arguments: open brackets, and the quote that is open, with whether a backslash came last.
    Arguments(usize, Option<(char, bool)>),
    /// Behind a call.
    Between,
    /// Behind the list.
    Over,
}

impl PythonCalls {
    pub(super) fn new(tools: Tools) -> Self {
        Self {
            text: OPEN.to_owned(),
            state: State::Name(OPEN.len()),
            tools,
        }
    }

    /// What follows a character of the arguments.
    fn within_arguments(depth: usize, quote: Option<(char, bool)>, c: char) -> State {
        let quote = match (quote, c) {
            (Some((open, true)), _) => Some((open, false)),
            (Some((open, false)), '\\') => Some((open, true)),
            (Some((open, false)), c) if c == open => None,
            (Some(quote), _) => Some(quote),
            (None, '"' | '\'') => Some((c, false)),
            (None, '(' | '[' | '{') => return State::Arguments(depth + 1, None),
            (None, ')' | ']' | '}') if depth == 1 => return State::Between,
            (None, ')' | ']' | '}') => return State::Arguments(depth - 1, None),
            (None, _) => None,
        };
        State::Arguments(depth, quote)
    }
}

impl ReadCall for PythonCalls {
    fn push(&mut self, c: char) -> Progress {
        self.text.push(c);
        match self.state {
            State::Name(from) if c == '(' => {
                let name = self.text.get(from..self.text.len() - 1).unwrap_or_default();
                if !offers(&self.tools, name.trim()) {
                    return Progress::No;
                }
                self.state = State::Arguments(1, None);
            }
            State::Name(_) if c.is_alphanumeric() || c.is_whitespace() || "_-.".contains(c) => {}
            State::Name(_) => return Progress::No,
            State::Arguments(depth, quote) => {
                self.state = Self::within_arguments(depth, quote, c);
            }
            State::Between | State::Over if c.is_whitespace() => {}
            State::Between if c == ',' => self.state = State::Name(self.text.len()),
            State::Between if c == ']' => self.state = State::Over,
            State::Between | State::Over => return Progress::No,
        }
        Progress::More
    }

    fn end(&mut self) -> Progress {
        match python::calls(&self.text) {
            Some(calls) if !calls.is_empty() => Progress::Calls(calls, String::new()),
            _ => Progress::No,
        }
    }
}
