//! Serves a target over HTTP, in the words of OpenAI's and Anthropic's APIs.
//!
//! A request is read once, lowered into a [`GenerateRequest`], and its events are told in the API's
//! own form. The server knows HTTP, limits and metrics. It does not know who generates, so a
//! scripted model and a real one go through the same door, and it reads neither files nor the
//! environment.
//!
//! ```text
//!  listen ─ connection ─▶ access ─▶ body ─▶ protocol::{openai, anthropic} ─▶ admission
//!                                                                               │
//!                                answer or stream ◀─ watch (metrics, trace) ◀──┘ Target
//! ```

mod access;
mod admission;
mod answer_cache;
mod answers;
mod anthropic;
mod body;
mod headers;
mod health;
mod listen;
mod loopwatch;
mod metrics;
mod names;
mod openai;
mod options;
mod refusal;
mod sse;
mod stall;
mod trace;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post};

pub use listen::serve;
pub use options::{Access, Limits, OnLoop, ServerOptions, TimeOuts, UnknownPolicy};
pub use trace::{TraceSink, TraceText};

use crate::engine::{Engine, EngineError};
use crate::generation::{GenerateRequest, Prompt};
use crate::target::Target;
use admission::App;
use refusal::Refusal;

/// Who answers, under which name.
#[derive(Clone)]
pub struct Served {
    /// The model's name, as clients see it.
    pub name: String,
    /// Who generates.
    pub target: Arc<dyn Target>,
    /// How its tokens read. Without one, prompts are not measured before they are computed, and
    /// log-probabilities name tokens by their ids.
    pub vocabulary: Option<Arc<dyn Vocabulary>>,
}

/// The tokens of a model.
pub trait Vocabulary: Send + Sync {
    /// Ids are below this.
    fn size(&self) -> usize;

    /// Tokens of a prompt.
    ///
    /// # Errors
    /// If the prompt cannot be tokenized; the request is to blame, or the model.
    fn count(&self, prompt: &Prompt) -> Result<usize, EngineError>;

    /// The text of some tokens, U+FFFD where they are not whole characters.
    fn text(&self, ids: &[u32]) -> String;

    /// Whether the answer to a request can be held to its form.
    ///
    /// # Errors
    /// If it cannot, or the form is wrong.
    fn check_form(&self, request: &GenerateRequest) -> Result<(), EngineError>;
}

impl Vocabulary for Engine {
    fn size(&self) -> usize {
        self.model().vocab_size()
    }

    fn count(&self, prompt: &Prompt) -> Result<usize, EngineError> {
        Ok(self.model().tokenize(prompt)?.len())
    }

    fn text(&self, ids: &[u32]) -> String {
        self.model().text(ids)
    }

    fn check_form(&self, request: &GenerateRequest) -> Result<(), EngineError> {
        self.model().grammar(request).map(|_| ())
    }
}

/// Everything the server answers to.
fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(openai::chat))
        .route("/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{*name}", get(openai::model))
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::page))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&app),
            access::check,
        ))
        .with_state(app)
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::not_found(format!("there is no {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::wrong_method(format!("{} does not answer to {method}", uri.path()))
}
