//! The in-process engine as a target.

use futures_util::StreamExt;

use super::{EventStream, Target, TargetError};
use crate::engine::Engine;
use crate::generation::GenerateRequest;

/// Generates with a model loaded into this process.
#[derive(Debug, Clone)]
pub struct EngineTarget {
    engine: Engine,
}

impl EngineTarget {
    /// A target over a loaded model.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

impl Target for EngineTarget {
    fn generate(&self, request: GenerateRequest) -> EventStream {
        self.engine
            .submit(request)
            .map(|event| event.map_err(TargetError::from))
            .boxed()
    }
}
