//! The vocabulary every layer shares: what is asked of a target, what it answers, and when.
//!
//! This module knows messages, sampling parameters, events and transcripts. It does not know who
//! generates, how tokens become text, what a loop is, or where anything is stored. It does no IO
//! and reads no clock.

mod event;
mod message;
mod request;
mod sampling;
mod template;
mod transcript;

pub use event::{Event, EventKind, FinishReason, Token, Usage};
pub use message::{Message, Role, ToolCall, ToolSpec};
pub use request::{GenerateRequest, Prompt};
pub use sampling::{
    DEFAULT_MAX_TOKENS, DEFAULT_REPETITION_CONTEXT_SIZE, DEFAULT_REPETITION_PENALTY, SamplingError,
    SamplingParams, SamplingSettings,
};
pub use template::TemplateVariables;
pub use transcript::{Conversation, Exchange, ToolResult, Transcript, TranscriptError};
