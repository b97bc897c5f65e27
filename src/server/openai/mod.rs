//! OpenAI's paths.

mod chat;
mod logprobs;
mod text;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};

use super::admission::{Admitted, App, Order};
use super::body;
use super::refusal::{Api, Refusal};
use crate::generation::{Constraint, Prompt};
use crate::protocol::UnknownField;
use crate::protocol::openai::{ChatRequest, Common, CompletionRequest, ModelCard, ModelList};

/// Most warnings of one answer.
const MOST_WARNINGS: usize = 16;

/// `POST /v1/chat/completions`.
pub(super) async fn chat(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let fresh = wants_fresh(request.headers());
    let body = body::json(&app, request).await?;
    let ChatRequest {
        chat,
        constraint,
        common,
    } = ChatRequest::read(&body)?;
    let prompt = Prompt::Chat {
        messages: chat.messages,
        tools: chat.tools,
        variables: chat.variables,
    };
    let order = Order {
        constraint: constraint.map(|form| {
            let field = match form {
                Constraint::Json { .. } => "response_format",
                Constraint::Call { .. } => "tools",
            };
            (form, field)
        }),
        ..order(&common, "messages", vec![prompt], fresh)
    };
    let admitted = app.admit(order).await?;
    let warnings = headers(&app, common.model.as_deref(), &common.unknown, &admitted);
    let answers = admitted.answers;
    let response = match common.stream {
        Some(streaming) => chat::stream(app, answers, &common, streaming).await?,
        None => chat::complete(&app, answers, &common).await?,
    };
    Ok((warnings, response).into_response())
}

/// `POST /v1/completions`.
pub(super) async fn completions(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let fresh = wants_fresh(request.headers());
    let body = body::json(&app, request).await?;
    let CompletionRequest { prompts, common } = CompletionRequest::read(&body)?;
    let order = order(&common, "prompt", prompts, fresh);
    let admitted = app.admit(order).await?;
    let warnings = headers(&app, common.model.as_deref(), &common.unknown, &admitted);
    let answers = admitted.answers;
    let response = match common.stream {
        Some(streaming) => text::stream(app, answers, &common, streaming).await?,
        None => text::complete(&app, answers, &common).await?,
    };
    Ok((warnings, response).into_response())
}

fn order(common: &Common, field: &'static str, prompts: Vec<Prompt>, fresh: bool) -> Order {
    Order {
        api: Api::OpenAi,
        field,
        prompts,
        sampling: common.sampling.clone(),
        top_logprobs: common.top_logprobs.unwrap_or(0),
        constraint: None,
        n: common.n,
        fresh,
    }
}

/// Whether the client wants the answer generated, though it may be known (RFC 9111, 5.2.1).
pub(super) fn wants_fresh(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter();
    let mut words = values.filter_map(|value| value.to_str().ok());
    words.any(|words| words.contains("no-cache") || words.contains("no-store"))
}

/// What the client should know about its request, and whether its answer is one from before.
pub(super) fn headers(
    app: &App,
    model: Option<&str>,
    unknown: &[UnknownField],
    admitted: &Admitted,
) -> HeaderMap {
    let mut headers = warnings(app, model, unknown, admitted.notes.clone());
    if admitted.known {
        headers.insert("x-loopwatch-cache", HeaderValue::from_static("hit"));
    }
    headers
}

/// What the client should know about its request, as `Warning` headers.
pub(super) fn warnings(
    app: &App,
    model: Option<&str>,
    unknown: &[UnknownField],
    notes: Vec<String>,
) -> HeaderMap {
    let served = &app.served.name;
    let other = model
        .filter(|model| *model != served)
        .map(|model| format!("model '{model}' is not served here; {served} answers"));
    let texts = unknown
        .iter()
        .map(ToString::to_string)
        .chain(other)
        .chain(notes);
    let mut headers = HeaderMap::new();
    for text in texts.take(MOST_WARNINGS) {
        // 299: miscellaneous, persistent (RFC 7234, 5.5). The text is a quoted string.
        let text: String = text
            .chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .filter(|c| !matches!(c, '"' | '\\'))
            .take(400)
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 loopwatch \"{text}\"")) {
            headers.append("warning", value);
        }
    }
    headers
}

/// `GET /v1/models`.
pub(super) async fn models(State(app): State<Arc<App>>) -> Response {
    Json(ModelList {
        object: "list",
        data: vec![card(&app)],
    })
    .into_response()
}

/// `GET /v1/models/NAME`.
pub(super) async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    match name == app.served.name {
        true => Ok(Json(card(&app)).into_response()),
        false => {
            let problem = format!("there is no model '{name}'; {} is served", app.served.name);
            Err(Refusal::not_found(problem).with_code("model_not_found"))
        }
    }
}

fn card(app: &App) -> ModelCard<'_> {
    ModelCard {
        id: &app.served.name,
        object: "model",
        created: app.created,
        owned_by: "loopwatch",
    }
}
