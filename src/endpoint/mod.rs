//! Where a request goes: this process, a server at an address, or one that is started for it.
//!
//! Knows how targets are written, on the command line (`openai:URL`) and in YAML, and lowers that
//! once into an [`Endpoint`] that cannot be wrong. Knows no sockets, no environment and no secrets:
//! of a key it knows the name of the variable that holds it.

mod address;
mod wire;

use std::fmt;
use std::time::Duration;

pub use address::BaseUrl;
pub use wire::{TargetTable, TargetWire};

pub use crate::protocol::client::{Api, FieldNames};

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// The engine in this process.
    #[default]
    Engine,
    /// A server that runs already.
    Http(HttpEndpoint),
    /// A server that is started for the run and ended with it.
    Spawn(SpawnEndpoint),
    /// Nobody: what was said last is the answer. It tries assertions without a model.
    Echo,
}

/// A server, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpEndpoint {
    /// Whose API it speaks.
    pub api: Api,
    /// Where it is.
    pub base: BaseUrl,
    /// How to talk to it.
    pub options: HttpOptions,
}

/// How to talk to a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpOptions {
    /// The model's name there; without one, the only one that the server lists.
    pub model: Option<String>,
    /// The environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// Whether answers are streamed.
    pub stream: bool,
    /// Whether the server is asked for tokens; without a choice, if it says that it is loopwatch.
    pub tokens: Option<bool>,
    /// Which sampling fields it takes.
    pub fields: FieldNames,
    /// How often a request is sent again when the way to the server is in trouble.
    pub retries: u32,
    /// Longest time to a connection.
    pub connect_timeout: Duration,
    /// Longest time from the request to the first byte of its answer.
    pub first_byte_timeout: Duration,
    /// Longest silence in an answer.
    pub stall_timeout: Duration,
    /// Longest time for one answer.
    pub total_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            model: None,
            api_key_env: None,
            stream: true,
            tokens: None,
            fields: FieldNames::default(),
            retries: 2,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(600),
        }
    }
}

/// A command that starts a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpawnEndpoint {
    /// For the shell; `{port}` stands for a free port.
    pub command: String,
    /// Whose API the server speaks.
    pub api: Api,
    /// The path that answers with success as soon as the server is ready, such as `/v1/models`.
    pub ready: String,
    /// Longest time until then.
    pub ready_timeout: Duration,
    /// How to talk to it.
    pub options: HttpOptions,
}

impl Endpoint {
    /// One word for it: `engine`, `openai`, `anthropic`, `spawn` or `echo`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Http(http) => http.api.as_str(),
            Self::Spawn(_) => "spawn",
            Self::Echo => "echo",
        }
    }

    /// How to talk to its server, if there is one.
    #[must_use]
    pub fn options(&self) -> Option<&HttpOptions> {
        match self {
            Self::Engine | Self::Echo => None,
            Self::Http(http) => Some(&http.options),
            Self::Spawn(spawn) => Some(&spawn.options),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine | Self::Echo => f.write_str(self.kind()),
            Self::Http(http) => http.fmt(f),
            Self::Spawn(spawn) => write!(f, "spawn:{}", spawn.command),
        }
    }
}

impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.api, self.base)
    }
}
