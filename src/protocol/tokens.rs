//! Our extension of every API: the token ids behind an answer, with the field `return_tokens`, and
//! the loop in it, where the server tells of loops.
//!
//! The names are those of [`generation`](crate::generation), so that an answer read back over
//! HTTP is the transcript that the server saw, times apart. `docs/serving.md` documents it.

use serde::{Deserialize, Serialize};

use crate::generation::{FinishReason, Token, ToolCall, Usage};

/// What the object `loopwatch` of an answer, or of one chunk of it, holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Loopwatch {
    /// The prompt is tokenized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Started>,
    /// Tokens, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenText>,
    /// A tool call (in chunks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call: Option<ToolCall>,
    /// All tool calls (in a complete answer).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// Answers that loop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loops: Vec<FoundLoop>,
}

/// A loop that was confirmed in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundLoop {
    /// The number of the answer, where there are several.
    pub choice: usize,
    /// Tokens of the block that repeats.
    pub period: usize,
    /// The first token of its first copy, counted from 0.
    pub onset: usize,
    /// The token that confirmed it.
    pub at: usize,
}

/// The prompt is tokenized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Tokens of the prompt.
    pub input_tokens: usize,
}

/// A token and the text that became certain with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenText {
    /// Its id.
    pub id: u32,
    /// See [`Token::logprob`].
    pub logprob: f32,
    /// See [`Token::margin`].
    pub margin: f32,
    /// See [`Token::top`].
    #[serde(default)]
    pub top: Vec<(u32, f32)>,
    /// Text that became certain with this token.
    pub text: String,
}

impl TokenText {
    /// A token with its text.
    #[must_use]
    pub fn of(token: &Token, text: &str) -> Self {
        Self {
            id: token.id,
            logprob: token.logprob,
            margin: token.margin,
            top: token.top.clone(),
            text: text.to_owned(),
        }
    }
}

/// The end of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Why it ended, in our own words.
    pub reason: FinishReason,
    /// Text that was held back until the end.
    pub text: String,
    /// What was said apart from thoughts and tool calls, where that differs from the text.
    #[serde(default)]
    pub content: Option<String>,
    /// What was thought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Final counts.
    pub usage: Usage,
}
