//! What a server counts, in Prometheus' format.
//!
//! Times are those of the events: when a token was made, not when its chunk was read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::admission::App;
use super::refusal::Refusal;
use crate::generation::{DEFAULT_CONTEXT_SIZE, Event, EventKind, FinishReason, Usage};
use crate::loops::{Change, Ending, LoopState, LoopVerdict, Settings, Watch};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    path: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoopLabels {
    state: &'static str,
    kind: &'static str,
    period: &'static str,
}

/// The counters of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    http: Family<AnswerLabels, Counter>,
    known: Counter,
    shared: Arc<Shared>,
}

/// What the observers of answers write to.
#[derive(Debug)]
struct Shared {
    waiting: Gauge,
    running: Gauge,
    ended: Family<ReasonLabels, Counter>,
    loops: Family<LoopLabels, Counter>,
    input: Counter,
    cached: Counter,
    output: Counter,
    ttft: Histogram,
    itl: Histogram,
    duration: Histogram,
}

impl Metrics {
    pub(super) fn new(model: &str) -> Self {
        let seconds = |start| Histogram::new(exponential_buckets(start, 2.0, 18));
        let shared = Shared {
            waiting: Gauge::default(),
            running: Gauge::default(),
            ended: Family::default(),
            loops: Family::default(),
            input: Counter::default(),
            cached: Counter::default(),
            output: Counter::default(),
            ttft: seconds(0.001),
            itl: seconds(0.000_1),
            duration: seconds(0.001),
        };
        let http = Family::default();
        let mut registry = Registry::with_prefix("loopwatch");
        registry.register(
            "model",
            "The model served",
            Info::new([("name", model.to_owned())]),
        );
        registry.register("http_requests", "Requests by path and status", http.clone());
        let known = Counter::default();
        registry.register(
            "answer_cache_hits",
            "Requests whose answers had been given before",
            known.clone(),
        );
        registry.register(
            "answers_waiting",
            "Answers that have not begun",
            shared.waiting.clone(),
        );
        registry.register(
            "answers_running",
            "Answers being generated",
            shared.running.clone(),
        );
        registry.register(
            "answers",
            "Answers by the reason of their end; cancelled: the client left",
            shared.ended.clone(),
        );
        registry.register(
            "loops",
            "Loops by state, kind and period: one, short (within the default window), long (beyond it)",
            shared.loops.clone(),
        );
        registry.register("input_tokens", "Tokens of prompts", shared.input.clone());
        registry.register(
            "cached_tokens",
            "Tokens of prompts that an earlier request had computed",
            shared.cached.clone(),
        );
        registry.register("output_tokens", "Generated tokens", shared.output.clone());
        registry.register(
            "ttft_seconds",
            "Request to first token",
            shared.ttft.clone(),
        );
        registry.register(
            "itl_seconds",
            "Between consecutive tokens",
            shared.itl.clone(),
        );
        registry.register(
            "answer_seconds",
            "Request to the end of its answer",
            shared.duration.clone(),
        );
        Self {
            registry,
            http,
            known,
            shared: Arc::new(shared),
        }
    }

    /// A response has been made.
    pub(super) fn answered(&self, path: &'static str, status: u16) {
        self.http
            .get_or_create(&AnswerLabels { path, status })
            .inc();
    }

    /// A request was answered as it was before.
    pub(super) fn known_again(&self) {
        self.known.inc();
    }

    /// An observer of a new answer.
    pub(super) fn observe(&self) -> Observer {
        self.shared.waiting.inc();
        Observer {
            shared: Arc::clone(&self.shared),
            phase: Phase::Waiting,
            last: None,
            watch: Watch::new(Settings::default()),
            confirmed: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Running,
    Over,
}

/// Counts one answer.
pub(super) struct Observer {
    shared: Arc<Shared>,
    phase: Phase,
    /// When the last token was made.
    last: Option<Duration>,
    watch: Watch,
    confirmed: Option<Change>,
}

impl Observer {
    pub(super) fn see(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Started { .. } => {
                self.leave_phase();
                self.phase = Phase::Running;
                self.shared.running.inc();
            }
            EventKind::Delta { token, text } => {
                let seconds = event.at.as_secs_f64();
                match self.last.replace(event.at) {
                    None => self.shared.ttft.observe(seconds),
                    Some(last) => {
                        let gap = event.at.saturating_sub(last).as_secs_f64();
                        self.shared.itl.observe(gap);
                    }
                }
                self.shared.output.inc();
                if let Some(change) = self.watch.push_token(token.id, text) {
                    self.tell(change);
                }
            }
            EventKind::Said { .. }
            | EventKind::ToolCall(_)
            | EventKind::Text(_)
            | EventKind::Retried(_)
            | EventKind::Streamed(_) => {}
            EventKind::Finished { reason, usage, .. } => {
                self.shared.duration.observe(event.at.as_secs_f64());
                let ending = match reason {
                    FinishReason::Length => Ending::CutOff,
                    _ => Ending::Itself,
                };
                if let Some(change) = self.watch.finish(ending) {
                    self.tell(change);
                }
                self.end(*reason, *usage);
            }
        }
    }

    /// The loop of the answer so far.
    pub(super) fn verdict(&self) -> Option<LoopVerdict> {
        self.watch.verdict()
    }

    /// The first loop that was confirmed.
    pub(super) fn confirmed(&self) -> Option<Change> {
        self.confirmed
    }

    fn tell(&mut self, change: Change) {
        if change.state == LoopState::Confirmed {
            self.confirmed.get_or_insert(change);
        }
        let state = match change.state {
            state @ (LoopState::Suspected | LoopState::Confirmed) => state.name(),
            LoopState::Ended | LoopState::Recovered | LoopState::Relapsed => return,
        };
        let period = match change.period {
            1 => "one",
            2..=DEFAULT_CONTEXT_SIZE => "short",
            _ => "long",
        };
        if change.state == LoopState::Confirmed {
            tracing::warn!(
                period = change.period,
                onset = change.onset,
                "an answer loops"
            );
        }
        self.shared
            .loops
            .get_or_create(&LoopLabels {
                state,
                kind: change.kind.name(),
                period,
            })
            .inc();
    }

    fn end(&mut self, reason: FinishReason, usage: Usage) {
        self.leave_phase();
        let shared = &self.shared;
        shared.input.inc_by(usage.input_tokens as u64);
        shared.cached.inc_by(usage.cached_tokens as u64);
        let reason = reason.as_str();
        shared.ended.get_or_create(&ReasonLabels { reason }).inc();
    }

    fn leave_phase(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Waiting => self.shared.waiting.dec(),
            Phase::Running => self.shared.running.dec(),
            Phase::Over => return,
        };
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if self.phase != Phase::Over {
            self.end(FinishReason::Cancelled, Usage::default());
        }
    }
}

/// `GET /metrics`.
pub(super) async fn page(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &app.metrics.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}
