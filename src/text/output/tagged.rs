//! Answers in plain text with marks in it: a thought at the beginning, calls among what is said,
//! or calls that are the whole answer.
//!
//! Knows marks and their places; what stands behind a mark is for the readers of calls to say.

use std::collections::VecDeque;

use super::arguments::Arguments;
use super::calls::{Progress, ReadCall, Tools};
use super::format::{CallFormat, OutputFormat, ThinkMarks};
use super::function_xml::{self, FunctionXml};
use super::hermes::{self, Hermes};
use super::llama::{self, Llama};
use super::mistral::{self, Mistral};
use super::python_calls::{self, PythonCalls};
use super::read_again;
use super::voice::Voice;
use crate::generation::ToolSpec;

/// Most bytes that are read a second time, because they stood behind a mark that opened nothing;
/// then marks are text. An answer full of them must not take forever.
const MOST_READ_AGAIN: usize = 4 << 20;

/// The parser of such answers.
#[derive(Debug)]
pub(super) struct Tagged {
    openings: Vec<Opening>,
    thinking: Option<ThinkMarks>,
    tools: Tools,
    pub(super) arguments: Arguments,
    state: State,
    /// Text that may be the beginning of a mark.
    candidate: String,
    /// Whether anything was said or called.
    begun: bool,
    /// Bytes read a second time.
    read_again: usize,
}

#[derive(Debug)]
enum State {
    Content,
    Thinking,
    /// What may be a call: its opening, the text behind it, and who reads it.
    Calling(Opening, String, Box<dyn ReadCall>),
}

/// What a mark opens.
#[derive(Debug, Clone, Copy)]
struct Opening {
    mark: &'static str,
    of: Kind,
    /// Whether it counts only where nothing was said before.
    at_start: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thought,
    Hermes,
    FunctionXml,
    Mistral,
    LlamaJson,
    LlamaTag,
    Python,
}

impl Opening {
    fn anywhere(mark: &'static str, of: Kind) -> Self {
        Self {
            mark,
            of,
            at_start: false,
        }
    }

    fn at_start(mark: &'static str, of: Kind) -> Self {
        Self {
            at_start: true,
            ..Self::anywhere(mark, of)
        }
    }
}

impl Tagged {
    pub(super) fn new(
        format: &OutputFormat,
        tools: &[ToolSpec],
        thinking: bool,
        voice: &mut Voice,
    ) -> Self {
        let mut openings = Vec::new();
        if let Some(marks) = format.thinking() {
            openings.push(Opening::at_start(marks.open, Kind::Thought));
        }
        if format.has(CallFormat::Hermes) {
            openings.push(Opening::anywhere(hermes::OPEN, Kind::Hermes));
        }
        if format.has(CallFormat::FunctionXml) {
            openings.push(Opening::anywhere(hermes::OPEN, Kind::Hermes));
            openings.push(Opening::anywhere(function_xml::OPEN, Kind::FunctionXml));
        }
        if format.has(CallFormat::Mistral) {
            openings.push(Opening::anywhere(mistral::OPEN, Kind::Mistral));
        }
        // These look like ordinary text.
        if format.has(CallFormat::Llama) && !tools.is_empty() {
            openings.push(Opening::at_start(llama::TAG, Kind::LlamaTag));
            openings.push(Opening::at_start(llama::OPEN, Kind::LlamaJson));
        }
        if format.has(CallFormat::Python) && !tools.is_empty() {
            openings.push(Opening::at_start(python_calls::OPEN, Kind::Python));
        }
        let state = match thinking && format.thinking().is_some() {
            true => {
                voice.begin_thought();
                State::Thinking
            }
            false => State::Content,
        };
        let tools: Tools = tools.into();
        Self {
            openings,
            thinking: format.thinking(),
            arguments: Arguments::new(tools.clone()),
            tools,
            state,
            candidate: String::new(),
            begun: false,
            read_again: 0,
        }
    }

    pub(super) fn read(&mut self, c: char, voice: &mut Voice, input: &mut VecDeque<char>) {
        if let State::Calling(_, held, reader) = &mut self.state {
            held.push(c);
            let progress = reader.push(c);
            if progress != Progress::More {
                self.called(progress, voice, input);
            }
            return;
        }
        self.candidate.push(c);
        match self.mark() {
            Mark::Maybe => {}
            Mark::Open(opening) => {
                self.candidate.clear();
                self.open(opening, voice);
            }
            Mark::Close => {
                self.candidate.clear();
                voice.begin_content();
                self.state = State::Content;
            }
            Mark::None => self.text(voice, input),
        }
    }

    /// Takes the end of the text for what is held back; says whether there is more to read.
    pub(super) fn end(&mut self, voice: &mut Voice, input: &mut VecDeque<char>) -> bool {
        if let State::Calling(_, _, reader) = &mut self.state {
            let progress = reader.end();
            self.called(progress, voice, input);
            return true;
        }
        let held = !self.candidate.is_empty();
        if held {
            self.text(voice, input);
        }
        held
    }

    /// What the candidate is.
    fn mark(&self) -> Mark {
        let candidate = self.candidate.as_str();
        if matches!(self.state, State::Thinking) {
            return match self.thinking {
                Some(marks) if marks.close == candidate => Mark::Close,
                Some(marks) if marks.close.starts_with(candidate) => Mark::Maybe,
                _ => Mark::None,
            };
        }
        let counts = |opening: &&Opening| {
            !(opening.at_start && self.begun)
                && (self.read_again < MOST_READ_AGAIN || opening.of == Kind::Thought)
        };
        let openings = || self.openings.iter().filter(counts);
        match openings().find(|opening| opening.mark == candidate) {
            Some(opening) => Mark::Open(*opening),
            None if openings().any(|opening| opening.mark.starts_with(candidate)) => Mark::Maybe,
            None => Mark::None,
        }
    }

    /// The candidate's first character is no mark's; a mark may begin with the next one.
    fn text(&mut self, voice: &mut Voice, input: &mut VecDeque<char>) {
        let candidate = std::mem::take(&mut self.candidate);
        let mut chars = candidate.chars();
        let Some(first) = chars.next() else { return };
        read_again(chars.as_str(), input);
        match self.state {
            State::Thinking => voice.think(first),
            _ => self.say(first, voice),
        }
    }

    fn say(&mut self, c: char, voice: &mut Voice) {
        self.begun |= !c.is_whitespace();
        voice.say(c);
    }

    fn open(&mut self, opening: Opening, voice: &mut Voice) {
        let tools = || self.tools.clone();
        let reader: Box<dyn ReadCall> = match opening.of {
            Kind::Thought => {
                voice.begin_thought();
                self.state = State::Thinking;
                return;
            }
            Kind::Hermes => Box::new(Hermes::new(tools())),
            Kind::FunctionXml => Box::new(FunctionXml::new(tools())),
            Kind::Mistral => Box::new(Mistral::new()),
            Kind::LlamaJson => Box::new(Llama::json(tools())),
            Kind::LlamaTag => Box::new(Llama::tagged(tools())),
            Kind::Python => Box::new(PythonCalls::new(tools())),
        };
        self.state = State::Calling(opening, String::new(), reader);
    }

    /// The reader has decided, or the text is over. Calls that stand together are taken together.
    fn called(&mut self, progress: Progress, voice: &mut Voice, input: &mut VecDeque<char>) {
        let State::Calling(opening, held, _) = std::mem::replace(&mut self.state, State::Content)
        else {
            return;
        };
        match progress {
            Progress::Calls(calls, behind)
                if calls.iter().all(|call| self.arguments.allow(call)) =>
            {
                self.begun = true;
                calls.into_iter().for_each(|call| voice.call(call));
                read_again(&behind, input);
            }
            Progress::Calls(..) | Progress::More | Progress::No => {
                self.read_again += held.len();
                for c in opening.mark.chars() {
                    self.say(c, voice);
                }
                read_again(&held, input);
            }
        }
    }
}

/// What the text at hand is.
enum Mark {
    Maybe,
    Open(Opening),
    Close,
    None,
}
