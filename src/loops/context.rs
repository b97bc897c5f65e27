//! What the text around a place consists of: sentences, a program, a table, or data.
//!
//! Tables and data repeat by nature, so a repetition has to go on for longer there before it means
//! anything. The context only chooses thresholds. It never silences the detector: a loop inside a
//! code fence that never closes is a loop.

use serde::{Deserialize, Serialize};

/// What a stretch of text consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// Sentences.
    Prose,
    /// A program.
    Code,
    /// Rows of cells.
    Table,
    /// Numbers, dumps, drawings, JSON and the like.
    Data,
}

impl Context {
    /// Whether the format itself repeats, so that more of it is needed to mean anything.
    #[must_use]
    pub fn repeats_by_nature(self) -> bool {
        matches!(self, Self::Table | Self::Data)
    }

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prose => "prose",
            Self::Code => "code",
            Self::Table => "table",
            Self::Data => "data",
        }
    }
}

/// A line longer than this is judged piece by piece, in characters.
const PIECE_CHARS: u32 = 160;

/// How many lines, or pieces of them, decide together.
const LINES: usize = 6;

/// How long lines of a program are remembered, in characters.
const MEMORY_CHARS: u32 = 8_192;

/// Sentences among which one character in so many belongs to a program are its comments.
const PROGRAM_SHARE: u32 = 6;

/// Follows the context through a text, character by character.
#[derive(Clone, Debug)]
pub(super) struct ContextTracker {
    line: Line,
    /// Votes of the latest lines, by characters, for each context.
    recent: [(Context, u32); LINES],
    next: usize,
    /// The language of the code fence the text is in.
    fence: Option<Context>,
    current: Context,
    /// Characters of lines of a program outside fences, and of all lines, the older the less.
    program: u32,
    all: u32,
}

/// What is known of an unfinished line.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    chars: u32,
    letters: u32,
    digits: u32,
    spaces: u32,
    code_signs: u32,
    /// The first characters that are no blanks.
    start: [char; 5],
    started: usize,
    last: Option<char>,
    /// It has `://`.
    has_address: bool,
    slashed_after_colon: bool,
    /// This is a later piece of a long line.
    continued: bool,
}

impl ContextTracker {
    pub(super) fn new() -> Self {
        Self {
            line: Line::default(),
            recent: [(Context::Prose, 0); LINES],
            next: 0,
            fence: None,
            current: Context::Prose,
            program: 0,
            all: 0,
        }
    }

    /// The context at the end of what was read.
    pub(super) fn current(&self) -> Context {
        self.current
    }

    pub(super) fn push(&mut self, character: char) {
        if character == '\n' {
            self.end_piece();
            self.line = Line::default();
            return;
        }
        self.line.push(character);
        if self.line.chars >= PIECE_CHARS {
            self.end_piece();
            self.line = Line {
                continued: true,
                ..Line::default()
            };
        }
    }

    fn end_piece(&mut self) {
        let line = self.line;
        if line.started >= 3 && !line.continued && line.start[..3] == ['`'; 3] {
            self.fence = match self.fence {
                Some(_) => None,
                None => Some(fence_context(line.start[3], line.start[4])),
            };
        }
        if line.started == 0 {
            // A blank line says nothing.
            return;
        }
        let verdict = line.context(self.fence);
        self.recent[self.next % LINES] = (verdict, line.chars);
        self.next += 1;
        let mut votes = [0_u32; 4];
        for (context, chars) in self.recent {
            votes[context as usize] += chars;
        }
        let all = [Context::Prose, Context::Code, Context::Table, Context::Data];
        self.current = all
            .into_iter()
            .max_by_key(|context| (votes[*context as usize], *context as usize))
            .unwrap_or(Context::Prose);
        self.remember(verdict, line.chars);
    }

    /// Comments of a program are written in sentences, and are still part of the program.
    fn remember(&mut self, verdict: Context, chars: u32) {
        self.all += chars;
        if verdict == Context::Code && self.fence.is_none() {
            self.program += chars;
        }
        if self.all > MEMORY_CHARS {
            self.all /= 2;
            self.program /= 2;
        }
        if self.current == Context::Prose && self.program * PROGRAM_SHARE > self.all {
            self.current = Context::Code;
        }
    }
}

/// The context of a fence by the first two letters of its language.
fn fence_context(first: char, second: char) -> Context {
    match (first, second) {
        // json, csv, xml, yaml, hex, text, log
        ('j', 's')
        | ('c', 's')
        | ('x', 'm')
        | ('y', 'a')
        | ('h', 'e')
        | ('t', 'e')
        | ('l', 'o') => Context::Data,
        _ => Context::Code,
    }
}

impl Line {
    fn push(&mut self, character: char) {
        self.chars += 1;
        if character.is_ascii_digit() {
            self.digits += 1;
        } else if character.is_alphabetic() {
            self.letters += 1;
        } else if character == ' ' || character == '\t' || character == '\r' {
            self.spaces += 1;
            return;
        } else if matches!(
            character,
            '{' | '}' | ';' | '(' | ')' | '=' | '<' | '>' | '_' | '&' | '[' | ']' | '/' | '#'
        ) {
            self.code_signs += 1;
        }
        self.has_address |= character == '/' && self.last == Some('/') && self.slashed_after_colon;
        self.slashed_after_colon =
            character == '/' && (self.last == Some(':') || self.slashed_after_colon);
        if self.started < self.start.len() {
            self.start[self.started] = character;
        }
        self.started += 1;
        self.last = Some(character);
    }

    fn context(&self, fence: Option<Context>) -> Context {
        let visible = self.chars - self.spaces;
        if self.start[0] == '|' && self.started > 1 {
            return Context::Table;
        }
        if self.has_address && self.spaces <= 8 {
            // A list of links.
            return Context::Data;
        }
        if self.letters * 5 < visible * 2 {
            // Signs alone close blocks of code, or draw.
            let closes = visible <= 4 && self.digits == 0;
            return if closes {
                fence.unwrap_or(Context::Code)
            } else {
                Context::Data
            };
        }
        if let Some(context) = fence {
            return context;
        }
        let ends_code = matches!(self.last, Some(';' | '{' | '}' | ')' | ',' | '>'));
        let quoted = self.start[0] == '"' || (self.start[0] == '{' && self.start[1] == '"');
        if quoted && ends_code {
            return Context::Data;
        }
        let signs = self.code_signs * 100 / visible.max(1);
        if signs >= 8 || (ends_code && signs >= 3) || self.start[..2] == ['/', '/'] {
            Context::Code
        } else {
            Context::Prose
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn after(text: &str) -> Context {
        let mut tracker = ContextTracker::new();
        text.chars().for_each(|character| tracker.push(character));
        tracker.current()
    }

    #[rstest]
    #[case("", Context::Prose)]
    #[case(
        "A sentence about nothing much.\nAnd another one, with 3 numbers.\n",
        Context::Prose
    )]
    #[case("fn main() {\n    let x = call(1);\n    return x;\n}\n", Context::Code)]
    #[case("| a | b |\n|---|---|\n| 1 | 2 |\n", Context::Table)]
    #[case(
        "00000000  00 00 00 00 00 00\n00000010  00 00 00 00 00\n",
        Context::Data
    )]
    #[case(
        "  {\"id\": 1, \"name\": \"ada\"},\n  {\"id\": 2, \"name\": \"bob\"},\n",
        Context::Data
    )]
    #[case("[1.2]: https://example.org/compare/1.1...1.2\n", Context::Data)]
    #[case(
        "Some words first.\n```csv\nname,city\nada,london\nbob,paris\ncarol,rome\n",
        Context::Data
    )]
    #[case(
        "```json\n{}\n```\nAnd now a long sentence of words follows the fence here.\n",
        Context::Prose
    )]
    fn contexts_are_told_apart(#[case] text: &str, #[case] expected: Context) {
        assert_eq!(after(text), expected);
    }

    #[test]
    fn comments_of_a_program_are_part_of_it() {
        let code = "int first(int argument) {\n    return call(argument, 1);\n}\n";
        let comment = "A sentence that explains what the next function does.\n".repeat(8);
        assert_eq!(after(&comment), Context::Prose);
        assert_eq!(
            after(&format!("{}{comment}", code.repeat(3))),
            Context::Code
        );
        let fenced = format!("```c\n{}```\n{comment}", code.repeat(3));
        assert_eq!(after(&fenced), Context::Prose);
    }

    #[test]
    fn a_line_without_an_end_is_judged_on_the_way() {
        assert_eq!(after(&"0.0, ".repeat(100)), Context::Data);
    }
}
