//! Server-sent events: an endless supply of small writes from a narrator that turns the events of
//! a generation into the events of an API.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event as Sse, KeepAlive};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;

use super::answers::Merged;
use super::refusal::Refusal;
use super::watch::Seen;

/// Tells the events of answers in the words of an API.
pub(super) trait Narrator: Send + 'static {
    /// What an event of an answer means to the client.
    fn tell(&mut self, answer: usize, seen: Seen, out: &mut Out);

    /// The end of all answers.
    fn end(&mut self, out: &mut Out);

    /// An error that ends the stream.
    fn fail(&mut self, refusal: &Refusal, out: &mut Out);

    /// A sign of life.
    fn keep_alive(&self) -> Sse;
}

/// Events on their way to the client.
#[derive(Debug, Default)]
pub(super) struct Out(VecDeque<Sse>);

impl Out {
    /// A `data:` line.
    pub(super) fn data(&mut self, value: &impl Serialize) {
        // Our own types have no keys but text, so they are always JSON.
        let text = serde_json::to_string(value).unwrap_or_default();
        self.0.push_back(Sse::default().data(text));
    }

    /// An `event:` line and a `data:` line.
    pub(super) fn event(&mut self, name: &str, value: &impl Serialize) {
        let text = serde_json::to_string(value).unwrap_or_default();
        self.0.push_back(Sse::default().event(name).data(text));
    }

    /// A `data:` line that is not JSON.
    pub(super) fn word(&mut self, word: &str) {
        self.0.push_back(Sse::default().data(word));
    }
}

struct State<N> {
    merged: Merged,
    narrator: N,
    out: Out,
    over: bool,
}

/// Streams answers to the client, from their first event on.
pub(super) fn respond<N: Narrator>(
    merged: Merged,
    first: Option<(usize, Seen)>,
    mut narrator: N,
    every: Duration,
) -> Response {
    let mut out = Out::default();
    if let Some((answer, seen)) = first {
        narrator.tell(answer, seen, &mut out);
    }
    let keep_alive = KeepAlive::new()
        .interval(every)
        .event(narrator.keep_alive());
    let state = State {
        merged,
        narrator,
        out,
        over: false,
    };
    let events = stream::unfold(state, |mut state| async move {
        loop {
            if let Some(event) = state.out.0.pop_front() {
                return Some((Ok::<_, Infallible>(event), state));
            }
            if state.over {
                return None;
            }
            match state.merged.next().await {
                Some((answer, Ok(seen))) => state.narrator.tell(answer, seen, &mut state.out),
                Some((_, Err(refusal))) => {
                    state.over = true;
                    state.narrator.fail(&refusal, &mut state.out);
                }
                None => {
                    state.over = true;
                    state.narrator.end(&mut state.out);
                }
            }
        }
    });
    axum::response::Sse::new(events)
        .keep_alive(keep_alive)
        .into_response()
}
