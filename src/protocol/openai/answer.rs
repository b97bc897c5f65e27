//! Answers of OpenAI's API, as they are sent.

use serde::Serialize;

use crate::generation::{FinishReason, ToolCall, Usage};
use crate::protocol::Loopwatch;

/// The finish reason on OpenAI's wire.
#[must_use]
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        // A generation that was cut off is as incomplete as one that was too long.
        FinishReason::Length | FinishReason::Cancelled => "length",
        FinishReason::ToolCalls => "tool_calls",
        // The name that vLLM gives a generation ended by its `repetition_detection`.
        FinishReason::Repetition => "repetition",
        FinishReason::Stop | FinishReason::StopSequence => "stop",
    }
}

/// What vLLM says besides, where `finish_reason` is one that OpenAI's API does not have.
#[must_use]
pub fn stop_reason(reason: FinishReason) -> Option<&'static str> {
    (reason == FinishReason::Repetition).then_some("repetition_detected")
}

/// A complete answer to a chat.
#[derive(Debug, Serialize)]
pub struct ChatAnswer<'a> {
    /// `chatcmpl-…`.
    pub id: &'a str,
    /// `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that answered.
    pub model: &'a str,
    /// The answers.
    pub choices: Vec<ChatChoice>,
    /// Token counts over all answers.
    pub usage: WireUsage,
    /// Our extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopwatch: Option<Loopwatch>,
}

/// One answer.
#[derive(Debug, Serialize)]
pub struct ChatChoice {
    /// Its number.
    pub index: usize,
    /// What was said.
    pub message: ChatMessage,
    /// If asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it ended.
    pub finish_reason: &'static str,
    /// vLLM's extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'static str>,
}

/// What the assistant said.
#[derive(Debug, Serialize)]
pub struct ChatMessage {
    /// `assistant`.
    pub role: &'static str,
    /// Null beside tool calls if nothing else was said.
    pub content: Option<String>,
    /// Always null; clients expect the field.
    pub refusal: Option<String>,
    /// What was thought before, as DeepSeek's and other servers name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<WireToolCall>,
}

/// One call.
#[derive(Debug, Serialize)]
pub struct WireToolCall {
    /// Its number, in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// What a result refers to.
    pub id: String,
    /// `function`.
    pub r#type: &'static str,
    /// The function.
    pub function: FunctionCall,
}

/// A function and its arguments.
#[derive(Debug, Serialize)]
pub struct FunctionCall {
    /// Its name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

impl WireToolCall {
    /// A call on the wire; `id` is used if the model gave none.
    #[must_use]
    pub fn of(call: &ToolCall, id: String, index: Option<usize>) -> Self {
        Self {
            index,
            id: call.id.clone().unwrap_or(id),
            r#type: "function",
            function: FunctionCall {
                name: call.name.clone(),
                arguments: serde_json::Value::Object(call.arguments.clone()).to_string(),
            },
        }
    }
}

/// A chunk of a streamed chat.
#[derive(Debug, Serialize)]
pub struct ChatChunk<'a> {
    /// The same in all chunks.
    pub id: &'a str,
    /// `chat.completion.chunk`.
    pub object: &'static str,
    /// The same in all chunks.
    pub created: u64,
    /// The model that answers.
    pub model: &'a str,
    /// One, or none in the chunk of the token counts.
    pub choices: Vec<ChunkChoice>,
    /// The token counts, in the last chunk if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<WireUsage>,
    /// Our extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopwatch: Option<Loopwatch>,
}

/// What a chunk adds to one answer.
#[derive(Debug, Serialize)]
pub struct ChunkChoice {
    /// Which answer.
    pub index: usize,
    /// What is new.
    pub delta: ChatDelta,
    /// If asked for.
    pub logprobs: Option<Logprobs>,
    /// Set in an answer's last chunk.
    pub finish_reason: Option<&'static str>,
    /// vLLM's extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'static str>,
}

/// What is new in a message.
#[derive(Debug, Default, Serialize)]
pub struct ChatDelta {
    /// In the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of what is thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Complete calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<WireToolCall>,
}

/// Log-probabilities of a chat.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Logprobs {
    /// One entry for each token.
    pub content: Vec<TokenLogprob>,
    /// Always null; clients expect the field.
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// One token.
#[derive(Debug, Clone, Serialize)]
pub struct TokenLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm.
    pub logprob: f32,
    /// The text's bytes.
    pub bytes: Vec<u8>,
    /// The likeliest tokens of the step.
    pub top_logprobs: Vec<TopLogprob>,
}

/// One alternative.
#[derive(Debug, Clone, Serialize)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm.
    pub logprob: f32,
    /// The text's bytes.
    pub bytes: Vec<u8>,
}

/// A complete answer, or a chunk of one, to a plain prompt.
#[derive(Debug, Serialize)]
pub struct TextAnswer<'a> {
    /// `cmpl-…`.
    pub id: &'a str,
    /// `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that answers.
    pub model: &'a str,
    /// The answers.
    pub choices: Vec<TextChoice>,
    /// Token counts over all answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<WireUsage>,
    /// Our extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopwatch: Option<Loopwatch>,
}

/// One answer to a plain prompt, or more of it.
#[derive(Debug, Serialize)]
pub struct TextChoice {
    /// Its number.
    pub index: usize,
    /// The text.
    pub text: String,
    /// If asked for.
    pub logprobs: Option<LegacyLogprobs>,
    /// Null until the end.
    pub finish_reason: Option<&'static str>,
    /// vLLM's extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<&'static str>,
}

/// Log-probabilities of a plain prompt's answer: parallel lists.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LegacyLogprobs {
    /// Texts of the tokens.
    pub tokens: Vec<String>,
    /// Their log-probabilities.
    pub token_logprobs: Vec<f32>,
    /// The likeliest tokens of each step.
    pub top_logprobs: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Characters of the answer before each token.
    pub text_offset: Vec<usize>,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct WireUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Generated tokens, the end-of-sequence token included.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// Which of the prompt's tokens were not computed.
    pub prompt_tokens_details: TokensDetails,
}

/// More about the tokens of the prompt.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TokensDetails {
    /// Computed for an earlier request.
    pub cached_tokens: usize,
}

impl WireUsage {
    /// Adds the counts of one more answer. Answers to the same prompt count it once.
    pub fn add(&mut self, usage: Usage, same_prompt: bool) {
        if !same_prompt {
            self.prompt_tokens += usage.input_tokens;
            self.prompt_tokens_details.cached_tokens += usage.cached_tokens;
        }
        self.completion_tokens += usage.output_tokens;
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
    }
}

/// An error.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// What went wrong.
    pub error: ApiError<'a>,
}

/// What went wrong.
#[derive(Debug, Serialize)]
pub struct ApiError<'a> {
    /// For people.
    pub message: &'a str,
    /// `invalid_request_error`, …
    pub r#type: &'static str,
    /// The field to blame.
    pub param: Option<&'a str>,
    /// For programs.
    pub code: Option<&'static str>,
}

/// The models served.
#[derive(Debug, Serialize)]
pub struct ModelList<'a> {
    /// `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<ModelCard<'a>>,
}

/// A model.
#[derive(Debug, Serialize)]
pub struct ModelCard<'a> {
    /// Its name.
    pub id: &'a str,
    /// `model`.
    pub object: &'static str,
    /// When it was loaded, in seconds since 1970.
    pub created: u64,
    /// `loopwatch`.
    pub owned_by: &'static str,
}
