//! The rules of a stream of Anthropic's events.
//!
//! They are those of the published flow: `message_start` with an empty message, blocks that are
//! numbered as they come, each started and stopped before the next, `message_delta` with the reason
//! and the counts, `message_stop`. Pings may come at any time. What the reader refuses is not here.

use serde_json::{Map, Value};

use super::notes::{Notes, bad_arguments, filled, shown};
use super::{Audit, SseEvent};
use crate::generation::StreamNotes;

type Object = Map<String, Value>;

/// Most blocks that are kept; a stream with more is told of the first ones.
const MOST_BLOCKS: usize = 1024;

/// Which deltas a block of each type has. Of other types, nothing is known.
const DELTAS: [(&str, &[&str]); 4] = [
    ("text", &["text_delta", "citations_delta"]),
    ("thinking", &["thinking_delta", "signature_delta"]),
    ("tool_use", &["input_json_delta"]),
    ("server_tool_use", &["input_json_delta"]),
];

/// A block as it was started.
struct Block {
    kind: String,
    open: bool,
    json: String,
    last: usize,
}

/// One stream.
#[derive(Default)]
pub(in super::super) struct Anthropic {
    notes: Notes,
    blocks: Vec<Block>,
    stop_reason: Option<String>,
    /// `output_tokens` as it was counted last.
    counted: Option<u64>,
    /// Tokens that a loopwatch server told.
    tokens: u64,
    stopped: bool,
}

impl Anthropic {
    fn message(&mut self, message: &Object) {
        let is = |name: &str, text: &str| message.get(name).and_then(Value::as_str) == Some(text);
        let empty = message.get("content").and_then(Value::as_array);
        let usage = message
            .get("usage")
            .and_then(|usage| usage.get("input_tokens"));
        let right = [
            ("id", filled(message.get("id"))),
            ("type", is("type", "message")),
            ("role", is("role", "assistant")),
            ("model", filled(message.get("model"))),
            ("content", empty.is_some_and(Vec::is_empty)),
            ("usage", usage.is_some_and(Value::is_u64)),
        ];
        for (name, _) in right.into_iter().filter(|(_, right)| !right) {
            let found = format!("'{name}' of message_start is {}", shown(message.get(name)));
            self.notes.note("message-head", found);
        }
    }

    fn start(&mut self, index: Option<u64>, block: &Object) {
        let next = self.blocks.len();
        if next >= MOST_BLOCKS {
            return;
        }
        if index != Some(next as u64) {
            let index = index.map_or_else(|| "without a number".to_owned(), |at| at.to_string());
            let found = format!("block {index} starts where {next} is next");
            self.notes.note("block-index", found);
        }
        if let Some(open) = self.blocks.iter().position(|block| block.open) {
            let found = format!("block {next} starts while block {open} is open");
            self.notes.note("block-overlap", found);
        }
        let kind = block
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if kind == "tool_use" {
            let heads = [("id", block.get("id")), ("name", block.get("name"))];
            for (name, value) in heads.into_iter().filter(|(_, value)| !filled(*value)) {
                let found = format!("'{name}' of a tool_use block is {}", shown(value));
                self.notes.note("tool-call-head", found);
            }
        }
        let last = self.notes.event();
        self.blocks.push(Block {
            kind: kind.to_owned(),
            open: true,
            json: String::new(),
            last,
        });
    }

    /// Blocks are found by their number where those are right, and else by which one is open.
    fn at(&self, index: Option<u64>) -> Option<usize> {
        let named = index.and_then(|index| usize::try_from(index).ok());
        let open = |at: &usize| self.blocks.get(*at).is_some_and(|block| block.open);
        let last = self.blocks.iter().rposition(|block| block.open);
        named.filter(open).or(last)
    }

    fn delta(&mut self, index: Option<u64>, delta: &Object) {
        let event = self.notes.event();
        let kind = delta
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(at) = self.at(index) else { return };
        let block = &mut self.blocks[at];
        block.last = event;
        let text = |name: &str| delta.get(name).and_then(Value::as_str).unwrap_or_default();
        let known = DELTAS.iter().find(|(of, _)| *of == block.kind);
        let listed = DELTAS.iter().any(|(_, kinds)| kinds.contains(&kind));
        let strange = known.is_some_and(|(_, kinds)| listed && !kinds.contains(&kind));
        block.json.push_str(text("partial_json"));
        if strange {
            let found = format!("a {kind} stands in a block of type {:?}", block.kind);
            self.notes.note("delta-type", found);
        }
        for name in ["text", "thinking", "partial_json"] {
            self.notes.fragment((name, at as u64), text(name));
        }
    }

    /// The reason and the counts.
    fn message_delta(&mut self, event: &Object) {
        let counted = event
            .get("usage")
            .and_then(|usage| usage.get("output_tokens"));
        match counted.and_then(Value::as_u64) {
            Some(count) => self.counted = Some(count),
            None => {
                let found = format!("usage.output_tokens of message_delta is {}", shown(counted));
                self.notes.note("usage-missing", found);
            }
        }
        let reason = event
            .get("delta")
            .and_then(|delta| delta.get("stop_reason"));
        if let Some(reason) = reason.and_then(Value::as_str)
            && let Some(before) = self.stop_reason.replace(reason.to_owned())
        {
            let found = format!("the stop_reason {reason:?} comes after {before:?}");
            self.notes.note("finish-again", found);
        }
    }

    fn take(&mut self, kind: &str, event: &Object) {
        let index = event.get("index").and_then(Value::as_u64);
        let empty = Object::new();
        let part = |name: &str| event.get(name).and_then(Value::as_object).unwrap_or(&empty);
        if kind.starts_with("content_block") && self.stop_reason.is_some() {
            let found = format!("{kind} comes after the stop_reason");
            self.notes.note("after-finish", found);
        }
        match kind {
            "message_start" => self.message(part("message")),
            "content_block_start" => self.start(index, part("content_block")),
            "content_block_delta" => self.delta(index, part("delta")),
            "content_block_stop" => {
                if let Some(at) = self.at(index) {
                    self.blocks[at].open = false;
                }
            }
            "message_delta" => self.message_delta(event),
            "message_stop" => self.stopped = true,
            _ => {}
        }
    }
}

impl Audit for Anthropic {
    fn see(&mut self, event: &SseEvent) {
        self.notes.next();
        let Ok(Value::Object(object)) = serde_json::from_str(&event.data) else {
            return;
        };
        if event.name == "loopwatch" {
            let told = object.get("loopwatch").and_then(Value::as_object);
            let told = told.unwrap_or(&object).get("tokens");
            self.tokens += told.and_then(Value::as_array).map_or(0, Vec::len) as u64;
            return;
        }
        let kind = object
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if event.name != kind {
            let found = match event.name.as_str() {
                "" => format!("there is no 'event:' beside the type {kind:?}"),
                name => format!("'event:' is {name:?} beside the type {kind:?}"),
            };
            self.notes.note("event-name", found);
        }
        self.take(kind, &object);
    }

    fn end(mut self: Box<Self>) -> StreamNotes {
        // What the limit cut off is not the stream's fault.
        let whole = self.stop_reason.as_deref() != Some("max_tokens");
        for block in &self.blocks {
            if let Some(found) = bad_arguments(&block.json).filter(|_| whole) {
                self.notes.note_at(block.last, "tool-arguments", found);
            }
        }
        if self.stop_reason.is_none() {
            let found = "no message_delta has a stop_reason";
            self.notes.missing("stop-reason", found);
        }
        if let Some(counted) = self
            .counted
            .filter(|counted| self.tokens > 0 && *counted != self.tokens)
        {
            let told = self.tokens;
            let found = format!("{told} tokens were told, and output_tokens is {counted}");
            self.notes.missing("usage-count", found);
        }
        if !self.stopped {
            let found = "the stream ended without message_stop";
            self.notes.missing("no-message-stop", found);
        }
        self.notes.end()
    }
}
