//! Holds an answer to a form: which tokens may come next.
//!
//! The parsing is done by the crate `llguidance`; here its grammars are made of what requests ask
//! for, and its tokens of the checkpoint's. Does not know logits' origin, nor who samples.
//!
//! A JSON Schema is followed as `llguidance` 1.9 follows it, which refuses what it cannot hold a
//! model to. White space between values is free up to a bound, because a small model that may
//! always choose another blank sometimes does.

mod call;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory, TokenParser};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Tokenizer;
use super::output::OutputFormat;
use crate::generation::{Constraint, ToolSpec};
use call::CallForm;

/// Grammars that are kept ready, the latest first: clients send the same one with each request.
const KEPT: usize = 32;
/// The blanks that may stand between two parts of a JSON value: one space, or a line break with
/// the next line's indentation.
const BLANKS: &str = r" |\n {0,16}";

/// Why an answer cannot be held to a form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrammarError {
    /// The tokenizer's tokens are not bytes of their own.
    #[error("answers cannot be held to a form here: {0}")]
    Tokenizer(String),
    /// The form is wrong, or of a kind that cannot be followed.
    #[error("{0}")]
    Form(String),
    /// The grammar broke off in the middle of an answer.
    #[error("the answer can no longer be held to its form: {0}")]
    Broken(String),
}

/// SHA-256 of what was asked for: schemas can be as large as a request.
type Key = [u8; 32];

/// All forms that answers of one tokenizer can be held to.
pub struct Grammars {
    factory: ParserFactory,
    /// How the model writes a call; `None` if it writes none that it can be held to.
    call: Option<CallForm>,
    kept: Mutex<VecDeque<(Key, TokenParser)>>,
}

/// One answer's form, as far as it is written.
pub struct Grammar {
    matcher: Matcher,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grammars")
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grammar")
    }
}

impl Grammars {
    /// The grammars of a tokenizer whose model has `vocab_size` tokens, ends with one of `eos` and
    /// writes calls in the forms of `output`.
    ///
    /// # Errors
    /// If the model has no end, or a token's bytes depend on its neighbours.
    pub fn new(
        tokenizer: &Tokenizer,
        vocab_size: usize,
        eos: &[u32],
        output: &OutputFormat,
    ) -> Result<Self, GrammarError> {
        let refused = |problem: &str| GrammarError::Tokenizer(problem.to_owned());
        let eos: Vec<u32> = eos
            .iter()
            .copied()
            .filter(|id| (*id as usize) < vocab_size)
            .collect();
        let Some(first) = eos.first() else {
            return Err(refused("the model has no end-of-sequence token"));
        };
        let words = words(tokenizer, vocab_size)
            .ok_or_else(|| refused("the bytes of its tokens depend on their neighbours"))?;
        let info = TokRxInfo::new(words.len() as u32, *first);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&eos);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)
                .map_err(|error| refused(&error.to_string()))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self {
            factory,
            call: CallForm::of(output, tokenizer),
            kept: Mutex::default(),
        })
    }

    /// The form of one answer to a prompt that offers `tools`.
    ///
    /// # Errors
    /// If a schema is wrong or has something that cannot be followed, or a tool is not offered.
    pub fn compile(
        &self,
        constraint: &Constraint,
        tools: &[ToolSpec],
    ) -> Result<Grammar, GrammarError> {
        let key = Sha256::digest(json!([constraint, tools]).to_string()).into();
        let parser = match self.find(&key) {
            Some(parser) => parser,
            None => {
                let grammar = match constraint {
                    Constraint::Json { schema } => {
                        TopLevelGrammar::from_json_schema(bounded(schema)?)
                    }
                    Constraint::Call { tools: names } => {
                        let call = self.call.as_ref().ok_or_else(no_form)?;
                        TopLevelGrammar::from_lark(call.lark(names, tools)?)
                    }
                };
                let parser = self
                    .factory
                    .create_parser(grammar)
                    .map_err(|error| GrammarError::Form(first_line(&error.to_string())))?;
                self.keep(key, &parser);
                parser
            }
        };
        Ok(Grammar {
            matcher: Matcher::new(Ok(parser)),
        })
    }

    fn find(&self, key: &Key) -> Option<TokenParser> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == key)?;
        let found = kept.remove(at)?;
        // A copy that shares no lexer: answers are written at the same time.
        let parser = found.1.deep_clone();
        kept.push_front(found);
        Some(parser)
    }

    fn keep(&self, key: Key, parser: &TokenParser) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((key, parser.deep_clone()));
        kept.truncate(KEPT);
    }
}

impl Grammar {
    /// Makes the logits of all tokens that may not come next minus infinity.
    ///
    /// # Errors
    /// If no token may, or the grammar has become too large.
    pub fn restrict(&mut self, logits: &mut [f32]) -> Result<(), GrammarError> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(broken)?;
        if allowed.is_zero() {
            return Err(GrammarError::Broken("no token fits".to_owned()));
        }
        for (word, logits) in allowed.as_slice().iter().zip(logits.chunks_mut(32)) {
            for (bit, logit) in logits.iter_mut().enumerate() {
                if word & (1 << bit) == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        // Tokens beyond the mask have no bytes.
        if let Some(beyond) = logits.get_mut(allowed.len()..) {
            beyond.fill(f32::NEG_INFINITY);
        }
        Ok(())
    }

    /// Takes the token that was chosen, and says whether the form is complete: nothing may follow.
    ///
    /// # Errors
    /// If the token was not allowed.
    pub fn push(&mut self, id: u32) -> Result<bool, GrammarError> {
        self.matcher.consume_token(id).map_err(broken)?;
        Ok(self.matcher.is_stopped())
    }
}

fn no_form() -> GrammarError {
    let problem = "a call can be forced only of models whose calls have JSON arguments, in the form \
                   of Hermes, Llama 3, Mistral or Harmony; its chat template shows none";
    GrammarError::Form(problem.to_owned())
}

fn broken(error: impl std::fmt::Display) -> GrammarError {
    GrammarError::Broken(first_line(&error.to_string()))
}

/// Errors of the crate can hold the whole grammar behind their first line.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The schema with the bound on blanks, unless it sets its own.
fn bounded(schema: &Value) -> Result<Value, GrammarError> {
    let Value::Object(fields) = schema else {
        let problem = format!("a JSON Schema is an object, not {schema}");
        return Err(GrammarError::Form(problem));
    };
    let mut fields = fields.clone();
    fields
        .entry("x-guidance")
        .or_insert_with(|| json!({"whitespace_pattern": BLANKS}));
    Ok(Value::Object(fields))
}

/// The bytes of each token; none for ids without a token. Special tokens are marked, so that no
/// text is written with them. `None` if a token's bytes cannot be told.
fn words(tokenizer: &Tokenizer, vocab_size: usize) -> Option<Vec<Vec<u8>>> {
    let word = |id: u32| {
        if tokenizer.token(id).is_none() {
            return Some(Vec::new());
        }
        let mut bytes = tokenizer.bytes(id)?;
        if tokenizer.is_special(id) {
            bytes.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
        }
        Some(bytes)
    };
    (0..vocab_size as u32).map(word).collect()
}

#[cfg(test)]
mod tests;
