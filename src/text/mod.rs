//! Between text and tokens: the tokenizer, streaming detokenisation, chat templates, stop strings,
//! grammars that an answer keeps to, and what its text means: thoughts, content, tool calls.
//!
//! Works on the contents of a checkpoint's text files. Does not know where they come from, nor
//! models, sampling or requests.

mod chat_template;
mod detokenizer;
mod grammar;
mod output;
mod stop;
mod tokenizer;

use thiserror::Error;

pub use chat_template::{ChatTemplate, TemplateFiles};
pub use detokenizer::Detokenizer;
pub use grammar::{Grammar, GrammarError, Grammars};
pub use output::{CallFormat, OutputFormat, OutputParser, Piece, ThinkMarks};
pub use stop::{Passed, StopStrings};
pub use tokenizer::Tokenizer;

/// Text that cannot be tokenized or rendered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// `tokenizer.json` cannot be understood, or cannot encode a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template is broken, or refuses the conversation.
    #[error("chat template: {0}")]
    ChatTemplate(String),
}
