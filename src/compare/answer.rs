//! Where two conversations first say something different.

use serde::Serialize;

use crate::generation::{Conversation, Transcript};
use crate::snapshot::{common_bytes, excerpt};

/// The first difference of two conversations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    /// The run, from 1, of a case that is run several times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<usize>,
    /// The generation, from 1.
    pub generation: usize,
    /// The first different token, where the tokens of both are known.
    pub token: Option<TokenChange>,
    /// Bytes that both texts have in common before the difference.
    pub byte: usize,
    /// The earlier text around it, cut.
    pub before: String,
    /// The later text around it, cut.
    pub after: String,
}

/// Two tokens at one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenChange {
    /// The place in its generation, from 0.
    pub index: usize,
    /// The earlier id; nothing where the answer had ended.
    pub before: Option<u32>,
    /// The later id; nothing where the answer has ended.
    pub after: Option<u32>,
    /// Distance in logits between the best and the second-best token at this place in the later
    /// run. A small one means that rounding may have decided.
    pub margin: Option<f32>,
}

/// The first difference, or nothing if both say the same.
pub(super) fn divergence(before: &Conversation, after: &Conversation) -> Option<Divergence> {
    let longest = before.exchanges.len().max(after.exchanges.len());
    (0..longest).find_map(|at| {
        let of = |conversation: &'_ Conversation| conversation.exchanges.get(at).cloned();
        match (of(before), of(after)) {
            (Some(one), Some(other)) => between(at, &one.transcript, &other.transcript),
            (one, other) => {
                let text = |exchange: Option<crate::generation::Exchange>| {
                    exchange.map_or_else(String::new, |e| excerpt(&e.transcript.text, 0))
                };
                Some(Divergence {
                    run: None,
                    generation: at + 1,
                    token: None,
                    byte: 0,
                    before: text(one),
                    after: text(other),
                })
            }
        }
    })
}

fn between(at: usize, one: &Transcript, other: &Transcript) -> Option<Divergence> {
    let shown = |token, byte| {
        Some(Divergence {
            run: None,
            generation: at + 1,
            token,
            byte,
            before: excerpt(&one.text, byte),
            after: excerpt(&other.text, byte),
        })
    };
    if one.has_token_ids() && other.has_token_ids() {
        let (left, right) = (one.token_ids(), other.token_ids());
        if left != right {
            let index = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
            let byte = other.text_range(index..index).start;
            let token = TokenChange {
                index,
                before: left.get(index).copied(),
                after: right.get(index).copied(),
                margin: other
                    .tokens
                    .get(index)
                    .map(|token| token.margin)
                    .filter(|margin| margin.is_finite()),
            };
            return shown(Some(token), byte);
        }
    }
    (one.text != other.text)
        .then(|| common_bytes(&one.text, &other.text))
        .and_then(|byte| shown(None, byte))
}
