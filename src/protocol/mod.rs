//! Wire types of other programs, read once and lowered into the vocabulary of `generation`.
//!
//! Knows OpenAI's form of messages and tools, and in [`client`] the requests and answers that a
//! client sends and reads. Does not know files, HTTP, or who generates.

pub mod client;
mod fields;
mod openai;
mod tokens;

pub use fields::WireError;
pub use openai::{Chat, read_chat};
pub use tokens::{Finish, Loopwatch, Started, TokenText};
