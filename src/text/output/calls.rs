//! What all formats of calls have in common: they are read one character at a time, from behind
//! the mark that opens them.

use std::fmt::Debug;
use std::sync::Arc;

use crate::generation::{ToolCall, ToolSpec};

/// The tools that a request offers.
pub(super) type Tools = Arc<[ToolSpec]>;

/// Reads what may be a call, or several.
pub(super) trait ReadCall: Debug + Send {
    /// Takes the next character.
    fn push(&mut self, c: char) -> Progress;

    /// Nothing follows; [`Progress::More`] is then as good as [`Progress::No`].
    fn end(&mut self) -> Progress;
}

/// What the text is, as far as it goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It may become a call.
    More,
    /// Complete calls, and text behind them that is not theirs.
    Calls(Vec<ToolCall>, String),
    /// No call.
    No,
}

impl Progress {
    /// One call and nothing behind it.
    pub(super) fn call(call: ToolCall) -> Self {
        Self::Calls(vec![call], String::new())
    }

    /// A call if there is one.
    pub(super) fn of(call: Option<ToolCall>) -> Self {
        call.map_or(Self::No, Self::call)
    }
}

/// A word that must come next, white space before it apart.
#[derive(Debug)]
pub(super) struct Awaited {
    word: &'static str,
    seen: usize,
}

/// Whether an awaited word has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Awaiting {
    /// Not yet.
    More,
    /// All of it.
    Here,
    /// Something else came.
    Other,
}

impl Awaited {
    pub(super) fn new(word: &'static str) -> Self {
        Self { word, seen: 0 }
    }

    pub(super) fn push(&mut self, c: char) -> Awaiting {
        if self.seen == 0 && c.is_whitespace() {
            return Awaiting::More;
        }
        let rest = self.word.get(self.seen..).unwrap_or_default();
        if !rest.starts_with(c) {
            return Awaiting::Other;
        }
        self.seen += c.len_utf8();
        match self.seen == self.word.len() {
            true => Awaiting::Here,
            false => Awaiting::More,
        }
    }
}

/// Whether a request offers this tool.
pub(super) fn offers(tools: &[ToolSpec], name: &str) -> bool {
    tools.iter().any(|tool| tool.name == name)
}
