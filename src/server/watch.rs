//! An answer in the making, watched: it is counted, timed, searched for loops and traced, and it
//! ends when the server stops or its time is over.
//!
//! Dropping it drops its event stream, which cancels the generation.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::admission::App;
use super::health::Pulse;
use super::metrics::Observer;
use super::options::OnLoop;
use super::refusal::Refusal;
use super::trace::{TraceLine, TraceSink};
use crate::generation::{Event, EventKind, FinishReason, SoFar, Transcript, Usage};
use crate::protocol::FoundLoop;
use crate::target::EventStream;

/// An event, and what was seen with it that the client is to be told.
pub(super) struct Seen {
    pub(super) event: Event,
    /// The first loop, with the event that confirmed it.
    pub(super) found: Option<FoundLoop>,
}

/// The events of one answer.
pub(super) struct Watched {
    events: EventStream,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    deadline: Pin<Box<Sleep>>,
    observer: Observer,
    pulse: Pulse,
    line: TraceLine,
    sink: Option<TraceSink>,
    /// Kept only where a loop may cut the answer off.
    so_far: Option<SoFar>,
    /// Whether a loop is still to be told to the client.
    tells_loop: bool,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watched {
    pub(super) fn new(
        app: &App,
        events: EventStream,
        permit: OwnedSemaphorePermit,
        line: TraceLine,
    ) -> Self {
        Self {
            events,
            stopped: Box::pin(app.stopped()),
            deadline: Box::pin(tokio::time::sleep_until(app.deadline().into())),
            observer: app.metrics.observe(),
            pulse: app.pulse.clone(),
            line,
            sink: app.options.trace.clone(),
            so_far: (app.options.on_loop == OnLoop::Stop).then(SoFar::default),
            tells_loop: app.options.on_loop == OnLoop::Annotate,
            over: false,
            _permit: permit,
        }
    }

    /// All of the answer.
    pub(super) async fn collect(mut self) -> Result<Complete, Refusal> {
        let mut events = Vec::new();
        let mut found = None;
        while let Some(seen) = std::future::poll_fn(|context| self.poll(context)).await {
            let seen = seen?;
            events.push(seen.event);
            found = found.or(seen.found);
        }
        Complete::of(events, found)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Seen, Refusal>>> {
        if self.over {
            return Poll::Ready(None);
        }
        // The clock and the order to stop come first: a model that is faster than its reader always
        // has another event ready.
        let outcome = if self.stopped.as_mut().poll(context).is_ready() {
            Some(Refusal::stopping())
        } else if self.deadline.as_mut().poll(context).is_ready() {
            let problem = "the answer took longer than this server allows";
            Some(Refusal::new(StatusCode::GATEWAY_TIMEOUT, problem))
        } else {
            match self.events.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(event))) => {
                    let found = self.see(&event);
                    return Poll::Ready(Some(Ok(Seen { event, found })));
                }
                Poll::Ready(Some(Err(error))) => Some(error.into()),
                Poll::Ready(None) if self.line.is_finished() => None,
                Poll::Ready(None) => Some(Refusal::new(
                    StatusCode::BAD_GATEWAY,
                    "the answer broke off without saying why",
                )),
            }
        };
        self.over = true;
        if let Some(refusal) = &outcome {
            tracing::warn!(reason = %refusal.message, "answer failed");
            self.line.fail(&refusal.message);
        }
        Poll::Ready(outcome.map(Err))
    }

    /// Returns the loop that the client is to be told of now.
    fn see(&mut self, event: &Event) -> Option<FoundLoop> {
        self.pulse.beat();
        self.observer.see(event);
        self.line.see(event);
        if let Some(so_far) = &mut self.so_far {
            so_far.see(event);
        }
        let change = self.observer.confirmed()?;
        if !self.line.is_finished() {
            self.cut(event.at);
        }
        std::mem::take(&mut self.tells_loop).then_some(FoundLoop {
            // Whoever has several answers numbers them.
            choice: 0,
            period: change.period,
            onset: change.onset,
            at: change.at,
        })
    }

    /// Ends a generation that loops, if that is the policy: the events that are left are replaced
    /// by a finish, and dropping them cancels it.
    fn cut(&mut self, at: Duration) {
        if let Some(so_far) = self.so_far.take() {
            let kind = so_far.cut();
            self.events = stream::iter([Ok(Event { at, kind })]).boxed();
        }
    }
}

impl Stream for Watched {
    type Item = Result<Seen, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(sink) = &self.sink {
            sink.write(&self.line, self.observer.verdict());
        }
    }
}

/// A complete answer.
pub(super) struct Complete {
    pub(super) transcript: Transcript,
    /// Text that was held back until the end.
    pub(super) late: String,
    /// The loop that the client is to be told of.
    pub(super) found: Option<FoundLoop>,
}

impl Complete {
    fn of(events: Vec<Event>, found: Option<FoundLoop>) -> Result<Self, Refusal> {
        let late = match events.last().map(|event| &event.kind) {
            Some(EventKind::Finished { text, .. }) => text.clone(),
            _ => String::new(),
        };
        let transcript = Transcript::from_events(events)
            .map_err(|error| Refusal::new(StatusCode::BAD_GATEWAY, error.to_string()))?;
        Ok(Self {
            transcript,
            late,
            found,
        })
    }

    pub(super) fn reason(&self) -> FinishReason {
        self.transcript.finish_reason
    }

    pub(super) fn usage(&self) -> Usage {
        self.transcript.usage
    }

    /// What was said apart from the tool calls.
    pub(super) fn content(&self) -> &str {
        let transcript = &self.transcript;
        transcript.content.as_ref().unwrap_or(&transcript.text)
    }

    /// The text that became certain with each token.
    pub(super) fn token_texts(&self) -> impl Iterator<Item = &str> {
        let ends = self.transcript.text_ends.iter().copied();
        let starts = std::iter::once(0).chain(ends.clone());
        starts
            .zip(ends)
            .map(|(start, end)| self.transcript.text.get(start..end).unwrap_or_default())
    }
}
