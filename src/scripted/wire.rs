//! The checkpoint script as written. Every unknown key is an error.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

/// A checkpoint script, version 1.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptWire {
    /// Version of this format: 1.
    pub(super) version: Spanned<u32>,
    /// What the model does, one line.
    pub(super) description: Spanned<String>,
    /// The state after the prompt; default: the first.
    pub(super) start: Option<Spanned<String>>,
    /// The state after a prompt that ends with a tool's result; default: `start`.
    pub(super) after_tool: Option<Spanned<String>>,
    /// What the chat template puts behind the last message.
    pub(super) generation_prompt: Option<Spanned<String>>,
    /// The states by name, at least one.
    pub(super) states: Spanned<IndexMap<String, Spanned<StateWire>>>,
}

/// One named state: exactly one of the five forms, and where it leads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateWire {
    /// One token with this text.
    pub(super) text: Option<Spanned<String>>,
    /// A chain of tokens that spell this text.
    pub(super) say: Option<Spanned<TextWire>>,
    /// A ring of tokens that spell this text over and over.
    #[serde(rename = "loop")]
    pub(super) ring: Option<Spanned<TextWire>>,
    /// A chain that spells this text inside `<think>` and `</think>`.
    pub(super) think: Option<Spanned<TextWire>>,
    /// A chain that spells a tool call in Hermes form.
    pub(super) call: Option<Spanned<CallWire>>,
    /// What follows: a state, `eos`, or several with weights.
    pub(super) next: Option<Spanned<NextWire>>,
    /// The way out of a loop.
    pub(super) escape: Option<Spanned<EscapeWire>>,
}

/// A tool call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallWire {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: serde_json::Map<String, serde_json::Value>,
}

/// The way out of a loop, from each of its tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EscapeWire {
    /// Where to: a state or `eos`.
    pub(super) to: Spanned<String>,
    /// The repetition penalty above which it is taken.
    pub(super) breaks_above: Option<Spanned<f64>>,
    /// How likely it is at temperature 1 without penalties.
    pub(super) probability: Option<Spanned<f64>>,
}

/// A text to be cut into tokens, or a list of tokens.
#[derive(Debug)]
pub(super) enum TextWire {
    Text(String),
    Tokens(Vec<String>),
}

/// What follows a state.
#[derive(Debug)]
pub(super) enum NextWire {
    One(String),
    Weighted(IndexMap<String, f64>),
}

impl<'de> Deserialize<'de> for TextWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = TextWire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes, or a list of texts, one for each token")
            }

            fn visit_str<E>(self, text: &str) -> Result<TextWire, E> {
                Ok(TextWire::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TextWire, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = seq.next_element()? {
                    tokens.push(token);
                }
                Ok(TextWire::Tokens(tokens))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl<'de> Deserialize<'de> for NextWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Next;
        impl<'de> Visitor<'de> for Next {
            type Value = NextWire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a state's name, eos, or names with weights such as {a: 3, eos: 1}")
            }

            fn visit_str<E>(self, name: &str) -> Result<NextWire, E> {
                Ok(NextWire::One(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NextWire, A::Error> {
                let mut weights = IndexMap::new();
                while let Some((name, weight)) = map.next_entry()? {
                    weights.insert(name, weight);
                }
                Ok(NextWire::Weighted(weights))
            }
        }
        deserializer.deserialize_any(Next)
    }
}
