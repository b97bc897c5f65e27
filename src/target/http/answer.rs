//! One answer, from request to end.

use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::error::{HttpError, Problem};
use super::client::{Begun, Client, disconnected, read_body};
use super::{Asking, Sent};
use crate::generation::{Event, EventKind, GenerateRequest};
use crate::protocol::client::{Audit, ReadStream, SseReader};

/// Most bytes of one answer. A million tokens with all that is told of them take less.
const MAX_ANSWER_BYTES: usize = 512 << 20;
/// How long the end of the connection's answer is waited for, so that it can be used again.
const GOODBYE: Duration = Duration::from_millis(20);

/// Asks, and sends the events. Ends quietly if their reader has gone.
pub(super) async fn answer(
    asking: &Asking,
    request: &GenerateRequest,
    events: &mpsc::Sender<Sent>,
) -> Result<(), HttpError> {
    let Asking { client, form } = asking;
    let outgoing = form
        .outgoing(request)
        .map_err(|problem| client.error("", problem.into()))?;
    let path = outgoing.path;
    let mut retried = Vec::new();
    let begun = client
        .post(path, &outgoing.body, &mut |retry| retried.push(retry))
        .await?;
    let mut reading = Reading {
        client,
        sent: begun.sent,
        events,
    };
    for retry in retried {
        reading
            .tell(Duration::ZERO, EventKind::Retried(retry))
            .await;
    }
    let retries = begun.retries;
    let total = client.endpoint().options.total_timeout;
    let read = async {
        match form.stream {
            true => {
                let audit = form.auditor(request);
                reading
                    .stream(begun, form.stream_reader(request), audit)
                    .await
            }
            false => {
                let body = reading.whole(begun).await?;
                // All of it came at once, whatever it says of its parts.
                let at = reading.sent.elapsed();
                for kind in form.read_answer(request, &body)? {
                    reading.tell(at, kind).await;
                }
                Ok(())
            }
        }
    };
    timeout(total, read)
        .await
        .unwrap_or(Err(Problem::Total(total)))
        .map_err(|problem| HttpError {
            retries,
            ..client.error(path, problem)
        })
}

struct Reading<'a> {
    client: &'a Client,
    sent: Instant,
    events: &'a mpsc::Sender<Sent>,
}

impl Reading<'_> {
    async fn tell(&self, at: Duration, kind: EventKind) {
        // If the reader has gone, this task ends with it.
        let _ = self.events.send(Ok(Event { at, kind })).await;
    }

    /// Reads events until the stream says that it is over.
    async fn stream(
        &mut self,
        begun: Begun,
        mut reader: Box<dyn ReadStream>,
        mut audit: Box<dyn Audit>,
    ) -> Result<(), Problem> {
        let mut response = self.expect(begun.response, "text/event-stream").await?;
        let mut sse = SseReader::default();
        let (mut bytes, mut events) = (0, 0);
        // What is told last waits until the stream is over: until then there may be more to notice.
        let mut last = None;
        while let Some(chunk) = self.chunk(&mut response, events, bytes).await? {
            let at = self.sent.elapsed();
            bytes += chunk.len();
            if bytes > MAX_ANSWER_BYTES {
                return Err(oversize());
            }
            for event in sse.push(&chunk)? {
                events += 1;
                audit.see(&event);
                for kind in reader.read(&event)? {
                    match kind {
                        EventKind::Finished { .. } => last = Some((at, kind)),
                        other => self.tell(at, other).await,
                    }
                }
            }
            if reader.is_over() {
                self.finish(audit, last).await;
                // The end of the connection's answer; if it does not come, so be it.
                let _ = timeout(GOODBYE, response.chunk()).await;
                return Ok(());
            }
        }
        sse.finish()?;
        if let Some(rest) = reader.close()? {
            let at = self.sent.elapsed();
            for kind in rest {
                match kind {
                    EventKind::Finished { .. } => last = Some((at, kind)),
                    other => self.tell(at, other).await,
                }
            }
            self.finish(audit, last).await;
            return Ok(());
        }
        Err(Problem::Disconnected {
            events,
            bytes,
            cause: String::new(),
        })
    }

    /// What was noticed about the stream, and then the end of the answer.
    async fn finish(&self, audit: Box<dyn Audit>, last: Option<(Duration, EventKind)>) {
        if let Some((at, kind)) = last {
            self.tell(at, EventKind::Streamed(audit.end())).await;
            self.tell(at, kind).await;
        }
    }

    /// The next bytes; `None` at the end.
    async fn chunk(
        &self,
        response: &mut Response,
        events: usize,
        bytes: usize,
    ) -> Result<Option<impl AsRef<[u8]> + use<> + std::ops::Deref<Target = [u8]>>, Problem> {
        let options = &self.client.endpoint().options;
        let patience = match bytes {
            0 => options
                .first_byte_timeout
                .saturating_sub(self.sent.elapsed()),
            _ => options.stall_timeout,
        };
        match timeout(patience, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(disconnected(events, bytes, &error)),
            Err(_) if bytes == 0 => Err(Problem::FirstByte(options.first_byte_timeout)),
            Err(_) => Err(Problem::Stall {
                silence: options.stall_timeout,
                events,
            }),
        }
    }

    /// An answer in one piece. Until it comes there is silence, as long as it takes.
    async fn whole(&self, begun: Begun) -> Result<String, Problem> {
        let response = self.expect(begun.response, "application/json").await?;
        read_body(response, MAX_ANSWER_BYTES, "answer").await
    }

    async fn expect(
        &self,
        response: Response,
        expected: &'static str,
    ) -> Result<Response, Problem> {
        let header = response.headers().get(CONTENT_TYPE);
        let got = header.and_then(|value| value.to_str().ok()).unwrap_or("");
        if got.split(';').next().unwrap_or("").trim() == expected {
            return Ok(response);
        }
        Err(Problem::ContentType {
            expected,
            got: match got {
                "" => "no content type".to_owned(),
                got => got.chars().take(80).collect(),
            },
            excerpt: self.client.excerpt(response).await,
        })
    }
}

fn oversize() -> Problem {
    Problem::Oversize {
        what: "answer",
        limit: MAX_ANSWER_BYTES,
    }
}
