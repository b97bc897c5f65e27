//! Puts the parts of an answer together: neighbouring characters of a channel are one piece, and
//! the white space around thoughts and calls belongs to nobody.
//!
//! Knows channels and white space; which text is what was decided before.

use super::Piece;
use crate::generation::ToolCall;

/// What parts the messages of one channel.
const BETWEEN_MESSAGES: &str = "\n\n";

/// What was heard of one answer.
#[derive(Debug, Default)]
pub(super) struct Voice {
    pieces: Vec<Piece>,
    content: Channel,
    thought: Channel,
    /// Whether a call has come.
    called: bool,
}

/// One of the two kinds of text.
#[derive(Debug, Default)]
struct Channel {
    /// White space that may stand before a call, or at the end of a thought.
    space: String,
    /// Whether something else than white space was said.
    said: bool,
    /// Whether white space is left out until something is said.
    fresh: bool,
}

impl Channel {
    /// Takes a character and returns the text that is certain with it.
    fn hear(&mut self, c: char) -> Option<String> {
        if c.is_whitespace() {
            if !self.fresh {
                self.space.push(c);
            }
            return None;
        }
        self.said = true;
        self.fresh = false;
        let mut text = std::mem::take(&mut self.space);
        text.push(c);
        Some(text)
    }

    fn begin(&mut self) {
        self.fresh = true;
        self.space.clear();
        if self.said {
            self.space.push_str(BETWEEN_MESSAGES);
        }
    }
}

impl Voice {
    /// A character of the content.
    pub(super) fn say(&mut self, c: char) {
        if let Some(text) = self.content.hear(c) {
            self.content_piece(&text);
        }
    }

    /// A character of a thought.
    pub(super) fn think(&mut self, c: char) {
        if let Some(text) = self.thought.hear(c) {
            match self.pieces.last_mut() {
                Some(Piece::Reasoning(last)) => last.push_str(&text),
                _ => self.pieces.push(Piece::Reasoning(text)),
            }
        }
    }

    /// A thought begins. The white space before it is left out.
    pub(super) fn begin_thought(&mut self) {
        self.content.space.clear();
        self.thought.begin();
    }

    /// A thought is over, and content begins; the white space between them is left out.
    pub(super) fn begin_content(&mut self) {
        self.content.begin();
    }

    /// A call. The white space before it is left out.
    pub(super) fn call(&mut self, call: ToolCall) {
        self.called = true;
        self.content.space.clear();
        self.content.fresh = !self.content.said;
        self.pieces.push(Piece::Call(call));
    }

    /// What is certain.
    pub(super) fn take(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }

    /// The rest: white space at the end is content unless there were calls.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        if !self.called && !self.content.fresh {
            let space = std::mem::take(&mut self.content.space);
            self.content_piece(&space);
        }
        self.take()
    }

    fn content_piece(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Content(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Content(text.to_owned())),
        }
    }
}
