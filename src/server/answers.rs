//! Several answers to one request, together.

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::{BoxStream, SelectAll, select_all};

use super::refusal::Refusal;
use super::watch::{Complete, Seen, Watched};

/// All answers, complete, in order. The first failure ends the others.
pub(super) async fn complete(answers: Vec<Watched>) -> Result<Vec<Complete>, Refusal> {
    try_join_all(answers.into_iter().map(Watched::collect)).await
}

/// Events of several answers as they come, each with the number of its answer.
pub(super) struct Merged {
    events: SelectAll<BoxStream<'static, (usize, Result<Seen, Refusal>)>>,
}

impl Merged {
    /// Waits for the first event, so that a request that cannot be answered is refused with a
    /// status instead of within a stream.
    pub(super) async fn begin(
        answers: Vec<Watched>,
    ) -> Result<(Self, Option<(usize, Seen)>), Refusal> {
        let numbered = answers
            .into_iter()
            .enumerate()
            .map(|(index, answer)| answer.map(move |event| (index, event)).boxed());
        let mut merged = Self {
            events: select_all(numbered),
        };
        let first = match merged.next().await {
            Some((index, event)) => Some((index, event?)),
            None => None,
        };
        Ok((merged, first))
    }

    pub(super) async fn next(&mut self) -> Option<(usize, Result<Seen, Refusal>)> {
        self.events.next().await
    }
}
