//! A server with OpenAI's or Anthropic's API as a target.
//!
//! Times are those of this client: when the bytes that complete an event were read, since the
//! request was sent. Knows connections, time-outs and retries; what requests and answers look like
//! is the business of [`protocol::client`](crate::protocol::client).

mod answer;
mod client;

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::{HttpError, Problem};
use super::{EventStream, Network, Target, TargetError};
use crate::endpoint::{Api, HttpEndpoint};
use crate::generation::{Event, GenerateRequest};
use crate::protocol::client::{Form, Listing, read_models};

use client::Client;
pub use client::Secret;

/// A client that asks a server of this machine whether it is there.
pub(super) fn probe() -> Result<reqwest::Client, String> {
    client::probe()
}

/// Events that may wait for their reader before the server has to wait too.
const EVENT_BUFFER: usize = 1024;

/// A server that is reached over HTTP.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    asking: Arc<Asking>,
    network: Network,
}

/// What all requests to a server have in common.
#[derive(Debug)]
struct Asking {
    client: Client,
    form: Form,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The model's name there.
    pub model: String,
    /// Whether it tells the tokens behind its answers.
    pub tokens: bool,
}

impl HttpTarget {
    /// Asks a server for its models, and is ready to ask it for more.
    ///
    /// # Errors
    /// If there is no way to it, it refuses the key, or the model is neither named nor the only
    /// one.
    pub async fn connect(
        endpoint: HttpEndpoint,
        key: Option<Secret>,
        network: Network,
    ) -> Result<Self, HttpError> {
        let client = Client::new(endpoint, key)?;
        let listing = listing(&client).await?;
        let options = &client.endpoint().options;
        let model = match (&options.model, listing.models.as_slice()) {
            (Some(model), _) => model.clone(),
            (None, [only]) => only.clone(),
            (None, listed) => return Err(client.error("/models", no_model(listed))),
        };
        let form = Form {
            api: client.endpoint().api,
            model,
            stream: options.stream,
            tokens: options.tokens.unwrap_or(listing.loopwatch),
            names: options.fields,
        };
        Ok(Self {
            asking: Arc::new(Asking { client, form }),
            network,
        })
    }

    /// What the server says of itself.
    #[must_use]
    pub fn served(&self) -> Served {
        Served {
            model: self.asking.form.model.clone(),
            tokens: self.asking.form.tokens,
        }
    }
}

/// Models that an error names.
const SHOWN_MODELS: usize = 8;

fn no_model(listed: &[String]) -> Problem {
    let shown: Vec<&str> = listed
        .iter()
        .map(String::as_str)
        .take(SHOWN_MODELS)
        .collect();
    Problem::Model(match shown.as_slice() {
        [] => "the server lists no model".to_owned(),
        names => format!(
            "the server lists {} models: {}",
            listed.len(),
            names.join(", ")
        ),
    })
}

/// A server without a list is no error: then the model has to be named.
async fn listing(client: &Client) -> Result<Listing, HttpError> {
    let nothing = Listing {
        models: Vec::new(),
        loopwatch: false,
    };
    match client.get("/models").await {
        Ok(body) => Ok(read_models(&body).unwrap_or(nothing)),
        Err(error) => match *error.problem {
            Problem::Status {
                status: 404 | 405 | 501,
                ..
            } => Ok(nothing),
            _ => Err(error),
        },
    }
}

impl Target for HttpTarget {
    fn generate(&self, request: GenerateRequest) -> EventStream {
        let (events, receiver) = mpsc::channel(EVENT_BUFFER);
        let asking = Arc::clone(&self.asking);
        let task = self.network.spawn(async move {
            if let Err(error) = answer::answer(&asking, &request, &events).await {
                // A reader that has gone does not want the error either.
                let _ = events.send(Err(error.into())).await;
            }
        });
        let reading = Reading { receiver, task };
        stream::unfold(reading, |mut reading| async move {
            let event = reading.receiver.recv().await?;
            Some((event, reading))
        })
        .boxed()
    }

    fn in_form(&self, api: Api, stream: bool) -> Result<Option<Box<dyn Target>>, TargetError> {
        let Asking { client, form } = &*self.asking;
        Ok(Some(Box::new(Self {
            asking: Arc::new(Asking {
                client: client.in_form(api, stream)?,
                form: Form {
                    api,
                    stream,
                    ..form.clone()
                },
            }),
            network: self.network.clone(),
        })))
    }
}

/// What a task sends.
type Sent = Result<Event, TargetError>;

/// The reader's end. Dropping it ends the task, and with it the connection.
struct Reading {
    receiver: mpsc::Receiver<Sent>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
