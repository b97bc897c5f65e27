//! OpenAI's paths.

mod chat;
mod logprobs;
mod text;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::{IntoResponse, Response};

use super::admission::{App, Order};
use super::body;
use super::headers::{headers, wants_fresh};
use super::refusal::{Api, Refusal};
use crate::generation::{Constraint, Prompt};
use crate::protocol::openai::{ChatRequest, Common, CompletionRequest, ModelCard, ModelList};

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
