//! Anthropic's paths.

mod stream;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::json;

use super::admission::{App, Order};
use super::body;
use super::headers::{headers, wants_fresh, warnings};
use super::refusal::{Api, Refusal};
use super::watch::{Complete, Watched};
use super::{Vocabulary, loopwatch, names};
use crate::generation::{EventKind, FinishReason};
use crate::protocol::anthropic::{MessageAnswer, MessagesRequest, OutBlock, stop_reason};

/// `POST /v1/messages`.
pub(super) async fn messages(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let fresh = wants_fresh(request.headers());
    let body = body::json(&app, request).await?;
    let request = MessagesRequest::read(&body)?;
    let stops = request.sampling.stop.clone().unwrap_or_default();
    let admitted = app.admit(order(&request, fresh)).await?;
    let warnings = headers(&app, request.model.as_deref(), &request.unknown, &admitted);
    let answers = admitted.answers;
    let response = match request.stream {
        true => stream::respond(app, answers, stops, request.return_tokens).await?,
        false => complete(&app, answers, &stops, request.return_tokens).await?,
    };
    Ok((warnings, response).into_response())
}

/// `POST /v1/messages/count_tokens`: as many as the answer's usage would say.
pub(super) async fn count_tokens(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let body = body::json(&app, request).await?;
    let request = MessagesRequest::read_to_count(&body)?;
    let warnings = warnings(&app, request.model.as_deref(), &request.unknown, Vec::new());
    let count = match app.count(request.prompt.clone()).await? {
        (_, Some(count)) => count,
        (_, None) => count_by_asking(&app, &request).await?,
    };
    Ok((warnings, Json(json!({"input_tokens": count}))).into_response())
}

/// A target whose tokens are not known tells the count when it starts; then it is let go.
async fn count_by_asking(app: &App, request: &MessagesRequest) -> Result<usize, Refusal> {
    let mut answers = app.admit(order(request, true)).await?.answers;
    let first = match answers.first_mut() {
        Some(answer) => answer.next().await,
        None => None,
    };
    match first.transpose()?.map(|seen| seen.event.kind) {
        Some(EventKind::Started { input_tokens }) => Ok(input_tokens),
        _ => Err(Refusal::not_found(
            "this model does not tell how many tokens a prompt has".to_owned(),
        )),
    }
}

fn order(request: &MessagesRequest, fresh: bool) -> Order {
    Order {
        api: Api::Anthropic,
        field: "messages",
        prompts: vec![request.prompt.clone()],
        sampling: request.sampling.clone(),
        top_logprobs: 0,
        constraint: request.constraint.clone().map(|form| (form, "tools")),
        n: 1,
        fresh,
    }
}

async fn complete(
    app: &App,
    answers: Vec<Watched>,
    stops: &[String],
    return_tokens: bool,
) -> Result<Response, Refusal> {
    let answers = super::answers::complete(answers).await?;
    let Some(answer) = answers.first() else {
        return Err(Refusal::stopping());
    };
    let ids = answer.transcript.token_ids();
    let said = &answer.transcript.text;
    let vocabulary = app.served.vocabulary.as_deref();
    let message = MessageAnswer {
        id: &names::id("msg_"),
        r#type: "message",
        role: "assistant",
        model: &app.served.name,
        content: blocks(answer),
        stop_reason: Some(stop_reason(answer.reason())),
        stop_sequence: stop_sequence(answer.reason(), stops, said, &ids, vocabulary),
        usage: answer.usage().into(),
        loopwatch: loopwatch::told(&answers, return_tokens),
    };
    Ok(loopwatch::mark(&answers, Json(message).into_response()))
}

fn blocks(answer: &Complete) -> Vec<OutBlock> {
    let mut blocks = Vec::new();
    if let Some(thought) = &answer.transcript.reasoning {
        blocks.push(OutBlock::Thinking {
            thinking: thought.clone(),
            signature: "",
        });
    }
    if !answer.content().is_empty() {
        blocks.push(OutBlock::Text {
            text: answer.content().to_owned(),
        });
    }
    for call in &answer.transcript.tool_calls {
        blocks.push(OutBlock::ToolUse {
            id: call.id.clone().unwrap_or_else(|| names::id("toolu_")),
            name: call.name.clone(),
            input: call.arguments.clone(),
        });
    }
    blocks
}

/// Which stop string ended an answer. Events say that one did; with several, the tokens tell which:
/// their text goes on where the answer's was cut.
fn stop_sequence(
    reason: FinishReason,
    stops: &[String],
    said: &str,
    ids: &[u32],
    vocabulary: Option<&dyn Vocabulary>,
) -> Option<String> {
    match stops {
        _ if reason != FinishReason::StopSequence => None,
        [only] => Some(only.clone()),
        _ => {
            let all = vocabulary?.text(ids);
            let cut = all.get(said.len()..)?;
            let candidates = stops.iter().filter(|stop| cut.starts_with(stop.as_str()));
            // Of those that begin there, the first to be complete ended it.
            candidates.min_by_key(|stop| stop.len()).cloned()
        }
    }
}
