//! Whether the server can answer, found out by asking.
//!
//! A token within the last seconds is proof. Without one, a generation of one token is the
//! question: an engine whose thread has died does not answer it. However many ask, one question
//! is put at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::Mutex;

use super::admission::App;
use super::refusal::Refusal;
use crate::generation::{GenerateRequest, Prompt, SamplingSettings};

/// How long a sign of life counts.
const FRESH: Duration = Duration::from_secs(5);
/// How long an idle engine may take for one token. Long prompts are computed in parts, and new
/// requests join between them.
const PATIENCE: Duration = Duration::from_secs(10);

/// When the target last gave an event.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    start: Instant,
    /// Milliseconds from `start`, plus one; 0 is never.
    last: Arc<AtomicU64>,
    /// The last failure, and the turn to ask.
    failure: Arc<Mutex<Option<(Instant, String)>>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
            failure: Arc::default(),
        }
    }
}

impl Pulse {
    pub(super) fn beat(&self) {
        let now = self.start.elapsed().as_millis() as u64 + 1;
        self.last.store(now, Ordering::Relaxed);
    }

    fn is_fresh(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let now = self.start.elapsed().as_millis() as u64 + 1;
        last > 0 && Duration::from_millis(now.saturating_sub(last)) < FRESH
    }
}

/// `GET /health`: 200 if the model answers, 503 if not.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let problem = find_out(&app).await.err();
    let model = &app.served.name;
    match problem {
        None => Json(json!({"status": "ok", "model": model})).into_response(),
        Some(problem) => {
            tracing::error!(%problem, "not healthy");
            let body = json!({"status": "unavailable", "model": model, "reason": problem});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn find_out(app: &App) -> Result<(), String> {
    if app.pulse.is_fresh() {
        return Ok(());
    }
    let mut failure = app.pulse.failure.lock().await;
    // Who waited for the turn may have the answer of the one before.
    if app.pulse.is_fresh() {
        return Ok(());
    }
    if let Some((at, problem)) = &*failure
        && at.elapsed() < FRESH
    {
        return Err(problem.clone());
    }
    let outcome = probe(app).await;
    *failure = outcome
        .clone()
        .err()
        .map(|problem| (Instant::now(), problem));
    outcome
}

async fn probe(app: &App) -> Result<(), String> {
    let settings = SamplingSettings {
        max_tokens: Some(1),
        ..SamplingSettings::default()
    };
    let request = GenerateRequest {
        prompt: Prompt::Tokens { tokens: vec![0] },
        sampling: settings.resolve().map_err(|error| error.to_string())?,
        top_logprobs: 0,
        constraint: None,
    };
    let mut events = app.served.target.generate(request);
    let answer = async {
        while let Some(event) = events.next().await {
            match event.map_err(Refusal::from) {
                Ok(_) => app.pulse.beat(),
                // Whoever refuses a request is alive.
                Err(refusal) if refusal.status.is_client_error() => return Ok(()),
                Err(refusal) => return Err(refusal.message),
            }
        }
        Ok(())
    };
    let answered = tokio::time::timeout(PATIENCE, answer).await;
    answered.unwrap_or_else(|_| Err(format!("no token within {} s", PATIENCE.as_secs())))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::sync::watch;

    use super::*;
    use crate::engine::EngineError;
    use crate::server::{Served, ServerOptions};
    use crate::target::{EventStream, Target, TargetError};

    /// A target whose engine has died, or that refuses whatever it is asked.
    struct Failing(fn() -> EngineError);

    impl Target for Failing {
        fn generate(&self, _: GenerateRequest) -> EventStream {
            let error = TargetError::Engine((self.0)());
            stream::iter([Err(error)]).boxed()
        }
    }

    async fn status(error: fn() -> EngineError) -> StatusCode {
        let served = Served {
            name: "test".to_owned(),
            target: Arc::new(Failing(error)),
            vocabulary: None,
        };
        let (_stop, stopped) = watch::channel(false);
        let (_close, closing) = watch::channel(false);
        let app = App::new(served, ServerOptions::default(), stopped, closing);
        health(State(Arc::new(app))).await.status()
    }

    #[tokio::test]
    async fn a_dead_engine_is_not_healthy_and_a_choosy_one_is() {
        assert_eq!(
            status(|| EngineError::Stopped).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        let refuses = || EngineError::Request("no token 0".to_owned());
        assert_eq!(status(refuses).await, StatusCode::OK);
    }
}
