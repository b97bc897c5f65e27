//! A server with no model that answers as a script says, faults included.
//!
//! It exists so that a harness can be shown to tell trouble from failure: known times to the first
//! token and between tokens, stalls, connections cut at a byte, broken events, wrong counts, loops.
//! It speaks OpenAI's chat and Anthropic's messages, streamed and whole, by plain bytes on a
//! socket: an HTTP library would not let it break its own rules. `docs/targets.md` documents the
//! script.
//!
//! Knows bytes and times. Does not know who asks, and reads of a request only what it must.

mod answer;
mod irregular;
mod serve;
mod wire;

use std::path::Path;
use std::time::Duration;

pub use irregular::Irregular;
pub use serve::serve;

use crate::yaml::{self, Source, YamlError};

/// Most bytes of a script.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the server answers, and what goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultScript {
    /// The model's name.
    pub model: String,
    /// Whether it tells its tokens, as loopwatch does. Every piece is then one token.
    pub tokens: bool,
    /// What is thought and then the answer, piece by piece.
    pub pieces: Vec<String>,
    /// How many of the pieces are thought.
    pub thoughts: usize,
    /// Why it ends, in OpenAI's words.
    pub finish: String,
    /// From the request to the first piece.
    pub ttft: Duration,
    /// From each piece to the next.
    pub itl: Duration,
    /// What goes wrong.
    pub faults: Faults,
}

/// What goes wrong. Nothing, unless it is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Answers with this status instead.
    pub status: Option<Status>,
    /// Waits before the headers.
    pub slow_headers: Option<Duration>,
    /// Sends a byte of the headers only every so often.
    pub dribble: Option<Duration>,
    /// Says that the body is this.
    pub content_type: Option<String>,
    /// Falls silent after so many pieces, for so long.
    pub stall: Option<(usize, Duration)>,
    /// Closes the connection after so many bytes of the body.
    pub disconnect_at: Option<usize>,
    /// Sends this line after so many pieces.
    pub line: Option<(usize, String)>,
    /// Claims so many tokens.
    pub output_tokens: Option<usize>,
    /// Puts so many pieces into one event.
    pub merge: Option<usize>,
    /// Writes so many bytes at a time.
    pub split: Option<usize>,
    /// Sends an event of this many bytes instead of the answer.
    pub oversize: Option<usize>,
    /// Ends without saying so.
    pub no_end: bool,
    /// Rules of the API that a stream breaks; each counts where the API has it.
    pub irregular: Vec<Irregular>,
}

/// A status instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The code.
    pub code: u16,
    /// How many requests get it; the later ones are answered.
    pub times: usize,
    /// Seconds of the header `retry-after`.
    pub retry_after: Option<f64>,
}

impl FaultScript {
    /// Reads a script.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in it is not understood.
    pub fn load(path: &Path) -> Result<Self, YamlError> {
        let help = "give a script of faults; docs/targets.md has the language";
        let text = yaml::read_text(path, MAX_FILE_BYTES, help)?;
        Self::parse(path, &text)
    }

    /// Reads a script from its text; `path` is for errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str) -> Result<Self, YamlError> {
        let source = Source { path, text };
        wire::lower(source, yaml::read(source)?)
    }
}

#[cfg(test)]
mod tests;
