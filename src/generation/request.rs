//! One request for text: the prompt, how to sample, and when to stop.

use serde::{Deserialize, Serialize};

use super::{Constraint, Message, SamplingParams, TemplateVariables, ToolSpec};

/// What the model continues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Prompt {
    /// A conversation, rendered by the model's chat template.
    Chat {
        /// The messages so far.
        messages: Vec<Message>,
        /// The tools offered to the model.
        tools: Vec<ToolSpec>,
        /// Variables for the chat template, such as `enable_thinking`.
        #[serde(default, skip_serializing_if = "TemplateVariables::is_empty")]
        variables: TemplateVariables,
    },
    /// Plain text, tokenized without a chat template.
    Text {
        /// The text to continue.
        text: String,
    },
    /// Token ids; no tokenizer is needed.
    Tokens {
        /// The ids to continue.
        tokens: Vec<u32>,
    },
}

/// A request handed to a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// How to choose each token, and how many.
    pub sampling: SamplingParams,
    /// How many alternatives to report beside each chosen token.
    pub top_logprobs: usize,
    /// The form of the answer, if it is not free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
}
