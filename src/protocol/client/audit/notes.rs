//! The notes of an audit: each rule once, with its first event and how often it was broken.
//!
//! Bounded by the number of rules, whatever a server sends. What the rules are is not known here,
//! but for the one that both APIs share: a character that was torn in two.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::generation::{Irregularity, StreamNotes};

/// Characters of what was found.
const MOST_CHARS: usize = 160;
/// Characters of a value that a note shows.
const SHOWN_CHARS: usize = 40;
/// What stands where bytes are no text.
const REPLACEMENT: char = '\u{fffd}';
/// Texts whose edges are remembered at the same time: answer, reasoning, and blocks or calls.
const MOST_TEXTS: usize = 258;

/// What was noticed so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: StreamNotes,
    /// Whether the last fragment of each text ended with a replacement character.
    torn: BTreeMap<(&'static str, u64), bool>,
}

impl Notes {
    /// The next event begins.
    pub(super) fn next(&mut self) {
        self.notes.events += 1;
    }

    /// The number of the event that is looked at.
    pub(super) fn event(&self) -> usize {
        self.notes.events
    }

    /// A rule is broken by the event that is looked at.
    pub(super) fn note(&mut self, rule: &str, found: impl Into<String>) {
        self.note_at(self.event(), rule, found);
    }

    /// Something is missing at the end.
    pub(super) fn missing(&mut self, rule: &str, found: impl Into<String>) {
        self.note_at(self.event() + 1, rule, found);
    }

    pub(super) fn note_at(&mut self, event: usize, rule: &str, found: impl Into<String>) {
        let known = self.notes.irregularities.iter_mut();
        if let Some(known) = known.into_iter().find(|known| known.rule == rule) {
            known.times += 1;
            return;
        }
        self.notes.irregularities.push(Irregularity {
            rule: rule.to_owned(),
            found: found.into().chars().take(MOST_CHARS).collect(),
            event,
            times: 1,
        });
    }

    /// A fragment of a text. A character that was cut in two leaves a replacement character on both
    /// sides of the cut; one alone may be what the model wrote.
    pub(super) fn fragment(&mut self, text: (&'static str, u64), fragment: &str) {
        if fragment.is_empty() {
            return;
        }
        let before = self.torn.get(&text).copied().unwrap_or(false);
        if before && fragment.starts_with(REPLACEMENT) {
            let found = format!("{} has U+FFFD on both sides of a fragment's edge", text.0);
            self.note("torn-character", found);
        }
        if self.torn.len() < MOST_TEXTS || self.torn.contains_key(&text) {
            self.torn.insert(text, fragment.ends_with(REPLACEMENT));
        }
    }

    pub(super) fn end(self) -> StreamNotes {
        self.notes
    }
}

/// A value as a note shows it: `nothing`, or its JSON, cut.
pub(super) fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text,
    }
}

/// A text that is there and says something.
pub(super) fn filled(value: Option<&Value>) -> bool {
    value
        .and_then(Value::as_str)
        .is_some_and(|text| !text.is_empty())
}

/// Why the arguments of a call are none, if they are: they have to be one JSON object, and no text at
/// all stands for an empty one.
pub(super) fn bad_arguments(arguments: &str) -> Option<String> {
    if arguments.trim().is_empty() {
        return None;
    }
    let problem = match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(_)) => return None,
        Ok(_) => "are no object".to_owned(),
        Err(error) => format!("are no JSON ({error})"),
    };
    let text = Value::String(arguments.to_owned());
    Some(format!(
        "the arguments of a call {problem}: {}",
        shown(Some(&text))
    ))
}
