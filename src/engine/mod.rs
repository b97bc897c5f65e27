//! Loads a model and generates with it, in this process, on one dedicated thread.
//!
//! [`Engine`] is a cheap handle: requests go in, timestamped events come out, and a request whose
//! reader has gone ends within one step. The engine does not know scenarios, HTTP or tests.

mod generate;
mod loaded;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use thiserror::Error;
use tokio::sync::mpsc;

pub use loaded::LoadedModel;

use crate::backend::{BackendError, cpu::Cpu};
use crate::generation::{Event, GenerateRequest};
use crate::model::{ModelError, ModelFiles, ModelRef};
use crate::text::TextError;

/// Events that may wait for their reader before decoding waits too.
const EVENT_BUFFER: usize = 256;

/// A model that cannot be loaded, or a request that cannot be answered.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the chat template.
    #[error("{model}: {problem}")]
    Text {
        /// The model's name.
        model: String,
        /// What is wrong.
        problem: TextError,
    },
    /// The request asks for what this model cannot do.
    #[error("{0}")]
    Request(String),
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

impl From<BackendError> for EngineError {
    fn from(error: BackendError) -> Self {
        Self::Model(error.into())
    }
}

/// One request in the queue.
struct Job {
    request: GenerateRequest,
    received: Instant,
    events: mpsc::Sender<Result<Event, EngineError>>,
}

/// A handle on a loaded model and its thread. The thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: mpsc::UnboundedSender<Job>,
    model: Arc<LoadedModel>,
}

impl Engine {
    /// Loads a model and starts its thread. `threads` is for matrix products.
    ///
    /// # Errors
    /// If the model cannot be loaded, or the system refuses a thread.
    pub fn load(name: &ModelRef, threads: usize) -> Result<Self, EngineError> {
        let files = ModelFiles::find(name.clone())?;
        let model = Arc::new(LoadedModel::load(files, Cpu::new(threads)?)?);
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let worker = Arc::clone(&model);
        thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    generate::answer(&worker, job);
                }
            })
            .map_err(|error| BackendError(format!("cannot start the engine's thread: {error}")))?;
        Ok(Self { jobs, model })
    }

    /// Queues a request. Dropping the receiver cancels it.
    #[must_use]
    pub fn submit(&self, request: GenerateRequest) -> mpsc::Receiver<Result<Event, EngineError>> {
        let (events, receiver) = mpsc::channel(EVENT_BUFFER);
        let job = Job {
            request,
            received: Instant::now(),
            events,
        };
        if let Err(refused) = self.jobs.send(job) {
            // The channel is new and empty, so its only possible refusal is a gone reader, which
            // is this function's own.
            let _ = refused.0.events.try_send(Err(EngineError::Stopped));
        }
        receiver
    }

    /// The model behind this engine.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }
}
