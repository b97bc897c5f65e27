//! Whether a stream is what its API promises, beyond what this client needs of it.
//!
//! The reader beside it refuses what makes an answer unusable and bears the rest; official SDKs do
//! not. The auditor looks at the same events, refuses nothing, and notes every rule that was broken.
//! A document that it cannot read is the reader's to refuse.

mod anthropic;
mod notes;
mod openai;

use super::SseEvent;
use crate::generation::StreamNotes;

pub(super) use anthropic::Anthropic;
pub(super) use openai::OpenAi;

/// Takes the events of one stream.
pub trait Audit: Send {
    /// Looks at the next event.
    fn see(&mut self, event: &SseEvent);

    /// What was noticed, once the stream is over.
    fn end(self: Box<Self>) -> StreamNotes;
}

#[cfg(test)]
mod tests;
