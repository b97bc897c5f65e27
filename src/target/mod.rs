//! Anything that can generate, behind one trait.
//!
//! A target turns a request into a stream of timestamped events. It does not know scenarios,
//! assertions or records. Dropping a stream cancels its request.

mod engine;

use futures_util::stream::BoxStream;
use thiserror::Error;

pub use engine::EngineTarget;

use crate::generation::{Event, GenerateRequest};

/// The events of one request, ending with its finish event or an error.
pub type EventStream = BoxStream<'static, Result<Event, TargetError>>;

/// A target that could not answer.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The in-process engine.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}

/// Something that generates.
pub trait Target: Send + Sync {
    /// Starts a request.
    fn generate(&self, request: GenerateRequest) -> EventStream;
}
