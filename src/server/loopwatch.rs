//! The object `loopwatch` of an answer: the events behind it, for clients that asked with
//! `return_tokens`.

use super::watch::Complete;
use crate::generation::EventKind;
use crate::protocol::{Finish, Loopwatch, Started, TokenText};

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
        EventKind::Text(_) | EventKind::Retried(_) => {}
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
pub(super) fn whole(answer: &Complete) -> Loopwatch {
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
    }
}
