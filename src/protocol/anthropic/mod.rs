//! Anthropic's API: messages and their counting.

mod answer;
mod content;
mod request;

pub use answer::{MessageAnswer, MessageUsage, OutBlock, stop_reason};
pub use request::MessagesRequest;
