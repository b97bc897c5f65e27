//! Compares a conversation with its reference and finds the first difference. Pure.
//!
//! Tokens and texts are compared apart, because two tokenizations can have one text. What was
//! asked is compared only when the output differs: it explains a difference and is none itself.

use serde::{Deserialize, Serialize};

use super::reference::prompt_tokens;
use super::{Snapshot, SnapshotGeneration, SnapshotInfo};
use crate::generation::{Conversation, Exchange, SamplingSettings, Transcript};

/// Characters shown before and after a difference.
const CONTEXT_BEFORE: usize = 20;
const CONTEXT_AFTER: usize = 40;

/// An output beside its reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Every token and every character is the same.
    Match,
    /// There is no reference yet.
    Missing,
    /// Something differs.
    Differs(Divergence),
}

/// Where an output departs from its reference. At least one of `tokens` and `text` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// The first different token, unless all are the same.
    pub tokens: Option<TokenDivergence>,
    /// The first different character, unless all are the same.
    pub text: Option<TextDivergence>,
    /// What was asked differently. If there is something, the model may be blameless.
    pub changed_inputs: Vec<ChangedInput>,
    /// Whether the texts are the same but for white space.
    #[serde(default)]
    pub only_white_space: bool,
}

/// The first token that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenDivergence {
    /// Index of the exchange, from 0.
    pub exchange: usize,
    /// Index of the token in its generation, from 0.
    pub token_index: usize,
    /// The token of the reference; `None` where the reference has ended.
    pub expected: Option<u32>,
    /// The token that came; `None` where the output has ended.
    pub actual: Option<u32>,
    /// Logit margin of the token that came, if it is known. A small one means that rounding may
    /// have decided.
    pub margin: Option<f32>,
    /// Bytes of the output's text before this token.
    pub byte: usize,
}

/// The first character that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextDivergence {
    /// Index of the exchange, from 0.
    pub exchange: usize,
    /// Bytes that both texts have in common before it.
    pub byte: usize,
    /// The reference's text around it, raw and cut.
    pub expected_text: String,
    /// The output's text around it, raw and cut.
    pub actual_text: String,
}

/// One thing that was asked differently from the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedInput {
    /// Its name, such as `model` or `sampling.temperature`.
    pub name: String,
    /// The reference's value, as shown to a person.
    pub expected: String,
    /// The value now, as shown to a person.
    pub actual: String,
}

/// Compares `actual`, which was generated for `info`, with its reference.
#[must_use]
pub fn compare(reference: &Snapshot, info: &SnapshotInfo, actual: &Conversation) -> Comparison {
    let outputs: Vec<Output<'_>> = actual.exchanges.iter().map(Output::of_exchange).collect();
    differences(reference, info, prompt_tokens(actual), &outputs)
}

/// Compares a snapshot that waits for review with its reference. A snapshot keeps no margins.
#[must_use]
pub fn compare_pending(reference: &Snapshot, pending: &Snapshot) -> Comparison {
    let outputs: Vec<Output<'_>> = pending
        .generations
        .iter()
        .map(Output::of_snapshot)
        .collect();
    differences(reference, &pending.info, pending.prompt_tokens, &outputs)
}

/// One generation, from wherever it is known.
struct Output<'a> {
    text: &'a str,
    /// Nothing where the ids are not known.
    ids: Option<Vec<u32>>,
    transcript: Option<&'a Transcript>,
}

impl<'a> Output<'a> {
    fn of_exchange(exchange: &'a Exchange) -> Self {
        let transcript = &exchange.transcript;
        Self {
            text: &transcript.text,
            ids: transcript.has_token_ids().then(|| transcript.token_ids()),
            transcript: Some(transcript),
        }
    }

    fn of_snapshot(generation: &'a SnapshotGeneration) -> Self {
        let known = !generation.tokens.is_empty() || generation.text.is_empty();
        Self {
            text: &generation.text,
            ids: known.then(|| generation.tokens.clone()),
            transcript: None,
        }
    }
}

fn differences(
    reference: &Snapshot,
    info: &SnapshotInfo,
    prompt: Option<usize>,
    actual: &[Output<'_>],
) -> Comparison {
    let tokens = token_divergence(reference, actual);
    let text = text_divergence(reference, actual);
    if tokens.is_none() && text.is_none() {
        return Comparison::Match;
    }
    let mut changed_inputs = changed_inputs(reference, info, prompt);
    let common = reference.generations.len().min(actual.len());
    let first = [
        tokens.as_ref().map(|divergence| divergence.exchange),
        text.as_ref().map(|divergence| divergence.exchange),
    ];
    // After a different answer the conversation may take another course by itself. If it only
    // goes on for longer or shorter, the scenario has other turns.
    if first.into_iter().flatten().min() == Some(common) {
        changed_inputs.push(ChangedInput {
            name: "generations".to_owned(),
            expected: reference.generations.len().to_string(),
            actual: actual.len().to_string(),
        });
    }
    Comparison::Differs(Divergence {
        only_white_space: text.is_some() && same_words(reference, actual),
        tokens,
        text,
        changed_inputs,
    })
}

fn same_words(reference: &Snapshot, actual: &[Output<'_>]) -> bool {
    let expected = reference.generations.iter();
    reference.generations.len() == actual.len()
        && expected.zip(actual).all(|(one, other)| {
            one.text
                .split_whitespace()
                .eq(other.text.split_whitespace())
        })
}

fn token_divergence(reference: &Snapshot, actual: &[Output<'_>]) -> Option<TokenDivergence> {
    let exchanges = reference.generations.len().max(actual.len());
    (0..exchanges).find_map(|exchange| {
        let expected = reference.generations.get(exchange);
        let output = actual.get(exchange);
        if output.is_some_and(|output| output.ids.is_none()) {
            // Unknown ids are not different ones; who needs them has to say so.
            return None;
        }
        let transcript = output.and_then(|output| output.transcript);
        let expected_ids = expected.map(|generation| generation.tokens.clone());
        let actual_ids = output.and_then(|output| output.ids.clone());
        // A missing generation differs from an empty one.
        if expected_ids == actual_ids {
            return None;
        }
        let expected_ids = expected_ids.unwrap_or_default();
        let actual_ids = actual_ids.unwrap_or_default();
        let token_index = common_length(&expected_ids, &actual_ids);
        Some(TokenDivergence {
            exchange,
            token_index,
            expected: expected_ids.get(token_index).copied(),
            actual: actual_ids.get(token_index).copied(),
            margin: transcript
                .and_then(|transcript| transcript.tokens.get(token_index))
                .map(|token| token.margin)
                .filter(|margin| margin.is_finite()),
            byte: transcript.map_or(0, |transcript| {
                transcript.text_range(token_index..token_index).start
            }),
        })
    })
}

fn text_divergence(reference: &Snapshot, actual: &[Output<'_>]) -> Option<TextDivergence> {
    let exchanges = reference.generations.len().max(actual.len());
    (0..exchanges).find_map(|exchange| {
        let expected = reference
            .generations
            .get(exchange)
            .map(|generation| generation.text.as_str());
        let found = actual.get(exchange).map(|output| output.text);
        if expected == found {
            return None;
        }
        let (expected, found) = (expected.unwrap_or(""), found.unwrap_or(""));
        let byte = common_bytes(expected, found);
        Some(TextDivergence {
            exchange,
            byte,
            expected_text: excerpt(expected, byte),
            actual_text: excerpt(found, byte),
        })
    })
}

fn common_length(left: &[u32], right: &[u32]) -> usize {
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}

/// Bytes of the longest common start, whole characters only.
#[must_use]
pub fn common_bytes(left: &str, right: &str) -> usize {
    left.chars()
        .zip(right.chars())
        .take_while(|(l, r)| l == r)
        .map(|(l, _)| l.len_utf8())
        .sum()
}

/// The characters around `byte`, with an ellipsis on each side that was cut.
#[must_use]
pub fn excerpt(text: &str, byte: usize) -> String {
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
    let mut shown = String::new();
    if start > 0 {
        shown.push('…');
    }
    shown.push_str(before.get(start..).unwrap_or_default());
    shown.push_str(after.get(..end).unwrap_or_default());
    if end < after.len() {
        shown.push('…');
    }
    shown
}

fn changed_inputs(
    reference: &Snapshot,
    info: &SnapshotInfo,
    prompt: Option<usize>,
) -> Vec<ChangedInput> {
    let mut changed = Vec::new();
    let mut note = |name: String, expected: Option<String>, actual: Option<String>| {
        if expected != actual {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "not given".to_owned());
            changed.push(ChangedInput {
                name,
                expected: shown(expected),
                actual: shown(actual),
            });
        }
    };
    note(
        "model".to_owned(),
        Some(reference.info.model.clone()),
        Some(info.model.clone()),
    );
    // A target that does not count its prompt has not changed it.
    if let (Some(expected), Some(actual)) = (reference.prompt_tokens, prompt) {
        let shown = |count: usize| Some(format!("{count} tokens"));
        note("prompt".to_owned(), shown(expected), shown(actual));
    }
    let redactions = |info: &SnapshotInfo| {
        let all = info.redact.iter();
        let all = all.map(|one| format!("{} as {:?}", one.pattern, one.replacement));
        Some(all.collect::<Vec<_>>().join(", ")).filter(|all| !all.is_empty())
    };
    note(
        "redact".to_owned(),
        redactions(&reference.info),
        redactions(info),
    );
    let expected = fields(&reference.info.sampling);
    let actual = fields(&info.sampling);
    let only_now = actual.keys().filter(|name| !expected.contains_key(*name));
    for name in expected.keys().chain(only_now) {
        let value = |fields: &Fields| fields.get(name).map(ToString::to_string);
        note(format!("sampling.{name}"), value(&expected), value(&actual));
    }
    changed
}

type Fields = serde_json::Map<String, serde_json::Value>;

/// The given fields by name. The way through text writes a `f32` as a person would, while
/// `to_value` would widen 1.05 to 1.0499999523162842.
fn fields(sampling: &SamplingSettings) -> Fields {
    serde_json::to_string(sampling)
        .and_then(|json| serde_json::from_str(&json))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
