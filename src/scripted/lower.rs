//! From the script as written to a graph that cannot be wrong: names resolved, texts cut into
//! tokens, each token unique.

use std::collections::HashSet;
use std::ops::Range;

use indexmap::IndexMap;
use serde_saphyr::{Location, Spanned};

use super::cut::cut as cut_text;
use super::logits::{Escape, logits};
use super::table::{Graph, Reserved, State, Target, Word};
use super::tokenizer::{MARKER, is_byte_name};
use super::wire::{CallWire, NextWire, ScriptWire, StateWire, TextWire};
use super::{MAX_STATE_TOKENS, Script};
use crate::yaml::{Source, YamlError, remedy};

/// The version that this program reads.
const VERSION: u32 = 1;
/// The name of the end of the sequence.
const END: &str = "eos";
/// ChatML's.
const DEFAULT_GENERATION_PROMPT: &str = "<|im_start|>assistant\n";
/// Most bytes of a generation prompt.
const MAX_GENERATION_PROMPT: usize = 1000;

pub(super) fn lower(source: Source<'_>, file: ScriptWire) -> Result<Script, YamlError> {
    if file.version.value != VERSION {
        let message = format!("version {} is not known", file.version.value);
        let error = source.error(&file.version.referenced, message);
        return Err(error.with_help(format!("this program reads version {VERSION}")));
    }
    if file.description.value.trim().is_empty() {
        return Err(source.error(&file.description.referenced, "'description' is empty"));
    }
    let mut spelled = Spelled::default();
    for (name, state) in &file.states.value {
        spelled.add(source, name, state)?;
    }
    if spelled.words.is_empty() {
        return Err(source.error(&file.states.referenced, "there is no state"));
    }
    let mut states = Vec::new();
    for (name, state) in &file.states.value {
        states.extend(spelled.link(source, name, state)?);
    }
    let start = match &file.start {
        Some(name) => spelled.state(source, name)?,
        None => 0,
    };
    let after_tool = match &file.after_tool {
        Some(name) => spelled.state(source, name)?,
        None => start,
    };
    Ok(Script {
        description: file.description.value.trim().to_owned(),
        generation_prompt: generation_prompt(source, file.generation_prompt.as_ref())?,
        graph: Graph {
            states,
            start,
            after_tool,
        },
    })
}

fn generation_prompt(
    source: Source<'_>,
    given: Option<&Spanned<String>>,
) -> Result<String, YamlError> {
    let Some(given) = given else {
        return Ok(DEFAULT_GENERATION_PROMPT.to_owned());
    };
    let refuse = |message: String| Err(source.error(&given.referenced, message));
    let text = &given.value;
    if text.is_empty() || text.len() > MAX_GENERATION_PROMPT {
        return refuse(format!(
            "'generation_prompt' has {} bytes, but needs 1 to {MAX_GENERATION_PROMPT}",
            text.len()
        ));
    }
    let closing = [
        Reserved::MessageEnd,
        Reserved::EndOfText,
        Reserved::ToolTurn,
    ];
    match closing.iter().find(|token| text.contains(token.text())) {
        Some(token) => refuse(format!(
            "'generation_prompt' must not contain {}",
            token.text()
        )),
        None => Ok(text.clone()),
    }
}

/// The tokens of all states, and which belong to whom.
#[derive(Default)]
struct Spelled {
    words: Vec<Word>,
    tokens: IndexMap<String, Range<usize>>,
    reserved: HashSet<Reserved>,
}

impl Spelled {
    /// Spells one state.
    fn add(
        &mut self,
        source: Source<'_>,
        name: &str,
        state: &Spanned<StateWire>,
    ) -> Result<(), YamlError> {
        let at = &state.referenced;
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(legal) || name == END {
            let message = format!("a state cannot be called '{name}'");
            let help = "use lower-case letters, digits, '-' and '_'; 'eos' is the end";
            return Err(source.error(at, message).with_help(help));
        }
        let first = self.words.len();
        for text in spell(source, at, name, &state.value)? {
            let word = word(source, at, text)?;
            if let Word::Reserved(reserved) = word
                && !self.reserved.insert(reserved)
            {
                let message = format!("'{}' is spoken a second time", reserved.text());
                let help =
                    "the model sees only the last token, so this one can lead to one place only";
                return Err(source.error(at, message).with_help(help));
            }
            self.words.push(word);
        }
        if self.words.len() > MAX_STATE_TOKENS {
            let message = format!(
                "with '{name}' the states have {} tokens; at most {MAX_STATE_TOKENS} are allowed",
                self.words.len()
            );
            return Err(source.error(at, message));
        }
        self.tokens.insert(name.to_owned(), first..self.words.len());
        Ok(())
    }

    /// The index of the first token of a named state.
    fn state(&self, source: Source<'_>, name: &Spanned<String>) -> Result<usize, YamlError> {
        match self.target(source, &name.referenced, &name.value)? {
            Target::State(index) => Ok(index),
            Target::End => Err(source.error(&name.referenced, "an answer cannot be empty")),
        }
    }

    fn target(&self, source: Source<'_>, at: &Location, name: &str) -> Result<Target, YamlError> {
        if name == END {
            return Ok(Target::End);
        }
        match self.tokens.get(name) {
            Some(tokens) => Ok(Target::State(tokens.start)),
            None => {
                let known: Vec<&str> = self.tokens.keys().map(String::as_str).collect();
                let known = [&known[..], &[END]].concat();
                let error = source.error(at, format!("there is no state '{name}'"));
                Err(error.with_help(remedy(name, &known)))
            }
        }
    }

    /// The states of one name, each with what follows it.
    fn link(
        &self,
        source: Source<'_>,
        name: &str,
        state: &Spanned<StateWire>,
    ) -> Result<Vec<State>, YamlError> {
        let tokens = self.tokens.get(name).cloned().unwrap_or_default();
        let last = self.leads_to(source, &tokens, state)?;
        let escape = match &state.value.escape {
            Some(escape) => {
                let to = &escape.value.to;
                let to = self.target(source, &to.referenced, &to.value)?;
                Some(Escape::lower(source, escape, to)?)
            }
            None => None,
        };
        tokens
            .clone()
            .map(|index| {
                let inner = [(Target::State(index + 1), 1.0)];
                let next = match index + 1 == tokens.end {
                    true => &last[..],
                    false => &inner[..],
                };
                Ok(State {
                    word: self.words[index].clone(),
                    next: logits(source, next, escape.as_ref())?,
                })
            })
            .collect()
    }

    /// Where the last token of a state leads, with weights.
    fn leads_to(
        &self,
        source: Source<'_>,
        tokens: &Range<usize>,
        state: &Spanned<StateWire>,
    ) -> Result<Vec<(Target, f64)>, YamlError> {
        let at = &state.referenced;
        let wire = &state.value;
        if let Some(escape) = &wire.escape
            && wire.ring.is_none()
            && wire.text.is_none()
        {
            let message = "'escape' goes with 'loop' or 'text'";
            return Err(source.error(&escape.referenced, message));
        }
        match (&wire.next, &wire.ring) {
            (Some(next), Some(_)) => Err(source
                .error(&next.referenced, "a loop leads to itself")
                .with_help("leave it with 'escape', or use 'say'")),
            (None, Some(_)) => Ok(vec![(Target::State(tokens.start), 1.0)]),
            (None, None) => Err(source
                .error(at, "the key 'next' is missing")
                .with_help("write a state's name, or eos")),
            (Some(next), None) => self.weighted(source, next),
        }
    }

    fn weighted(
        &self,
        source: Source<'_>,
        next: &Spanned<NextWire>,
    ) -> Result<Vec<(Target, f64)>, YamlError> {
        /// A weight so small that its logit would not be positive is refused.
        const SMALLEST_SHARE: f64 = 1e-6;

        let at = &next.referenced;
        let weights = match &next.value {
            NextWire::One(name) => return Ok(vec![(self.target(source, at, name)?, 1.0)]),
            NextWire::Weighted(weights) => weights,
        };
        let largest = weights.values().copied().fold(0.0, f64::max);
        if !(largest > 0.0 && largest.is_finite()) {
            return Err(source.error(at, "'next' needs at least one positive weight"));
        }
        weights
            .iter()
            .map(|(name, weight)| {
                if weight.is_nan() || *weight < largest * SMALLEST_SHARE {
                    let message = format!("the weight of '{name}' is {weight}");
                    let help =
                        "weights are positive, the smallest at least a millionth of the largest";
                    return Err(source.error(at, message).with_help(help));
                }
                Ok((self.target(source, at, name)?, *weight))
            })
            .collect()
    }
}

/// The tokens of a state as texts.
fn spell(
    source: Source<'_>,
    at: &Location,
    name: &str,
    state: &StateWire,
) -> Result<Vec<String>, YamlError> {
    let cut = |text: &TextWire| match text {
        TextWire::Text(text) => sayable(source, at, text).map(|()| cut_text(text)),
        TextWire::Tokens(tokens) => Ok(tokens.clone()),
    };
    let inside = |before: &[&str], inner: Vec<String>, after: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        [owned(before), inner, owned(after)].concat()
    };
    let tokens = match (
        &state.text,
        &state.say,
        &state.ring,
        &state.think,
        &state.call,
    ) {
        (Some(text), None, None, None, None) => vec![text.value.clone()],
        (None, Some(text), None, None, None) | (None, None, Some(text), None, None) => {
            cut(&text.value)?
        }
        (None, None, None, Some(text), None) => inside(
            &[Reserved::Think.text(), "\n"],
            cut(&text.value)?,
            &["\n", Reserved::ThinkEnd.text(), "\n\n"],
        ),
        (None, None, None, None, Some(call)) => inside(
            &[Reserved::ToolCall.text(), "\n"],
            cut_text(&call_json(&call.value)),
            &["\n", Reserved::ToolCallEnd.text()],
        ),
        _ => {
            let message =
                format!("'{name}' needs exactly one of 'text', 'say', 'loop', 'think' and 'call'");
            return Err(source.error(at, message));
        }
    };
    match tokens.is_empty() {
        true => Err(source.error(at, format!("the text of '{name}' is empty"))),
        false => Ok(tokens),
    }
}

fn call_json(call: &CallWire) -> String {
    serde_json::json!({"name": call.name, "arguments": call.arguments}).to_string()
}

/// What a token with this text is.
fn word(source: Source<'_>, at: &Location, text: String) -> Result<Word, YamlError> {
    let refuse = |message: String, help: &str| Err(source.error(at, message).with_help(help));
    if text.is_empty() {
        return refuse(
            "a token has no text".to_owned(),
            "every token says something",
        );
    }
    if let Some(reserved) = Reserved::SPOKEN.into_iter().find(|r| r.text() == text) {
        return Ok(Word::Reserved(reserved));
    }
    if let Some(reserved) = Reserved::SPOKEN.iter().find(|r| text.contains(r.text())) {
        let message = format!("'{}' must be a token of its own", reserved.text());
        return refuse(message, "make it an element of the list");
    }
    sayable(source, at, &text)?;
    if is_byte_name(&text) {
        let message = format!("a token cannot say '{text}' alone");
        return refuse(
            message,
            "it is the name of a byte; use a text, which is cut smaller",
        );
    }
    Ok(Word::Own(text))
}

/// Refuses what no state can say, before a cut could hide it.
fn sayable(source: Source<'_>, at: &Location, text: &str) -> Result<(), YamlError> {
    let refuse = |what: &str, help: &str| {
        let message = format!("a state cannot say '{what}'");
        Err(source.error(at, message).with_help(help))
    };
    let unspoken = Reserved::UNSPOKEN.map(Reserved::text);
    if let Some(reserved) = unspoken.iter().find(|reserved| text.contains(*reserved)) {
        return refuse(reserved, "the end of an answer is written 'next: eos'");
    }
    if text.contains(MARKER) {
        return refuse(
            &MARKER.to_string(),
            "it marks states in the names of tokens",
        );
    }
    Ok(())
}
