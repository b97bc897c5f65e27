//! The reader's end of a request.
//!
//! Events come in batches: waking a reader costs several microseconds, so a fast model hands over
//! a few tokens at a time. Knows order and batches; what an event says is not its business.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc::Receiver;

use super::EngineError;
use crate::generation::Event;

/// What is handed over at once: some events, or the error that ends the request.
pub(super) type Batch = Result<Vec<Event>, EngineError>;

/// The events of one request, ending with its finish event or an error. Dropping it cancels the
/// request.
#[derive(Debug)]
pub struct Events {
    batches: Receiver<Batch>,
    /// The rest of the last batch.
    batch: std::vec::IntoIter<Event>,
}

impl Events {
    pub(super) fn new(batches: Receiver<Batch>) -> Self {
        Self {
            batches,
            batch: Vec::new().into_iter(),
        }
    }

    /// The next event; `None` when the request is over.
    pub async fn recv(&mut self) -> Option<Result<Event, EngineError>> {
        poll_fn(|context| self.poll(context)).await
    }

    /// The next event, for a thread that may wait; `None` when the request is over.
    pub fn blocking_recv(&mut self) -> Option<Result<Event, EngineError>> {
        loop {
            if let Some(event) = self.batch.next() {
                return Some(Ok(event));
            }
            match self.batches.blocking_recv()? {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event, EngineError>>> {
        loop {
            if let Some(event) = self.batch.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.batches.poll_recv(context)) {
                Some(Ok(batch)) => self.batch = batch.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for Events {
    type Item = Result<Event, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}
