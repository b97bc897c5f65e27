//! Harmony, the format of gpt-oss: an answer is several messages, each with a channel and perhaps
//! a recipient.
//!
//! ```text
//! <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…
//! <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
//! ```
//!
//! `analysis` is thought, `final` is said, and so is `commentary` without a recipient, which tells
//! the user what is about to be done. A message to a function is a call. Text without marks is
//! said.

use std::collections::VecDeque;

use serde_json::Value;

use super::arguments::Arguments;
use super::read_again;
use super::voice::Voice;
use crate::generation::{ToolCall, ToolSpec};

/// Its presence in a template tells the format.
pub(super) const CHANNEL: &str = "<|channel|>";
const START: &str = "<|start|>";
const MESSAGE: &str = "<|message|>";
const END: &str = "<|end|>";
const CALL: &str = "<|call|>";
const RETURN: &str = "<|return|>";
/// A recipient may stand before the channel.
const RECIPIENT: &str = " to=";
/// Recipients whose messages are calls.
const FUNCTIONS: &str = "functions.";
/// The end of a prompt that begins a thought.
pub(super) const OPEN_THOUGHT: &str = "analysis<|message|>";

/// Most bytes of a header; longer ones are text.
const MOST_HEADER_BYTES: usize = 512;

/// The parser of such answers.
#[derive(Debug)]
pub(super) struct Harmony {
    state: State,
    /// Text that may be the beginning of a mark.
    candidate: String,
    pub(super) arguments: Arguments,
}

#[derive(Debug)]
enum State {
    /// Before a message.
    Between,
    /// The head of a message, as it is written.
    Header(String),
    Thought,
    Content,
    /// A message to a function: its head, the function, and what it says.
    Call(String, String, String),
}

impl Harmony {
    pub(super) fn new(tools: &[ToolSpec], thinking: bool, voice: &mut Voice) -> Self {
        if thinking {
            voice.begin_thought();
        }
        Self {
            state: match thinking {
                true => State::Thought,
                false => State::Between,
            },
            candidate: String::new(),
            arguments: Arguments::new(tools.into()),
        }
    }

    pub(super) fn read(&mut self, c: char, voice: &mut Voice, input: &mut VecDeque<char>) {
        match &mut self.state {
            State::Header(header) => {
                header.push(c);
                if header.ends_with(MESSAGE) {
                    let header = std::mem::take(header);
                    self.message(header, voice);
                } else if header.len() > MOST_HEADER_BYTES {
                    self.give_up(voice);
                }
            }
            State::Call(_, _, body) => {
                body.push(c);
                let ends = [END, CALL, RETURN, START];
                if let Some(end) = ends.into_iter().find(|end| body.ends_with(end)) {
                    body.truncate(body.len() - end.len());
                    self.call(end, voice, input);
                }
            }
            State::Between => self.mark(c, &[START, CHANNEL, MESSAGE, RECIPIENT], voice, input),
            State::Thought | State::Content => {
                self.mark(c, &[END, CALL, RETURN, START, CHANNEL], voice, input);
            }
        }
    }

    /// Takes the end of the text for what is held back; says whether there is more to read.
    pub(super) fn end(&mut self, voice: &mut Voice, input: &mut VecDeque<char>) -> bool {
        match &self.state {
            // The mark that ends a call ends the answer, and has no text.
            State::Call(..) => self.call("", voice, input),
            State::Header(_) => self.give_up(voice),
            State::Between | State::Thought | State::Content if self.candidate.is_empty() => {
                return false;
            }
            State::Between | State::Thought | State::Content => self.text(voice, input),
        }
        true
    }

    fn mark(
        &mut self,
        c: char,
        marks: &[&'static str],
        voice: &mut Voice,
        input: &mut VecDeque<char>,
    ) {
        self.candidate.push(c);
        let candidate = self.candidate.as_str();
        match marks.iter().find(|mark| mark.starts_with(candidate)) {
            None => self.text(voice, input),
            Some(mark) if *mark != candidate => {}
            Some(mark) => {
                self.candidate.clear();
                self.state = match *mark {
                    MESSAGE => {
                        voice.begin_content();
                        State::Content
                    }
                    START | CHANNEL | RECIPIENT => State::Header((*mark).to_owned()),
                    _ => State::Between,
                };
            }
        }
    }

    /// The candidate's first character is no mark's.
    fn text(&mut self, voice: &mut Voice, input: &mut VecDeque<char>) {
        let candidate = std::mem::take(&mut self.candidate);
        if matches!(self.state, State::Between) {
            self.state = State::Content;
            read_again(&candidate, input);
            return;
        }
        let mut chars = candidate.chars();
        let Some(first) = chars.next() else { return };
        read_again(chars.as_str(), input);
        match self.state {
            State::Thought => voice.think(first),
            _ => voice.say(first),
        }
    }

    /// A message begins.
    fn message(&mut self, header: String, voice: &mut Voice) {
        let function = recipient(&header).and_then(|to| to.strip_prefix(FUNCTIONS));
        self.state = match (function, channel(&header)) {
            (Some(name), _) if !name.is_empty() => {
                let name = name.to_owned();
                State::Call(header, name, String::new())
            }
            (_, Some("analysis")) => {
                voice.begin_thought();
                State::Thought
            }
            _ => {
                voice.begin_content();
                State::Content
            }
        };
    }

    /// A message to a function is over.
    fn call(&mut self, end: &str, voice: &mut Voice, input: &mut VecDeque<char>) {
        let State::Call(header, name, body) = std::mem::replace(&mut self.state, State::Between)
        else {
            return;
        };
        let call = match serde_json::from_str(&body) {
            Ok(Value::Object(arguments)) => Some(ToolCall {
                id: None,
                name,
                arguments,
            }),
            _ => None,
        };
        match call.filter(|call| self.arguments.allow(call)) {
            Some(call) => {
                voice.call(call);
                if end == START {
                    read_again(START, input);
                }
            }
            None => {
                let end = match end {
                    START => {
                        read_again(START, input);
                        ""
                    }
                    end => end,
                };
                for text in [header.as_str(), &body, end] {
                    text.chars().for_each(|c| voice.say(c));
                }
            }
        }
    }

    /// A header that is none is text.
    fn give_up(&mut self, voice: &mut Voice) {
        if let State::Header(header) = std::mem::replace(&mut self.state, State::Content) {
            header.chars().for_each(|c| voice.say(c));
        }
    }
}

/// The word behind a mark in a header.
fn word_behind<'a>(header: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(mark)?;
    let end = rest.find(|c: char| c.is_whitespace() || c == '<');
    let word = &rest[..end.unwrap_or(rest.len())];
    (!word.is_empty()).then_some(word)
}

fn channel(header: &str) -> Option<&str> {
    word_behind(header, CHANNEL)
}

fn recipient(header: &str) -> Option<&str> {
    word_behind(header, RECIPIENT)
}
