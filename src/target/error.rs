//! What goes wrong on the way to a server, at the server, or in its answer.
//!
//! None of it says anything about the model, so each is an error and never a failure. Every one
//! names the target, the address and what to do.

use std::time::Duration;

use thiserror::Error;

use crate::protocol::client::{ReplyError, SseError, Unsupported};

/// A request that a server did not answer as its API promises.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{target}: {url}: {problem}{retried}; {remedy}", retried = retried(.retries), remedy = .problem.remedy())]
pub struct HttpError {
    /// The target, such as `openai:http://127.0.0.1:8080/v1`.
    pub target: String,
    /// The address that was asked.
    pub url: String,
    /// What went wrong.
    pub problem: Box<Problem>,
    /// How often it was tried again before.
    pub retries: usize,
}

fn retried(retries: &usize) -> String {
    match retries {
        0 => String::new(),
        1 => " (after 1 retry)".to_owned(),
        many => format!(" (after {many} retries)"),
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The request cannot be put into the server's API.
    #[error(transparent)]
    Unsupported(Unsupported),
    /// No client can be made.
    #[error("no HTTP client can be made: {0}")]
    Client(String),
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// A connection that was lost before the answer began.
    #[error("the request failed: {0}")]
    Request(String),
    /// No byte of an answer in time.
    #[error("no byte of an answer within {0:?}")]
    FirstByte(Duration),
    /// Silence in the middle of an answer.
    #[error("silence for {silence:?} after {events} events of the answer")]
    Stall {
        /// How long was waited.
        silence: Duration,
        /// Events that had come.
        events: usize,
    },
    /// An answer that goes on and on.
    #[error("the answer was not complete within {0:?}")]
    Total(Duration),
    /// A status that is no success.
    #[error("HTTP {status}: {excerpt}")]
    Status {
        /// The code.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
        /// What the server wants to be waited.
        retry_after: Option<Duration>,
    },
    /// A body of another kind than was asked for.
    #[error("expected {expected}, and got {got}: {excerpt}")]
    ContentType {
        /// What was asked for.
        expected: &'static str,
        /// What came.
        got: String,
        /// The beginning of the body.
        excerpt: String,
    },
    /// A stream that is none.
    #[error(transparent)]
    Stream(SseError),
    /// An answer that breaks its API.
    #[error(transparent)]
    Reply(ReplyError),
    /// A connection that was closed in the middle of an answer.
    #[error(
        "the connection ended in the middle of the answer, after {events} events and {bytes} bytes{cause}"
    )]
    Disconnected {
        /// Events that had come.
        events: usize,
        /// Bytes that had come.
        bytes: usize,
        /// What the connection says of it, with a colon in front; or nothing.
        cause: String,
    },
    /// More than anyone would want.
    #[error("the {what} has more than {limit} bytes")]
    Oversize {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The model to ask for is not known.
    #[error("{0}")]
    Model(String),
}

impl Problem {
    /// Whether another try may meet a better hour: nothing was generated yet, and it is the way
    /// or the load that failed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Status { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "see docs/targets.md",
            Self::Client(_) => "check the certificates of this system",
            Self::Connect(_) => "is the server running, and is this its address?",
            Self::Request(_) => "look at the server's log",
            Self::FirstByte(_) => {
                "look at the server's log; if it needs longer, raise first_byte_timeout"
            }
            Self::Stall { .. } => {
                "look at the server's log; if such a pause is right, raise stall_timeout"
            }
            Self::Total(_) => "lower max_tokens, or raise total_timeout",
            Self::Status {
                status: 401 | 403, ..
            } => "name the variable that holds the key in api_key_env",
            Self::Status { status: 404, .. } => {
                "check the address: OpenAI's API is openai:http://HOST/v1, Anthropic's \
                 anthropic:http://HOST; and the model's name"
            }
            Self::Status { status: 400, .. } => {
                "the server refuses the request; if it does not know a field, see `fields` in \
                 docs/targets.md"
            }
            Self::Status { .. } => "look at the server's log",
            Self::ContentType { .. } => {
                "check the address; a server that cannot stream needs stream: false"
            }
            Self::Stream(_) | Self::Reply(_) => {
                "the server breaks its API; report it there, with the record of this run"
            }
            Self::Disconnected { .. } => "the server, or a proxy, gave up; look at its log",
            Self::Oversize { .. } => "no answer is that long; look at the server's log",
            Self::Model(_) => "name it: model in the target, or --set target.model=NAME",
        }
    }
}

impl From<Unsupported> for Problem {
    fn from(problem: Unsupported) -> Self {
        Self::Unsupported(problem)
    }
}

impl From<SseError> for Problem {
    fn from(problem: SseError) -> Self {
        Self::Stream(problem)
    }
}

impl From<ReplyError> for Problem {
    fn from(problem: ReplyError) -> Self {
        Self::Reply(problem)
    }
}
