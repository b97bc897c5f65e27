//! OpenAI's API: chat completions, completions, models.

mod answer;
mod chat;
mod constraint;
mod request;

pub use answer::{
    ApiError, ChatAnswer, ChatChoice, ChatChunk, ChatDelta, ChatMessage, ChunkChoice, ErrorBody,
    FunctionCall, LegacyLogprobs, Logprobs, ModelCard, ModelList, TextAnswer, TextChoice,
    TokenLogprob, TokensDetails, TopLogprob, WireToolCall, WireUsage, finish_reason, stop_reason,
};
pub use chat::{Chat, read_chat};
pub use request::{ChatRequest, Common, CompletionRequest, Streaming};
