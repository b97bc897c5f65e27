//! The vocabulary every layer shares: what is asked of a target, what it answers, and when.
//!
//! This module knows messages, sampling parameters, events and transcripts. It does not know who
//! generates, how tokens become text, what a loop is, or where anything is stored. It does no IO
//! and reads no clock.

mod channels;
mod constraint;
mod event;
mod message;
mod repetition_detection;
mod request;
mod sampling;
mod semantics;
mod so_far;
mod stream_notes;
mod template;
mod transcript;

pub use constraint::Constraint;
pub use event::{Channel, Event, EventKind, FinishReason, Retry, TextPiece, Token, Usage};
pub use message::{Message, Role, ToolCall, ToolSpec};
pub use repetition_detection::RepetitionDetection;
pub use request::{GenerateRequest, Prompt};
pub use sampling::{
    DEFAULT_CONTEXT_SIZE, DEFAULT_MAX_TOKENS, SamplingError, SamplingParams, SamplingSettings,
};
pub use semantics::{
    Categorical, CompiledConstants, EndOfSequence, Profile, Semantics, TopP, UnknownSemantics,
    Window,
};
pub use so_far::SoFar;
pub use stream_notes::{Irregularity, StreamNotes};
pub use template::TemplateVariables;
pub use transcript::{Conversation, Exchange, Piece, ToolResult, Transcript, TranscriptError};
