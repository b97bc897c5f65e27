//! Turns a growing list of tokens into text, without ever giving out half a character.

use super::{TextError, Tokenizer};

/// Ids kept as context, so that decoders which treat the first token specially see one before.
const CONTEXT: usize = 4;
/// A character takes at most four bytes, hence four byte tokens; longer runs of undecodable
/// tokens are not an incomplete character and are given out as they are.
const MAX_HELD: usize = 8;

/// Streaming detokenisation. Each token costs a decode of a few ids, not of the whole text.
#[derive(Debug)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// Context ids, then the ids whose text is still incomplete.
    ids: Vec<u32>,
    /// How many of `ids` are context.
    context: usize,
    /// The text of the context alone.
    context_text: String,
}

impl<'a> Detokenizer<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            ids: Vec::new(),
            context: 0,
            context_text: String::new(),
        }
    }

    /// Takes one token and returns the text that became certain with it: nothing while a
    /// character is incomplete.
    ///
    /// # Errors
    /// If the tokenizer's decoder fails.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
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

    /// The text of tokens still held back: an incomplete character becomes U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's decoder fails.
    pub fn finish(self) -> Result<String, TextError> {
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

    fn slide(&mut self) -> Result<(), TextError> {
        let drop = self.ids.len().saturating_sub(CONTEXT);
        self.ids.drain(..drop);
        self.context = self.ids.len();
        self.context_text = self.tokenizer.decode(&self.ids)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokenizer() -> Tokenizer {
        let json = include_str!("../../models/readme/tokenizer.json");
        Tokenizer::from_json(json).expect("the built-in tokenizer")
    }

    fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
        let mut detokenizer = tokenizer.detokenizer();
        let mut pieces: Vec<String> = ids
            .iter()
            .map(|id| detokenizer.push(*id).expect("decodes"))
            .collect();
        pieces.push(detokenizer.finish().expect("decodes"));
        pieces
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_text_and_no_piece_is_half_a_character(
            text in "[a-z é\u{4e2d}\u{1f600}\u{301}\n]{0,40}",
        ) {
            let tokenizer = tokenizer();
            let ids = tokenizer.encode(&text, false).expect("encodes");
            let pieces = streamed(&tokenizer, &ids);
            prop_assert!(pieces.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER)));
            prop_assert_eq!(pieces.concat(), text);
        }

        #[test]
        fn any_tokens_give_some_text(ids in prop::collection::vec(0u32..5000, 0..60)) {
            streamed(&tokenizer(), &ids);
        }
    }

    #[test]
    fn a_cut_character_is_held_until_the_end() {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode("a\u{1f600}", false).expect("encodes");
        let pieces = streamed(&tokenizer, &ids[..ids.len() - 1]);
        let (last, before) = pieces.split_last().expect("pieces");
        assert_eq!(before.concat(), "a");
        assert!(last.contains(char::REPLACEMENT_CHARACTER));
    }
}
