//! The wording of judgements: labels of assertions, and facts for people who know no manual.
//!
//! Generations are counted from 1, as people count answers; tokens and bytes from 0, as records
//! and `detect` count them. Whether a fact is good or bad is not known here.

use std::time::Duration;

use super::scope::CHANNELS;
use super::{Assertion, Likelihood, LoopEvidence, Rule, SnapshotMatch};
use crate::loops::{LoopState, escape_fragment};
use crate::snapshot::{ChangedInput, Divergence, TextDivergence, TokenDivergence};

/// Below this logit margin, rounding may decide between two tokens.
const NEAR_TIE: f32 = 0.02;
/// Characters of an answer that a message shows.
const ANSWER_CHARS: usize = 200;
/// Characters of an expected text that a label shows.
const LABEL_CHARS: usize = 60;
/// Tokens that stand in for a loop without visible text.
const SHOWN_IDS: usize = 16;

/// The assertion with its parameters, such as `contains "tokio"`.
///
/// One that belongs to a turn says so first.
pub(super) fn label(assertion: &Assertion) -> String {
    match assertion.turn {
        Some(turn) => format!("turn {turn}: {}", asked(assertion)),
        None => asked(assertion),
    }
}

/// A type, and what makes it weaker or narrower than usual.
fn in_brackets<'a>(kind: &str, more: impl Iterator<Item = &'a str>) -> String {
    let more: Vec<&str> = more.collect();
    match more.is_empty() {
        true => kind.to_owned(),
        false => format!("{kind} ({})", more.join(", ")),
    }
}

fn asked(assertion: &Assertion) -> String {
    let kind = &assertion.kind;
    match &assertion.rule {
        Rule::Loop {
            weakest,
            kinds,
            scope,
        } => {
            let suspected = (!weakest.is_confirmed()).then_some("suspected");
            let kinds = kinds.iter().map(|kind| kind.key());
            let channels = CHANNELS
                .iter()
                .filter(|(_, channel)| scope.contains(channel));
            let scope = channels.map(|(name, _)| *name);
            in_brackets(kind, suspected.into_iter().chain(kinds).chain(scope))
        }
        Rule::Snapshot(rule) => {
            let prefix;
            let matching = match rule.matching {
                SnapshotMatch::Tokens => None,
                SnapshotMatch::Text => Some("text"),
                SnapshotMatch::Normalised => Some("normalised text"),
                SnapshotMatch::Prefix(tokens) => {
                    prefix = format!("first {}", count(tokens, "token"));
                    Some(prefix.as_str())
                }
            };
            let tie = rule.tie_margin.map(|margin| format!("ties below {margin}"));
            in_brackets(kind, matching.into_iter().chain(tie.as_deref()))
        }
        Rule::Contains(text) | Rule::ContainsIgnoreCase(text) | Rule::Equals(text) => {
            format!("{kind} {}", quoted(text, LABEL_CHARS))
        }
        Rule::Regex(regex) => format!("{kind} /{}/", one_line(regex.as_str())),
        Rule::FinishReason(reason) => format!("{kind} {}", reason.as_str()),
        Rule::MaxTokensUsed(limit) => format!("{kind} {limit}"),
        Rule::ToolCalled { name, args } if args.is_empty() => format!("{kind} {name}"),
        Rule::ToolCalled { name, args } => format!(
            "{kind} {name} {}",
            escape_fragment(&json(args), LABEL_CHARS)
        ),
        Rule::Text(rule) => behind(kind, &rule.label()),
        Rule::Tools(rule) => behind(kind, &rule.label()),
        Rule::Rerun(rule) => behind(kind, &rule.label()),
        Rule::Likelihood(Likelihood::Perplexity(most)) => format!("{kind} <= {most}"),
        Rule::Likelihood(Likelihood::Score(least)) => format!("{kind} >= {least}"),
        Rule::Set { threshold, members } => {
            let of = count(members.len(), "assertion");
            match threshold {
                Some(threshold) => format!("{kind} of {of}, {threshold}"),
                None => format!("{kind} of {of}"),
            }
        }
        Rule::StreamValid => kind.clone(),
        Rule::Ttft(limit)
        | Rule::InterToken(limit)
        | Rule::Stall(limit)
        | Rule::EndToEnd(limit) => format!("{kind} <= {limit:?}"),
    }
}

fn behind(kind: &str, rest: &str) -> String {
    format!("{kind} {rest}").trim_end().to_owned()
}

/// A pattern on one line, cut. It is not escaped: its backslashes are its own.
fn one_line(pattern: &str) -> String {
    let flat = pattern.replace(char::is_control, " ");
    match flat.char_indices().nth(LABEL_CHARS) {
        Some((end, _)) => flat.get(..end).unwrap_or_default().to_owned() + "…",
        None => flat,
    }
}

/// `text` in quotes, escaped and cut.
pub(super) fn quoted(text: &str, max_chars: usize) -> String {
    format!("\"{}\"", escape_fragment(text, max_chars))
}

/// How the answer begins.
pub(super) fn beginning(answer: &str) -> String {
    if answer.is_empty() {
        "the answer is empty".to_owned()
    } else {
        format!("the answer begins: {}", quoted(answer, ANSWER_CHARS))
    }
}

/// A number with its unit, in the plural where it belongs.
pub(super) fn count(number: usize, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

/// A measured time.
pub(super) fn time(micros: u64) -> String {
    format!("{:?}", Duration::from_micros(micros))
}

/// A call as a person would write it down.
pub(super) fn call(name: &str, args: &serde_json::Map<String, serde_json::Value>) -> String {
    format!("{name} {}", escape_fragment(&json(args), ANSWER_CHARS))
}

fn json(args: &serde_json::Map<String, serde_json::Value>) -> String {
    // A map of values always has a JSON form; an empty one is less bad than a panic.
    serde_json::to_string(args).unwrap_or_default()
}

/// What the detector saw in one generation.
pub(super) fn loop_fact(evidence: &LoopEvidence) -> String {
    let verdict = &evidence.verdict;
    let ended = |what: &str| {
        verdict
            .ended_at
            .map_or_else(String::new, |at| format!(", {what} at token {at}"))
    };
    let (found, outcome) = match verdict.state {
        LoopState::Suspected => ("suspected", String::new()),
        LoopState::Ended => ("suspected", ended("ended")),
        LoopState::Confirmed => ("confirmed", String::new()),
        LoopState::Recovered => ("confirmed", ended("recovered")),
        LoopState::Relapsed => ("confirmed", ended("broken") + " and followed by another"),
    };
    let fragment = if evidence.fragment.is_empty() {
        let ids: Vec<String> = verdict
            .fragment_tokens
            .iter()
            .take(SHOWN_IDS)
            .map(u32::to_string)
            .collect();
        format!("no visible text, token ids {}", ids.join(" "))
    } else {
        format!("\"{}\"", evidence.fragment)
    };
    format!(
        "loop {found} in generation {}{outcome}: period {}, {:.1} copies, onset at token {}, \
         detected at token {}, {} wasted\nfragment: {fragment}",
        evidence.exchange + 1,
        count(verdict.period, "token"),
        verdict.copies(),
        verdict.onset,
        verdict.detected_at,
        count(verdict.wasted_tokens, "token"),
    )
}

/// Where an output departs from its snapshot, and why that may be. Without `ids`, tokens were not
/// compared.
pub(super) fn divergence_fact(divergence: &Divergence, ids: bool) -> String {
    differences(divergence, ids, "the inputs changed since the snapshot")
}

/// The same beside another answer to what should be one question.
pub(super) fn difference_fact(divergence: &Divergence, ids: bool) -> String {
    differences(divergence, ids, "not the same was asked")
}

fn differences(divergence: &Divergence, ids: bool, changed: &str) -> String {
    let mut parts = Vec::new();
    if !divergence.changed_inputs.is_empty() {
        let changes: Vec<String> = divergence.changed_inputs.iter().map(change_fact).collect();
        parts.push(format!("{changed} ({})", changes.join(", ")));
    }
    match (&divergence.tokens, &divergence.text) {
        (Some(tokens), Some(text)) => {
            parts.push(token_fact(tokens));
            parts.push(text_fact(text));
        }
        (Some(tokens), None) => {
            parts.push(token_fact(tokens));
            parts.push("the text is the same".to_owned());
        }
        (None, Some(text)) if !ids => parts.push(text_fact(text)),
        (None, Some(text)) => {
            parts.push(text_fact(text));
            parts.push("the tokens are the same, so their decoding changed".to_owned());
        }
        (None, None) => {}
    }
    parts.join("; ")
}

/// What was asked differently.
#[must_use]
pub fn change_fact(change: &ChangedInput) -> String {
    format!("{}: {} -> {}", change.name, change.expected, change.actual)
}

/// Where the tokens of an output depart from those of its snapshot.
#[must_use]
pub fn token_fact(divergence: &TokenDivergence) -> String {
    let id = |id: Option<u32>| id.map_or_else(|| "the end".to_owned(), |id| id.to_string());
    let margin = match divergence.margin {
        Some(margin) if margin < NEAR_TIE => {
            format!(" (margin {margin:.4}, a near tie: rounding may have decided)")
        }
        Some(margin) => format!(" (margin {margin:.2})"),
        None => String::new(),
    };
    format!(
        "first different token is {} of generation {}: expected {}, got {}{margin}",
        divergence.token_index,
        divergence.exchange + 1,
        id(divergence.expected),
        id(divergence.actual),
    )
}

fn text_fact(divergence: &TextDivergence) -> String {
    format!(
        "text differs from byte {} of generation {}: expected {}, got {}",
        divergence.byte,
        divergence.exchange + 1,
        quoted(&divergence.expected_text, ANSWER_CHARS),
        quoted(&divergence.actual_text, ANSWER_CHARS),
    )
}
