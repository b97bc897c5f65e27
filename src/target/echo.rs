//! A target that answers with what was said last, at once and without a model: for trying
//! assertions.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{EventStream, Target};
use crate::generation::{
    Channel, Event, EventKind, FinishReason, GenerateRequest, Message, Prompt, TextPiece, Usage,
};

/// Answers with the prompt, or with the last message of a conversation.
#[derive(Debug, Clone, Copy, Default)]
pub struct EchoTarget;

impl Target for EchoTarget {
    fn generate(&self, request: GenerateRequest) -> EventStream {
        let text = match request.prompt {
            Prompt::Chat { messages, .. } => messages.last().map_or_else(String::new, said),
            Prompt::Text { text } => text,
            Prompt::Tokens { .. } => String::new(),
        };
        let (at, none) = (Duration::ZERO, text.is_empty());
        let usage = Usage {
            output_tokens: text.split_whitespace().count(),
            ..Usage::default()
        };
        let piece = EventKind::Text(TextPiece {
            channel: Channel::Content,
            text,
            logprobs: Vec::new(),
        });
        let finished = EventKind::Finished {
            reason: FinishReason::Stop,
            text: String::new(),
            content: None,
            reasoning: None,
            usage,
        };
        let kinds = [EventKind::Started { input_tokens: 0 }, piece, finished];
        // A piece is never empty.
        let kept = kinds
            .into_iter()
            .filter(move |kind| !(none && matches!(kind, EventKind::Text(_))));
        let events = kept.map(move |kind| Event { at, kind });
        stream::iter(events.map(Ok)).boxed()
    }
}

fn said(message: &Message) -> String {
    message.content.clone()
}
