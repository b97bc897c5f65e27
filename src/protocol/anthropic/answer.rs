//! Answers of Anthropic's API, as they are sent.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::generation::{FinishReason, Usage};
use crate::protocol::Loopwatch;

/// The stop reason on Anthropic's wire.
#[must_use]
pub fn stop_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        // A generation that was cut off is as incomplete as one that was too long.
        FinishReason::Length | FinishReason::Cancelled | FinishReason::Repetition => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
    }
}

/// A message, complete or at its start.
#[derive(Debug, Serialize)]
pub struct MessageAnswer<'a> {
    /// `msg_…`.
    pub id: &'a str,
    /// `message`.
    pub r#type: &'static str,
    /// `assistant`.
    pub role: &'static str,
    /// The model that answers.
    pub model: &'a str,
    /// What was said and called.
    pub content: Vec<OutBlock>,
    /// Null at the start of a stream.
    pub stop_reason: Option<&'static str>,
    /// The stop sequence that ended it.
    pub stop_sequence: Option<String>,
    /// Token counts.
    pub usage: MessageUsage,
    /// Our extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopwatch: Option<Loopwatch>,
}

/// A block of content.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutBlock {
    /// What was thought.
    Thinking {
        /// The thought.
        thinking: String,
        /// What Anthropic proves its thoughts with; here it is empty.
        signature: &'static str,
    },
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A tool call.
    ToolUse {
        /// What a result refers to.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        input: Map<String, Value>,
    },
}

/// Token counts. The three kinds of input add up to the prompt.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct MessageUsage {
    /// Tokens of the prompt that were computed.
    pub input_tokens: usize,
    /// Always 0: keeping a prompt costs nothing here.
    pub cache_creation_input_tokens: usize,
    /// Tokens of the prompt that an earlier request had computed.
    pub cache_read_input_tokens: usize,
    /// Generated tokens.
    pub output_tokens: usize,
}

impl From<Usage> for MessageUsage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.computed_tokens(),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
        }
    }
}
