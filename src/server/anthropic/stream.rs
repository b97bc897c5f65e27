//! A message as events: `message_start`, its blocks one after the other, `message_delta`,
//! `message_stop`, and pings in between.

use std::sync::Arc;

use axum::response::Response;
use axum::response::sse::Event as Sse;
use serde_json::{Value, json};

use super::super::admission::App;
use super::super::answers::Merged;
use super::super::refusal::{Api, Refusal};
use super::super::sse::{self, Narrator, Out};
use super::super::watch::{Seen, Watched};
use super::super::{loopwatch, names};
use super::stop_sequence;
use crate::generation::{Channel, EventKind, FinishReason, ToolCall, Usage};
use crate::protocol::anthropic::{MessageAnswer, MessageUsage, stop_reason};

/// The answer as a stream.
pub(super) async fn respond(
    app: Arc<App>,
    answers: Vec<Watched>,
    stops: Vec<String>,
    return_tokens: bool,
) -> Result<Response, Refusal> {
    let every = app.options.time_outs.keep_alive;
    let narrator = MessageNarrator {
        app,
        stops,
        return_tokens,
        text: String::new(),
        ids: Vec::new(),
        block: 0,
        open: None,
    };
    let (merged, first) = Merged::begin(answers).await?;
    Ok(sse::respond(merged, first, narrator, every))
}

struct MessageNarrator {
    app: Arc<App>,
    stops: Vec<String>,
    return_tokens: bool,
    /// Everything the model said, and its tokens, to find the stop sequence.
    text: String,
    ids: Vec<u32>,
    /// The number of the next block, or of the open one.
    block: usize,
    /// What the open block holds, if one is open.
    open: Option<Channel>,
}

impl MessageNarrator {
    fn start(&self, input_tokens: usize, out: &mut Out) {
        let message = MessageAnswer {
            id: &names::id("msg_"),
            r#type: "message",
            role: "assistant",
            model: &self.app.served.name,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            // How much of it is cached is only known at the end.
            usage: MessageUsage {
                input_tokens,
                ..MessageUsage::default()
            },
            loopwatch: None,
        };
        let event = json!({"type": "message_start", "message": message});
        out.event("message_start", &event);
        out.event("ping", &ping());
    }

    fn say(&mut self, channel: Channel, text: &str, out: &mut Out) {
        let (block, delta) = match channel {
            Channel::Content => (
                json!({"type": "text", "text": ""}),
                json!({"type": "text_delta", "text": text}),
            ),
            Channel::Reasoning => (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                json!({"type": "thinking_delta", "thinking": text}),
            ),
            // A call is sent when it is complete.
            Channel::ToolCall => return,
        };
        if self.open != Some(channel) {
            self.close_text(out);
            self.open = Some(channel);
            self.open(&block, out);
        }
        self.delta(&delta, out);
    }

    fn call(&mut self, call: &ToolCall, out: &mut Out) {
        self.close_text(out);
        let id = call.id.clone().unwrap_or_else(|| names::id("toolu_"));
        let block = json!({"type": "tool_use", "id": id, "name": call.name, "input": {}});
        self.open(&block, out);
        let arguments = Value::Object(call.arguments.clone()).to_string();
        let delta = json!({"type": "input_json_delta", "partial_json": arguments});
        self.delta(&delta, out);
        self.close(out);
    }

    fn open(&self, block: &Value, out: &mut Out) {
        let event =
            json!({"type": "content_block_start", "index": self.block, "content_block": block});
        out.event("content_block_start", &event);
    }

    fn delta(&self, delta: &Value, out: &mut Out) {
        let event = json!({"type": "content_block_delta", "index": self.block, "delta": delta});
        out.event("content_block_delta", &event);
    }

    fn close(&mut self, out: &mut Out) {
        let event = json!({"type": "content_block_stop", "index": self.block});
        out.event("content_block_stop", &event);
        self.block += 1;
    }

    /// Ends the open text or thought.
    fn close_text(&mut self, out: &mut Out) {
        let Some(channel) = self.open.take() else {
            return;
        };
        if channel == Channel::Reasoning {
            // Clients expect it at the end of a thought. What it proves is Anthropic's secret.
            self.delta(&json!({"type": "signature_delta", "signature": ""}), out);
        }
        self.close(out);
    }

    fn finish(&self, reason: FinishReason, usage: Usage, out: &mut Out) {
        let vocabulary = self.app.served.vocabulary.as_deref();
        let stop = stop_sequence(reason, &self.stops, &self.text, &self.ids, vocabulary);
        let event = json!({
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason(reason), "stop_sequence": stop},
            "usage": MessageUsage::from(usage),
        });
        out.event("message_delta", &event);
    }
}

impl Narrator for MessageNarrator {
    fn tell(&mut self, _: usize, Seen { event, found }: Seen, out: &mut Out) {
        if let Some(found) = found {
            out.event("loopwatch", &loopwatch::found(found));
        }
        let has_parts = match &event.kind {
            EventKind::Delta { .. } | EventKind::ToolCall(_) | EventKind::Finished { .. } => true,
            EventKind::Started { .. }
            | EventKind::Said { .. }
            | EventKind::Text(_)
            | EventKind::Retried(_)
            | EventKind::Streamed(_) => false,
        };
        if self.return_tokens && has_parts {
            out.event("loopwatch", &loopwatch::part(&event.kind));
        }
        match event.kind {
            EventKind::Started { input_tokens } => {
                self.start(input_tokens, out);
                if self.return_tokens {
                    out.event("loopwatch", &loopwatch::part(&event.kind));
                }
            }
            EventKind::Delta { token, text } => {
                self.ids.push(token.id);
                self.text.push_str(&text);
            }
            EventKind::Said { channel, text } => self.say(channel, &text, out),
            EventKind::Text(piece) => {
                if piece.channel == Channel::Content {
                    self.text.push_str(&piece.text);
                }
                self.say(piece.channel, &piece.text, out);
            }
            EventKind::Retried(_) | EventKind::Streamed(_) => {}
            EventKind::ToolCall(call) => self.call(&call, out),
            EventKind::Finished {
                reason,
                text,
                usage,
                ..
            } => {
                self.text.push_str(&text);
                self.close_text(out);
                self.finish(reason, usage, out);
            }
        }
    }

    fn end(&mut self, out: &mut Out) {
        out.event("message_stop", &json!({"type": "message_stop"}));
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut Out) {
        out.event("error", &refusal.body(Api::Anthropic));
    }

    fn keep_alive(&self) -> Sse {
        Sse::default().event("ping").data(ping().to_string())
    }
}

fn ping() -> Value {
    json!({"type": "ping"})
}
