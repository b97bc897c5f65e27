//! Turns a growing list of tokens into text, without ever giving out half a character.
//!
//! The pieces join to what the `tokenizers` crate (0.22.2) makes of all tokens at once, special
//! tokens included, and each token costs bounded work however long the text or its last line is.
//! (The crate's own `DecodeStream` decodes everything since the last valid text again, without
//! a bound: with broken bytes, the whole rest of the answer for every token.) One case differs,
//! on purpose: where a run of byte tokens holds a complete character and then breaks off, the
//! crate takes the character back; here it was given out already, and stays.
//!
//! mlx-lm 0.32.2 (`tokenizer_utils.py`) differs in what it shows, not in its tokens:
//! - it cuts one space at the start of every answer of a byte-level tokenizer; here the text
//!   begins as the model began it;
//! - an id beyond the vocabulary shows as `!`; here it has no text;
//! - a lone space waits for the next token; here it does not.

mod chain;
mod plan;
mod utf8;
mod windowed;

use chain::Running;
pub(super) use plan::Plan;
use windowed::Windowed;

use super::{TextError, Tokenizer};

/// Streaming detokenisation of one answer.
#[derive(Debug)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    Chain(Running<'a>),
    Windowed(Windowed<'a>),
}

impl<'a> Detokenizer<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, plan: &'a Plan) -> Self {
        let state = match plan {
            Plan::Chain(chain) => State::Chain(Running::new(chain)),
            Plan::Windowed => State::Windowed(Windowed::new(tokenizer)),
        };
        Self { tokenizer, state }
    }

    /// Takes one token and returns the text that became certain with it: nothing while a
    /// character is incomplete, and nothing for an id that the tokenizer does not know.
    ///
    /// # Errors
    /// If the tokenizer's decoder fails.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        match &mut self.state {
            State::Chain(running) => match self.tokenizer.token(id) {
                Some(token) => running.push(token),
                None => Ok(String::new()),
            },
            State::Windowed(windowed) => windowed.push(id),
        }
    }

    /// The text of tokens still held back: an incomplete character becomes U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's decoder fails.
    pub fn finish(self) -> Result<String, TextError> {
        match self.state {
            State::Chain(running) => Ok(running.finish()),
            State::Windowed(windowed) => windowed.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
