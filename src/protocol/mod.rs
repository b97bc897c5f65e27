//! Wire types of other programs, read once and lowered into the vocabulary of `generation`.
//!
//! Knows OpenAI's form of messages and tools. Does not know files, HTTP, or who generates.

mod fields;
mod openai;

pub use fields::WireError;
pub use openai::{Chat, read_chat};
