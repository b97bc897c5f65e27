//! How a server behaves: limits, time-outs, defaults. Every value has one here.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::generation::SamplingSettings;

use super::trace::TraceSink;

/// A server's behaviour.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Sampling where a request says nothing.
    pub sampling: SamplingSettings,
    /// Who may ask.
    pub access: Access,
    /// How much at once.
    pub limits: Limits,
    /// How long at most.
    pub time_outs: TimeOuts,
    /// What happens to an answer that loops.
    pub on_loop: OnLoop,
    /// Where requests are written down, if anywhere.
    pub trace: Option<TraceSink>,
}

/// What happens to an answer once a loop in it is confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLoop {
    /// It is counted, logged and traced, and goes on.
    #[default]
    Observe,
    /// The same, and the client is told. No token changes.
    Annotate,
    /// The generation is cancelled, and the answer ends with the reason `repetition`.
    Stop,
}

/// A policy that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("write observe, annotate or stop")]
pub struct UnknownPolicy;

impl FromStr for OnLoop {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        match name {
            "observe" => Ok(Self::Observe),
            "annotate" => Ok(Self::Annotate),
            "stop" => Ok(Self::Stop),
            _ => Err(UnknownPolicy),
        }
    }
}

/// Who may ask.
#[derive(Clone, Default)]
pub struct Access {
    /// The key that requests must show; `None` lets everyone in.
    pub key: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key.as_ref().map(|_| "…");
        f.debug_struct("Access").field("key", &key).finish()
    }
}

/// How much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Tokens of a prompt and its answer together.
    pub context_tokens: usize,
    /// Answers generated or waiting at the same time; a request beyond gets 429.
    pub answers: usize,
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Bytes of answers kept to be given again; 0 keeps none, so that every answer is generated.
    pub answer_cache_bytes: usize,
    /// Longest block of tokens that a request's `repetition_detection` may look for; 0 refuses the
    /// field.
    pub repetition_pattern_tokens: usize,
}

/// How long at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOuts {
    /// From a connection, or an answer, to the end of the next request's headers.
    pub headers: Duration,
    /// From the headers to the end of the body.
    pub body: Duration,
    /// From the request to the end of its answer.
    pub answer: Duration,
    /// A write that makes no progress: the client does not read.
    pub write: Duration,
    /// Between signs of life on a stream that has nothing to say.
    pub keep_alive: Duration,
    /// From the order to stop to the end of the answers that are running.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            context_tokens: 32_768,
            answers: 64 + 256,
            connections: 1024,
            answer_cache_bytes: 0,
            // Each costs every token of such an answer one comparison.
            repetition_pattern_tokens: 2048,
        }
    }
}

impl Default for TimeOuts {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(30),
            body: Duration::from_secs(30),
            answer: Duration::from_secs(3600),
            write: Duration::from_secs(60),
            keep_alive: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}
