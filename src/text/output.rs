//! An answer taken apart while it grows: what was thought, what is said, which tools are called.
//!
//! A checkpoint's chat template tells which of the formats in use its model writes
//! ([`OutputFormat`]); only those are looked for, so that a model that prints JSON is not misread.
//! Text is read one character at a time and nothing looks ahead, so how it is cut into pieces
//! changes nothing. What is not a complete, well-formed call stays text, unchanged: a call is
//! never guessed at and never lost. Neither is one whose arguments its tool does not take.
//!
//! ```text
//!  OutputParser ─▶ tagged ──▶ hermes, function_xml, mistral, llama, python_calls   (ReadCall)
//!             └──▶ harmony                                        └──▶ voice ─▶ [Piece]
//! ```

mod arguments;
mod calls;
mod format;
mod function_xml;
mod harmony;
mod hermes;
mod json;
mod llama;
mod mistral;
mod python;
mod python_calls;
mod tagged;
mod voice;

use std::collections::VecDeque;

pub use format::{CallFormat, OutputFormat, ThinkMarks};

use crate::generation::{ToolCall, ToolSpec};
use arguments::Arguments;
use harmony::Harmony;
use tagged::Tagged;
use voice::Voice;

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More of what was thought, without the marks around it.
    Reasoning(String),
    /// More of what is said.
    Content(String),
    /// A complete call.
    Call(ToolCall),
}

/// Takes the text of one answer apart.
#[derive(Debug)]
pub struct OutputParser {
    machine: Machine,
    voice: Voice,
    /// Characters to be read; what was no call after all is read again.
    input: VecDeque<char>,
}

#[derive(Debug)]
enum Machine {
    /// The model writes none of the formats.
    Plain,
    Tagged(Tagged),
    Harmony(Harmony),
}

impl OutputParser {
    /// At the start of an answer to a request that offers `tools`. `thinking` if the prompt ends
    /// within a thought ([`OutputFormat::is_thinking`]).
    #[must_use]
    pub fn new(format: &OutputFormat, tools: &[ToolSpec], thinking: bool) -> Self {
        let mut voice = Voice::default();
        let machine = if format.has(CallFormat::Harmony) {
            Machine::Harmony(Harmony::new(tools, thinking, &mut voice))
        } else if format.is_plain() {
            Machine::Plain
        } else {
            Machine::Tagged(Tagged::new(format, tools, thinking, &mut voice))
        };
        Self {
            machine,
            voice,
            input: VecDeque::new(),
        }
    }

    /// Takes calls without a look at their arguments, where something else has seen to those.
    #[must_use]
    pub fn trusting(mut self) -> Self {
        match &mut self.machine {
            Machine::Plain => {}
            Machine::Tagged(tagged) => tagged.arguments = Arguments::default(),
            Machine::Harmony(harmony) => harmony.arguments = Arguments::default(),
        }
        self
    }

    /// Takes more text and returns what became certain. White space may be part of what follows,
    /// and comes with it.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        if matches!(self.machine, Machine::Plain) {
            return match text {
                "" => Vec::new(),
                text => vec![Piece::Content(text.to_owned())],
            };
        }
        self.input.extend(text.chars());
        self.read();
        self.voice.take()
    }

    /// The rest, now that nothing follows.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Piece> {
        loop {
            self.read();
            let more = match &mut self.machine {
                Machine::Plain => false,
                Machine::Tagged(tagged) => tagged.end(&mut self.voice, &mut self.input),
                Machine::Harmony(harmony) => harmony.end(&mut self.voice, &mut self.input),
            };
            if !more {
                return self.voice.finish();
            }
        }
    }

    fn read(&mut self) {
        while let Some(c) = self.input.pop_front() {
            match &mut self.machine {
                Machine::Plain => {}
                Machine::Tagged(tagged) => tagged.read(c, &mut self.voice, &mut self.input),
                Machine::Harmony(harmony) => harmony.read(c, &mut self.voice, &mut self.input),
            }
        }
    }
}

/// Puts text in front of what is still to be read.
fn read_again(text: &str, input: &mut VecDeque<char>) {
    for c in text.chars().rev() {
        input.push_front(c);
    }
}

#[cfg(test)]
mod tests;
