//! The connection to one server: keys, time-outs, retries, and bounds on what is read.

use std::error::Error as _;
use std::fmt;
use std::sync::Once;
use std::time::{Duration, Instant};

use reqwest::header::{
    AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::super::error::{HttpError, Problem};
use crate::endpoint::{Api, HttpEndpoint};
use crate::generation::Retry;

/// The version of Anthropic's API that requests are written for.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// Most bytes that are read of the body of an error.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Most bytes of a list of models, which some hubs make long.
const MAX_LIST_BYTES: usize = 8 << 20;
/// Characters of a body that an error shows.
const EXCERPT: usize = 300;
/// The wait before the first retry; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait that is granted to a server.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A key. It is sent, and neither printed nor recorded.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a key.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: HttpEndpoint,
    key: Option<Secret>,
}

/// An answer that has begun.
pub(super) struct Begun {
    pub(super) response: Response,
    /// When the request was sent for the last time.
    pub(super) sent: Instant,
    pub(super) retries: usize,
}

impl Client {
    pub(super) fn new(endpoint: HttpEndpoint, key: Option<Secret>) -> Result<Self, HttpError> {
        let error = |problem: String| HttpError {
            target: endpoint.to_string(),
            url: endpoint.base.to_string(),
            problem: Box::new(Problem::Client(problem)),
            retries: 0,
        };
        use_ring();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("loopwatch/", env!("CARGO_PKG_VERSION")))
            // A prompt, and a key, go where they were sent and nowhere else.
            .redirect(Policy::none())
            .connect_timeout(endpoint.options.connect_timeout)
            .tcp_nodelay(true);
        if endpoint.base.is_loopback() {
            builder = builder.no_proxy();
        }
        let mut headers = match &key {
            Some(key) => key_header(endpoint.api, key).map_err(&error)?,
            None => HeaderMap::new(),
        };
        // What is judged and measured here is generated, not remembered.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        builder = builder.default_headers(headers);
        let http = builder.build().map_err(|problem| error(chain(&problem)))?;
        Ok(Self {
            http,
            endpoint,
            key,
        })
    }

    /// A client of the same server that speaks this API.
    pub(super) fn in_form(&self, api: Api, stream: bool) -> Result<Self, HttpError> {
        let mut endpoint = self.endpoint.clone();
        endpoint.api = api;
        endpoint.options.stream = stream;
        Self::new(endpoint, self.key.clone())
    }

    pub(super) fn endpoint(&self) -> &HttpEndpoint {
        &self.endpoint
    }

    /// An error at a path below the version.
    pub(super) fn error(&self, path: &str, problem: Problem) -> HttpError {
        HttpError {
            target: self.endpoint.to_string(),
            url: self.endpoint.base.join(path),
            problem: Box::new(problem),
            retries: 0,
        }
    }

    /// A document.
    pub(super) async fn get(&self, path: &str) -> Result<String, HttpError> {
        let url = self.endpoint.base.join(path);
        let make = || self.http.get(&url);
        let left = self.endpoint.options.first_byte_timeout;
        let begun = self.send(path, &make, left, &mut |_| {}).await?;
        let body = timeout(left, read_body(begun.response, MAX_LIST_BYTES, "list")).await;
        body.unwrap_or(Err(Problem::FirstByte(left)))
            .map_err(|problem| self.error(path, problem))
    }

    /// A request for an answer. `on_retry` hears of every retry before it is waited for.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
        on_retry: &mut (dyn FnMut(Retry) + Send),
    ) -> Result<Begun, HttpError> {
        let url = self.endpoint.base.join(path);
        let make = || {
            let request = self.http.post(&url).json(body);
            match self.endpoint.api {
                Api::OpenAi => request,
                Api::Anthropic => request.header("anthropic-version", ANTHROPIC_VERSION),
            }
        };
        let options = &self.endpoint.options;
        // A whole answer begins when it is complete.
        let patience = match options.stream {
            true => options.first_byte_timeout,
            false => options.total_timeout,
        };
        self.send(path, &make, patience, on_retry).await
    }

    async fn send(
        &self,
        path: &str,
        make: &(dyn Fn() -> RequestBuilder + Sync),
        patience: Duration,
        on_retry: &mut (dyn FnMut(Retry) + Send),
    ) -> Result<Begun, HttpError> {
        let mut retries = 0;
        loop {
            let sent = Instant::now();
            let problem = match self.once(make(), patience).await {
                Ok(response) => {
                    return Ok(Begun {
                        response,
                        sent,
                        retries,
                    });
                }
                Err(problem) => problem,
            };
            let wait = wait(&problem, retries);
            let more = retries < self.endpoint.options.retries as usize;
            match wait.filter(|wait| more && *wait <= LONGEST_WAIT) {
                None => {
                    return Err(HttpError {
                        retries,
                        ..self.error(path, problem)
                    });
                }
                Some(wait) => {
                    on_retry(Retry {
                        reason: problem.to_string(),
                        waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    });
                    tokio::time::sleep(wait).await;
                    retries += 1;
                }
            }
        }
    }

    /// One try, up to the headers of a success.
    async fn once(&self, request: RequestBuilder, patience: Duration) -> Result<Response, Problem> {
        let response = match timeout(patience, request.send()).await {
            Err(_) => return Err(Problem::FirstByte(patience)),
            Ok(Err(error)) if error.is_connect() => return Err(Problem::Connect(chain(&error))),
            Ok(Err(error)) => return Err(Problem::Request(chain(&error))),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Problem::Status {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            excerpt: self.excerpt(response).await,
        })
    }

    /// The beginning of a body that tells of an error.
    pub(super) async fn excerpt(&self, mut response: Response) -> String {
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_ERROR_BYTES {
                    break;
                }
            }
        };
        // What has come by then is enough.
        let _ = timeout(self.endpoint.options.stall_timeout, read).await;
        let text = String::from_utf8_lossy(&body);
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Servers like to repeat a key that they refuse.
        if let Some(Secret(key)) = self.key.as_ref().filter(|key| !key.0.is_empty()) {
            text = text.replace(key.as_str(), "…");
        }
        match text.char_indices().nth(EXCERPT) {
            _ if text.is_empty() => "no body".to_owned(),
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// A whole body of at most `limit` bytes.
pub(super) async fn read_body(
    mut response: Response,
    limit: usize,
    what: &'static str,
) -> Result<String, Problem> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(disconnected(0, body.len(), &error)),
        }
        if body.len() > limit {
            return Err(Problem::Oversize { what, limit });
        }
    }
    String::from_utf8(body).map_err(|_| Problem::ContentType {
        expected: "text",
        got: "bytes that are no UTF-8".to_owned(),
        excerpt: String::new(),
    })
}

pub(super) fn disconnected(events: usize, bytes: usize, error: &reqwest::Error) -> Problem {
    Problem::Disconnected {
        events,
        bytes,
        cause: format!(": {}", chain(error)),
    }
}

/// How long to wait before the next try, if another one may help.
fn wait(problem: &Problem, retries: usize) -> Option<Duration> {
    let asked = match problem {
        Problem::Status { retry_after, .. } => *retry_after,
        _ => None,
    };
    let own = FIRST_WAIT.saturating_mul(1 << retries.min(10));
    problem.is_passing().then(|| asked.unwrap_or(own))
}

/// Seconds; the form with a date is for caches, and no server of models uses it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn key_header(api: Api, key: &Secret) -> Result<HeaderMap, String> {
    let (name, value) = match api {
        Api::OpenAi => (AUTHORIZATION, format!("Bearer {}", key.0)),
        Api::Anthropic => (HeaderName::from_static("x-api-key"), key.0.clone()),
    };
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| "the API key has characters that no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(name, value)]))
}

/// The cryptography of TLS is a choice of the program.
fn use_ring() {
    static ONCE: Once = Once::new();
    // If there is one already, it is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// An error with its causes. The address is left out: it is told once.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut parts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    match parts.is_empty() {
        true => "no reason was given".to_owned(),
        false => parts.join(": "),
    }
}

/// A client that asks a server of this machine whether it is there.
pub(super) fn probe() -> Result<reqwest::Client, String> {
    use_ring();
    reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()
        .map_err(|error| chain(&error))
}
