//! Log-probabilities in OpenAI's two forms, with the texts of the tokens.

use serde_json::{Map, Value};

use super::super::Vocabulary;
use crate::generation::Token;
use crate::protocol::openai::{LegacyLogprobs, Logprobs, TokenLogprob, TopLogprob};

/// The text of one token; its id where no text is known.
fn text(vocabulary: Option<&dyn Vocabulary>, id: u32) -> String {
    match vocabulary {
        Some(vocabulary) => vocabulary.text(&[id]),
        None => format!("token_id:{id}"),
    }
}

/// The form of chats.
pub(super) fn chat<'a>(
    tokens: impl IntoIterator<Item = &'a Token>,
    vocabulary: Option<&dyn Vocabulary>,
) -> Logprobs {
    let entry = |token: &Token| {
        let text_of = text(vocabulary, token.id);
        TokenLogprob {
            bytes: text_of.clone().into_bytes(),
            token: text_of,
            logprob: token.logprob,
            top_logprobs: token
                .top
                .iter()
                .map(|(id, logprob)| {
                    let text_of = text(vocabulary, *id);
                    TopLogprob {
                        bytes: text_of.clone().into_bytes(),
                        token: text_of,
                        logprob: *logprob,
                    }
                })
                .collect(),
        }
    };
    Logprobs {
        content: tokens.into_iter().map(entry).collect(),
        refusal: None,
    }
}

/// The form of plain prompts. `offset` counts the characters before the first token, and is moved
/// behind the last.
pub(super) fn legacy<'a>(
    tokens: impl IntoIterator<Item = &'a Token>,
    vocabulary: Option<&dyn Vocabulary>,
    offset: &mut usize,
) -> LegacyLogprobs {
    let mut lists = LegacyLogprobs::default();
    for token in tokens {
        let text_of = text(vocabulary, token.id);
        lists.text_offset.push(*offset);
        *offset += text_of.chars().count();
        lists.tokens.push(text_of);
        lists.token_logprobs.push(token.logprob);
        let top: Map<String, Value> = token
            .top
            .iter()
            .map(|(id, logprob)| (text(vocabulary, *id), Value::from(*logprob)))
            .collect();
        lists.top_logprobs.push(top);
    }
    lists
}
