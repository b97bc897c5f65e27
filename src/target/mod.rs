//! Anything that can generate, behind one trait.
//!
//! A target turns a request into a stream of timestamped events: the engine in this process, or a
//! server with OpenAI's or Anthropic's API, perhaps one that is started for the run, or an echo. It does not
//! know scenarios, assertions or records. Dropping a stream cancels its request.

mod echo;
mod engine;
mod error;
mod http;
mod network;
mod spawn;

use futures_util::stream::BoxStream;
use thiserror::Error;

pub use echo::EchoTarget;
pub use engine::EngineTarget;
pub use error::{HttpError, Problem};
pub use http::{HttpTarget, Secret, Served};
pub use network::Network;
pub use spawn::{SpawnError, Spawned};

use crate::endpoint::Api;
use crate::generation::{Event, GenerateRequest};

/// The events of one request, ending with its finish event or an error.
pub type EventStream = BoxStream<'static, Result<Event, TargetError>>;

/// A target that could not answer.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The in-process engine.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// A server, or the way to it.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Something that generates.
pub trait Target: Send + Sync {
    /// Starts a request.
    fn generate(&self, request: GenerateRequest) -> EventStream;

    /// The same server, asked through this API, streamed or in one piece; nothing if it is no
    /// server.
    ///
    /// # Errors
    /// If no client can be made.
    fn in_form(&self, _api: Api, _stream: bool) -> Result<Option<Box<dyn Target>>, TargetError> {
        Ok(None)
    }
}
