//! A checkpoint's tokenizer.

use super::{Detokenizer, TextError};

/// Text to ids and back, as `tokenizer.json` defines it.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads the contents of `tokenizer.json`.
    ///
    /// # Errors
    /// If they are not a tokenizer.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        let inner = json
            .parse::<tokenizers::Tokenizer>()
            .map_err(|error| TextError::Tokenizer(error.to_string()))?;
        Ok(Self { inner })
    }

    /// The ids of a text. Special tokens written in the text are recognised; none are added
    /// unless `add_special_tokens`.
    ///
    /// # Errors
    /// If the tokenizer has no id for a part of the text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TextError> {
        self.inner
            .encode_fast(text, add_special_tokens)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| TextError::Tokenizer(error.to_string()))
    }

    /// The text of some ids, special tokens included. Ids that the tokenizer does not know are
    /// left out.
    ///
    /// # Errors
    /// If the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.inner
            .decode(ids, false)
            .map_err(|error| TextError::Tokenizer(error.to_string()))
    }

    /// The id of a token by its exact name, such as `<|im_end|>`.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A detokenizer at the start of an answer.
    #[must_use]
    pub fn detokenizer(&self) -> Detokenizer<'_> {
        Detokenizer::new(self)
    }
}
