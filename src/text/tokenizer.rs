//! A checkpoint's tokenizer.

use super::TextError;
use super::detokenizer::{Detokenizer, Plan};

/// Tokens that a vocabulary has together if its model thinks.
const THINKING_MARKS: [&[&str]; 5] = [
    &["<think>", "</think>"],
    &["<longcat_think>", "</longcat_think>"],
    &["<|think:start|>", "<|think:end|>"],
    &["<|channel>", "<channel|>"],
    &["<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"],
];

/// Text to ids and back, as `tokenizer.json` defines it.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    plan: Plan,
}

impl Tokenizer {
    /// Reads the contents of `tokenizer.json`.
    ///
    /// # Errors
    /// If they are not a tokenizer, or its decoder is not supported.
    pub fn from_json(json: &str) -> Result<Self, TextError> {
        let inner = json
            .parse::<tokenizers::Tokenizer>()
            .map_err(|error| TextError::Tokenizer(error.to_string()))?;
        let plan = Plan::of(inner.get_decoder())
            .map_err(|problem| TextError::Tokenizer(format!("decoder: {problem}")))?;
        Ok(Self { inner, plan })
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

    /// The name of a token; for an added token, its text.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The bytes that a token adds to a text that has begun; `None` for an id that is not known,
    /// and if this tokenizer's decoder says so only of whole texts.
    #[must_use]
    pub(super) fn bytes(&self, id: u32) -> Option<Vec<u8>> {
        let token = self.token(id)?;
        match self.inner.get_added_vocabulary().is_special_token(&token) {
            true => Some(token.into_bytes()),
            false => self.plan.bytes(token),
        }
    }

    /// Whether a token is special: it marks something, and is no text.
    pub(super) fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        self.token(id)
            .is_some_and(|token| added.is_special_token(&token))
    }

    /// The id of a token by its exact name, such as `<|im_end|>`.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the vocabulary has the marks of a model that thinks before it answers: the pairs
    /// of mlx-lm 0.32.2 (`tokenizer_utils.py`, `_infer_thinking`).
    #[must_use]
    pub fn has_thinking(&self) -> bool {
        let has = |token: &&str| self.id(token).is_some();
        THINKING_MARKS.iter().any(|marks| marks.iter().all(has))
    }

    /// A detokenizer at the start of an answer.
    #[must_use]
    pub fn detokenizer(&self) -> Detokenizer<'_> {
        Detokenizer::new(self, &self.plan)
    }
}
