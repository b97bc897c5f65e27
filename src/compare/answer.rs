//! Where two conversations first say something different.

use serde::Serialize;

use crate::generation::{Conversation, Transcript};

/// Characters shown before and after a difference.
const CONTEXT_BEFORE: usize = 20;
const CONTEXT_AFTER: usize = 40;

/// The first difference of two conversations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
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

/// Bytes of the longest common start, whole characters only.
fn common_bytes(left: &str, right: &str) -> usize {
    left.chars()
        .zip(right.chars())
        .take_while(|(l, r)| l == r)
        .map(|(l, _)| l.len_utf8())
        .sum()
}

/// The characters around `byte`, with an ellipsis on each side that was cut.
fn excerpt(text: &str, byte: usize) -> String {
    let (before, after) = text.split_at_checked(byte).unwrap_or((text, ""));
    let start = before
        .char_indices()
        .rev()
        .nth(CONTEXT_BEFORE - 1)
        .map_or(0, |(at, _)| at);
    let end = after
        .char_indices()
        .nth(CONTEXT_AFTER)
        .map_or(after.len(), |(at, _)| at);
    let cut = |gone: bool| if gone { "…" } else { "" };
    format!(
        "{}{}{}{}",
        cut(start > 0),
        before.get(start..).unwrap_or_default(),
        after.get(..end).unwrap_or_default(),
        cut(end < after.len())
    )
}
