//! Wire types of other programs, read once and lowered into the vocabulary of `generation`.
//!
//! Knows OpenAI's and Anthropic's requests and answers, and in [`client`] those that a client
//! sends and reads. Does not know files, HTTP, or who generates.

pub mod anthropic;
pub mod client;
mod fields;
pub mod openai;
mod sampling;
mod tokens;
mod tool_choice;

pub use fields::{UnknownField, WireError};
pub use openai::{Chat, read_chat};
pub use tokens::{Finish, FoundLoop, Loopwatch, Started, TokenText};
