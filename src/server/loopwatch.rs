//! The object `loopwatch` of an answer: the events behind it, for clients that asked with
//! `return_tokens`, and the loop in it, for all, where the server tells of loops.

use axum::http::HeaderValue;
use axum::response::Response;

use super::watch::Complete;
use crate::generation::EventKind;
use crate::protocol::{Finish, FoundLoop, Loopwatch, Started, TokenText};

/// A loop alone.
pub(super) fn found(found: FoundLoop) -> Loopwatch {
    Loopwatch {
        loops: vec![found],
        ..Loopwatch::default()
    }
}

/// What a chunk tells: what was asked for, and a loop.
pub(super) fn with(told: Option<Loopwatch>, loops: Vec<FoundLoop>) -> Option<Loopwatch> {
    match loops.is_empty() {
        true => told,
        false => Some(Loopwatch {
            loops,
            ..told.unwrap_or_default()
        }),
    }
}

/// What the body of complete answers tells.
pub(super) fn told(answers: &[Complete], return_tokens: bool) -> Option<Loopwatch> {
    let told = answers.first().filter(|_| return_tokens).map(whole);
    with(told, loops(answers))
}

/// The loops of complete answers, each with the number of its answer.
fn loops(answers: &[Complete]) -> Vec<FoundLoop> {
    let numbered = answers.iter().enumerate();
    let found = numbered.filter_map(|(choice, answer)| {
        let found = answer.found?;
        Some(FoundLoop { choice, ..found })
    });
    found.collect()
}

/// Tells the loops of complete answers in headers too, for whoever reads no bodies.
pub(super) fn mark(answers: &[Complete], mut response: Response) -> Response {
    for FoundLoop {
        choice,
        period,
        onset,
        at,
    } in loops(answers)
    {
        let text = format!("choice={choice}; period={period}; onset={onset}; at={at}");
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append("x-loopwatch-loop", value);
        }
    }
    response
}

/// One event of a stream.
pub(super) fn part(kind: &EventKind) -> Loopwatch {
    let mut part = Loopwatch::default();
    match kind {
        EventKind::Started { input_tokens } => {
            part.started = Some(Started {
                input_tokens: *input_tokens,
            });
        }
        EventKind::Delta { token, text } => part.tokens.push(TokenText::of(token, text)),
        // A target that does not tell its tokens cannot have them told.
        EventKind::Text(_) | EventKind::Retried(_) | EventKind::Streamed(_) => {}
        // It is told at the end, and in the words of the API.
        EventKind::Said { .. } => {}
        EventKind::ToolCall(call) => part.tool_call = Some(call.clone()),
        EventKind::Finished {
            reason,
            text,
            content,
            reasoning,
            usage,
        } => {
            part.finish = Some(Finish {
                reason: *reason,
                text: text.clone(),
                content: content.clone(),
                reasoning: reasoning.clone(),
                usage: *usage,
            });
        }
    }
    part
}

/// All events of a complete answer.
fn whole(answer: &Complete) -> Loopwatch {
    let transcript = &answer.transcript;
    Loopwatch {
        started: Some(Started {
            input_tokens: transcript.usage.input_tokens,
        }),
        tokens: transcript
            .tokens
            .iter()
            .zip(answer.token_texts())
            .map(|(token, text)| TokenText::of(token, text))
            .collect(),
        tool_call: None,
        tool_calls: transcript.tool_calls.clone(),
        finish: Some(Finish {
            reason: transcript.finish_reason,
            text: answer.late.clone(),
            content: transcript.content.clone(),
            reasoning: transcript.reasoning.clone(),
            usage: transcript.usage,
        }),
        loops: Vec::new(),
    }
}
