//! Loads a model and generates with it, in this process, on one dedicated thread.
//!
//! [`Engine`] is a cheap handle: requests go in, timestamped events come out. The thread decodes
//! all running requests together, lets new ones join at any step, and drops one whose reader has
//! gone within a step. Requests with the same history compute it once. What shares a batch, and
//! whether a prompt's beginning was computed before, changes no bit of an answer. The engine does
//! not know scenarios, HTTP or tests.

mod answer;
mod counters;
mod draws;
mod events;
mod loaded;
mod options;
mod prefix_cache;
mod repetition;
mod running;
mod scheduler;
mod scoring;
mod threads;
mod writer;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use counters::Counting;
use thiserror::Error;
use tokio::sync::mpsc;

pub use counters::Counters;
pub use events::Events;
pub use loaded::LoadedModel;
pub use options::EngineOptions;
pub use scoring::Scores;
pub use threads::wait_for_threads;

use crate::backend::{Backend, BackendError, cpu::Cpu};
#[cfg(feature = "mlx")]
use crate::backend::{BackendKind, mlx::Mlx};
use crate::generation::{GenerateRequest, Prompt};
use crate::model::{Decoder, ModelError, ModelFiles, ModelRef};
use crate::text::{GrammarError, TextError};

/// Batches of events that may wait for their reader before its request waits too.
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
    /// The form that the answer should have.
    #[error("{0}")]
    Form(#[from] GrammarError),
    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

impl From<BackendError> for EngineError {
    fn from(error: BackendError) -> Self {
        Self::Model(error.into())
    }
}

/// What stands in the queue.
enum Task {
    /// A request for text.
    Generate(Box<Job>),
    /// A text to be scored.
    Score(scoring::ScoreJob),
}

/// One request in the queue.
struct Job {
    request: GenerateRequest,
    received: Instant,
    events: mpsc::Sender<events::Batch>,
    most_wait: Duration,
}

/// A handle on a loaded model and its thread. The thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct Engine {
    tasks: mpsc::UnboundedSender<Task>,
    model: Arc<LoadedModel>,
    counting: Counting,
    most_wait: Duration,
}

impl Engine {
    /// Loads a model on a thread of its own, which then waits for requests.
    ///
    /// # Errors
    /// If the model cannot be loaded, this build lacks the backend, or the system refuses a thread.
    pub fn load(name: &ModelRef, options: &EngineOptions) -> Result<Self, EngineError> {
        let files = ModelFiles::find(name.clone())?;
        let options = options.clone();
        options.backend.check()?;
        match options.backend {
            #[cfg(feature = "mlx")]
            BackendKind::Mlx => start(files, options, |files, _| Decoder::load(files, Mlx::new()?)),
            _ => start(files, options, |files, options| {
                let cpu = Cpu::with(options.threads, options.isa, options.precision)?;
                Ok(Decoder::load(files, cpu)?.in_parts())
            }),
        }
    }

    /// Queues a request. Dropping its events cancels it.
    #[must_use]
    pub fn submit(&self, request: GenerateRequest) -> Events {
        let (events, receiver) = mpsc::channel(EVENT_BUFFER);
        let job = Job {
            request,
            received: Instant::now(),
            events,
            most_wait: self.most_wait,
        };
        if let Err(mpsc::error::SendError(Task::Generate(job))) =
            self.tasks.send(Task::Generate(Box::new(job)))
        {
            // The channel is new and empty, so its only possible refusal is a gone reader, which
            // is this function's own.
            let _ = job.events.try_send(Err(EngineError::Stopped));
        }
        Events::new(receiver)
    }

    /// Queues a text for the raw logits in front of each of its tokens from number `from` on:
    /// `tokens.len() - from` rows, each of the vocabulary's length. Running requests wait while
    /// it is computed. Dropping the rows cancels it.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or `from` is 0 or behind the end.
    pub fn score(&self, tokens: Vec<u32>, from: usize) -> Result<Scores, EngineError> {
        let tokens = self.model.tokenize(&Prompt::Tokens { tokens })?;
        if from == 0 || from > tokens.len() {
            return Err(EngineError::Request(format!(
                "a text of {} tokens cannot be scored from token {from} on",
                tokens.len()
            )));
        }
        let (rows, scores) = mpsc::channel(scoring::ROW_BUFFER);
        let job = scoring::ScoreJob { tokens, from, rows };
        match self.tasks.send(Task::Score(job)) {
            Ok(()) => Ok(scores),
            Err(_) => Err(EngineError::Stopped),
        }
    }

    /// What it has computed since it was loaded.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counting.totals()
    }

    /// The model behind this engine.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }
}

/// Starts the thread and waits until it has loaded the model. The backend is made on that thread
/// and never leaves it.
fn start<B: Backend>(
    files: ModelFiles,
    options: EngineOptions,
    load: impl FnOnce(&ModelFiles, &EngineOptions) -> Result<Decoder<B>, ModelError> + Send + 'static,
) -> Result<Engine, EngineError> {
    let (tasks, queue) = mpsc::unbounded_channel();
    let (loaded, model) = std::sync::mpsc::channel();
    let counting = Counting::default();
    let counted = counting.clone();
    let most_wait = options.most_wait;
    let body = move || {
        let load = || -> Result<_, EngineError> {
            let decoder = load(&files, &options)?;
            let model = Arc::new(LoadedModel::load(files, &decoder)?);
            Ok((decoder, model))
        };
        match load() {
            Ok((decoder, model)) => {
                // The receiver waits right below; it cannot be gone.
                let _ = loaded.send(Ok(Arc::clone(&model)));
                scheduler::run(&decoder, &model, &options, counted, queue);
            }
            Err(error) => {
                let _ = loaded.send(Err(error));
            }
        }
    };
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(body)
        .map_err(|error| BackendError(format!("cannot start the engine's thread: {error}")))?;
    threads::remember(thread);
    let model = model.recv().map_err(|_| EngineError::Stopped)??;
    Ok(Engine {
        tasks,
        model,
        counting,
        most_wait,
    })
}
