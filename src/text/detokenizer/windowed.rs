//! Detokenisation by the tokenizer's own decoder over a window of the last tokens, for decoders
//! that cannot be taken apart.

use super::TextError;
use crate::text::Tokenizer;

/// Ids kept as context, so that decoders which treat the first token specially see one before.
const CONTEXT: usize = 4;
/// A character takes at most four bytes, hence four byte tokens; longer runs of undecodable
/// tokens are not an incomplete character and are given out as they are.
const MAX_HELD: usize = 8;

/// Each token costs a decode of a few ids, not of the whole text.
#[derive(Debug)]
pub(super) struct Windowed<'a> {
    tokenizer: &'a Tokenizer,
    /// Context ids, then the ids whose text is still incomplete.
    ids: Vec<u32>,
    /// How many of `ids` are context.
    context: usize,
    /// The text of the context alone.
    context_text: String,
}

impl<'a> Windowed<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            ids: Vec::new(),
            context: 0,
            context_text: String::new(),
        }
    }

    pub(super) fn push(&mut self, id: u32) -> Result<String, TextError> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids)?;
        let held = self.ids.len() - self.context;
        if text.ends_with(char::REPLACEMENT_CHARACTER) && held <= MAX_HELD {
            return Ok(String::new());
        }
        let fresh = self.beyond_context(&text);
        self.slide()?;
        Ok(fresh)
    }

    pub(super) fn finish(self) -> Result<String, TextError> {
        if self.ids.len() == self.context {
            return Ok(String::new());
        }
        let text = self.tokenizer.decode(&self.ids)?;
        Ok(self.beyond_context(&text))
    }

    fn beyond_context(&self, text: &str) -> String {
        text.get(self.context_text.len()..)
            .unwrap_or_default()
            .to_owned()
    }

    /// Keeps the last ids as context, from where they are text by themselves: a context that
    /// began within a character would spoil what follows it.
    fn slide(&mut self) -> Result<(), TextError> {
        self.ids.drain(..self.ids.len().saturating_sub(CONTEXT));
        loop {
            self.context_text = self.tokenizer.decode(&self.ids)?;
            if self.ids.is_empty() || !self.context_text.contains(char::REPLACEMENT_CHARACTER) {
                self.context = self.ids.len();
                return Ok(());
            }
            self.ids.remove(0);
        }
    }
}
