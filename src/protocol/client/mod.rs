//! The client's side of other programs' APIs: requests as they are sent, answers as they are read.
//!
//! Pure: bytes in, facts out. Knows OpenAI's and Anthropic's forms, and the loopwatch extension
//! with which a server tells the tokens behind an answer. Does not know sockets, clocks, time-outs
//! or retries. What is read comes from a stranger: everything is bounded and nothing is guessed.

mod anthropic;
mod anthropic_request;
mod audit;
mod names;
mod openai;
mod openai_request;
mod reply;
mod sse;

use std::fmt;

use serde_json::Value;

pub use audit::Audit;
pub use names::{FieldNames, Unsupported};
pub use reply::{Asked, ReplyError};
pub use sse::{MAX_EVENT_BYTES, SseError, SseEvent, SseReader};

use crate::generation::{EventKind, GenerateRequest, Prompt};

/// Whose API a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// `/v1/chat/completions` and `/v1/completions`.
    OpenAi,
    /// `/v1/messages`.
    Anthropic,
}

impl Api {
    /// The name in front of an address: `openai` or `anthropic`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How to put a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Whose API.
    pub api: Api,
    /// The model's name for the server.
    pub model: String,
    /// Whether to ask for a stream.
    pub stream: bool,
    /// Whether to ask for the tokens, which a loopwatch server tells. Then every sampling field is
    /// sent, so that no default of the server has a say.
    pub tokens: bool,
    /// Which fields the server takes, and by which names.
    pub names: FieldNames,
}

/// A request as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Below the version, such as `/messages` of `/v1/messages`.
    pub path: &'static str,
    /// The body.
    pub body: Value,
}

impl Form {
    /// The request as it is sent.
    ///
    /// # Errors
    /// If the API, or the server, cannot be asked for this.
    pub fn outgoing(&self, request: &GenerateRequest) -> Result<Outgoing, Unsupported> {
        match self.api {
            Api::OpenAi => openai_request::outgoing(self, request),
            Api::Anthropic => anthropic_request::outgoing(self, request),
        }
    }

    /// Reads the events of a stream.
    #[must_use]
    pub fn stream_reader(&self, request: &GenerateRequest) -> Box<dyn ReadStream> {
        let asked = Asked::of(request, self.tokens);
        match self.api {
            Api::OpenAi => Box::new(openai::Stream::new(asked)),
            Api::Anthropic => Box::new(anthropic::Stream::new(asked)),
        }
    }

    /// Looks at the events of a stream for what its API does not have.
    #[must_use]
    pub fn auditor(&self, request: &GenerateRequest) -> Box<dyn Audit> {
        match self.api {
            Api::OpenAi => {
                let chat = matches!(request.prompt, Prompt::Chat { .. });
                Box::new(audit::OpenAi::new(chat))
            }
            Api::Anthropic => Box::<audit::Anthropic>::default(),
        }
    }

    /// Reads an answer that came in one piece.
    ///
    /// # Errors
    /// If it is not what the API promises.
    pub fn read_answer(
        &self,
        request: &GenerateRequest,
        body: &str,
    ) -> Result<Vec<EventKind>, ReplyError> {
        let asked = Asked::of(request, self.tokens);
        match self.api {
            Api::OpenAi => openai::answer(asked, body),
            Api::Anthropic => anthropic::answer(asked, body),
        }
    }
}

/// The events of a stream, turned into facts.
pub trait ReadStream: Send {
    /// Takes the next event.
    ///
    /// # Errors
    /// If it is not what the API promises, or says that the server failed.
    fn read(&mut self, event: &SseEvent) -> Result<Vec<EventKind>, ReplyError>;

    /// Whether the stream has said that it is over.
    fn is_over(&self) -> bool;

    /// The connection ended in good order before the stream said that it is over. If the answer has
    /// its end all the same, what is left of it; `None` if it has not.
    ///
    /// # Errors
    /// If the answer cannot be as it was told.
    fn close(&mut self) -> Result<Option<Vec<EventKind>>, ReplyError>;
}

/// The models that a server lists at `/v1/models`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Their names.
    pub models: Vec<String>,
    /// Whether one of them says `owned_by: loopwatch`: then the server tells tokens.
    pub loopwatch: bool,
}

/// Reads the answer to `GET /v1/models`, which has the same form in both APIs.
///
/// # Errors
/// If it is no list of models.
pub fn read_models(body: &str) -> Result<Listing, ReplyError> {
    #[derive(serde::Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(serde::Deserialize)]
    struct Model {
        id: String,
        owned_by: Option<String>,
    }
    let models: Models = reply::parse("the list of models", body)?;
    let is_ours = |model: &Model| model.owned_by.as_deref() == Some("loopwatch");
    Ok(Listing {
        loopwatch: models.data.iter().any(is_ours),
        models: models.data.into_iter().map(|model| model.id).collect(),
    })
}

#[cfg(test)]
mod tests;
