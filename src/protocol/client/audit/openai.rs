//! The rules of a stream of OpenAI's chunks, chat or plain.
//!
//! They are those of the published form of `chat.completion.chunk` and of `text_completion`, and
//! what the official SDKs rest on when they put fragments together.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::notes::{Notes, bad_arguments, filled, shown};
use super::{Audit, SseEvent};
use crate::generation::StreamNotes;

type Object = Map<String, Value>;

/// Most calls whose arguments are kept; the reader refuses an answer with more.
const MOST_CALLS: usize = 256;

/// What the two kinds of answers call the same things.
struct Kind {
    object: &'static str,
    says: &'static str,
}

const CHAT: Kind = Kind {
    object: "chat.completion.chunk",
    says: "delta",
};
const PLAIN: Kind = Kind {
    object: "text_completion",
    says: "text",
};

/// A call as its fragments make it.
#[derive(Default)]
struct Call {
    arguments: String,
    last: usize,
}

/// One stream.
pub(in super::super) struct OpenAi {
    notes: Notes,
    kind: &'static Kind,
    /// `id` and `created` of the first chunk.
    head: [Option<Value>; 2],
    said: bool,
    finish: Option<String>,
    usage: Option<Object>,
    /// Tokens that a loopwatch server told.
    tokens: u64,
    calls: BTreeMap<u64, Call>,
    done: bool,
}

impl OpenAi {
    pub(in super::super) fn new(chat: bool) -> Self {
        Self {
            notes: Notes::default(),
            kind: if chat { &CHAT } else { &PLAIN },
            head: [None, None],
            said: false,
            finish: None,
            usage: None,
            tokens: 0,
            calls: BTreeMap::new(),
            done: false,
        }
    }

    /// What every chunk has, and the same in all of them.
    fn head(&mut self, chunk: &Object) {
        for (at, (name, right)) in [
            ("id", filled(chunk.get("id"))),
            ("created", chunk.get("created").is_some_and(Value::is_u64)),
        ]
        .into_iter()
        .enumerate()
        {
            let value = chunk.get(name);
            if !right {
                self.notes
                    .note(name, format!("'{name}' is {}", shown(value)));
                continue;
            }
            let first = self.head[at].get_or_insert_with(|| value.cloned().unwrap_or_default());
            if Some(&*first) != value {
                let found = format!(
                    "'{name}' is {}, and was {} before",
                    shown(value),
                    shown(Some(first))
                );
                self.notes.note(name, found);
            }
        }
        let object = chunk.get("object");
        if object.and_then(Value::as_str) != Some(self.kind.object) {
            let found = format!("'object' is {}, not {:?}", shown(object), self.kind.object);
            self.notes.note("object", found);
        }
        if !filled(chunk.get("model")) {
            let found = format!("'model' is {}", shown(chunk.get("model")));
            self.notes.note("model", found);
        }
    }

    /// Token counts come once, at the end, in a chunk of their own.
    fn usage(&mut self, chunk: &Object, choices: usize) {
        let Some(usage) = chunk.get("usage").and_then(Value::as_object) else {
            if choices == 0 {
                let found = "'choices' is empty in a chunk without 'usage'";
                self.notes.note("no-choices", found);
            }
            return;
        };
        if choices > 0 {
            let found = "'usage' stands in a chunk whose 'choices' are not empty";
            self.notes.note("usage-beside-choices", found);
        }
        if self.usage.replace(usage.clone()).is_some() {
            self.notes.note("usage-again", "'usage' comes once more");
        }
        let count = |name: &str| usage.get(name).and_then(Value::as_u64);
        let parts = count("prompt_tokens").zip(count("completion_tokens"));
        let sum = parts.and_then(|(prompt, answer)| prompt.checked_add(answer));
        if sum.is_none() || sum != count("total_tokens") {
            let found = format!(
                "prompt_tokens {}, completion_tokens {} and total_tokens {} do not add up",
                shown(usage.get("prompt_tokens")),
                shown(usage.get("completion_tokens")),
                shown(usage.get("total_tokens")),
            );
            self.notes.note("usage-count", found);
        }
    }

    fn choice(&mut self, choice: &Object) {
        if choice.get("index").and_then(Value::as_u64).is_none() {
            let found = format!("'index' of a choice is {}", shown(choice.get("index")));
            self.notes.note("choice", found);
        }
        let says = self.kind.says;
        let said = match choice.get(says) {
            Some(Value::Object(delta)) if says == CHAT.says => self.delta(delta),
            Some(Value::String(text)) if says == PLAIN.says => {
                self.notes.fragment(("the text", 0), text);
                !text.is_empty()
            }
            other => {
                let found = format!("'{says}' of a choice is {}", shown(other));
                self.notes.note("choice", found);
                false
            }
        };
        if let (true, Some(finish)) = (said, &self.finish) {
            let found = format!("more of the answer comes after the finish_reason {finish:?}");
            self.notes.note("after-finish", found);
        }
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str)
            && let Some(before) = self.finish.replace(finish.to_owned())
        {
            let found = format!("the finish_reason {finish:?} comes after {before:?}");
            self.notes.note("finish-again", found);
        }
    }

    /// Whether it brought anything of the answer.
    fn delta(&mut self, delta: &Object) -> bool {
        if !std::mem::replace(&mut self.said, true) {
            let role = delta.get("role");
            if role.and_then(Value::as_str) != Some("assistant") {
                let found = format!("'role' of the first delta is {}", shown(role));
                self.notes.note("role", found);
            }
        }
        let mut said = false;
        for name in ["content", "reasoning_content", "reasoning"] {
            if let Some(text) = delta.get(name).and_then(Value::as_str) {
                self.notes.fragment((name, 0), text);
                said |= !text.is_empty();
            }
        }
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten().filter_map(Value::as_object) {
            self.call(call);
            said = true;
        }
        said
    }

    fn call(&mut self, call: &Object) {
        let Some(index) = call.get("index").and_then(Value::as_u64) else {
            let found = format!("'index' of a tool call is {}", shown(call.get("index")));
            return self.notes.note("tool-call-index", found);
        };
        let function = call.get("function").and_then(Value::as_object);
        let function = |name: &str| function.and_then(|function| function.get(name));
        let heads = [
            ("id", call.get("id")),
            ("type", call.get("type")),
            ("function.name", function("name")),
        ];
        let next = self.calls.len() as u64;
        if !self.calls.contains_key(&index) {
            if self.calls.len() >= MOST_CALLS {
                return;
            }
            if index != next {
                let found = format!("tool call {index} comes where {next} is next");
                self.notes.note("tool-call-index", found);
            }
            for (name, value) in heads.into_iter().filter(|(_, value)| !filled(*value)) {
                let found = format!(
                    "'{name}' is {} in the first fragment of tool call {index}",
                    shown(value)
                );
                self.notes.note("tool-call-head", found);
            }
        } else {
            // Clients that join fragments join these, too; a type is always the same.
            let joined = heads.into_iter().filter(|(name, _)| *name != "type");
            for (name, value) in joined.filter(|(_, value)| filled(*value)) {
                let found = format!(
                    "'{name}' of tool call {index} comes again: {}",
                    shown(value)
                );
                self.notes.note("tool-call-head-again", found);
            }
        }
        let arguments = function("arguments").and_then(Value::as_str).unwrap_or("");
        self.notes.fragment(("the arguments", index), arguments);
        let event = self.notes.event();
        let call = self.calls.entry(index).or_default();
        call.arguments.push_str(arguments);
        call.last = event;
    }
}

impl Audit for OpenAi {
    fn see(&mut self, event: &SseEvent) {
        self.notes.next();
        if event.data == "[DONE]" {
            self.done = true;
            return;
        }
        let Ok(Value::Object(chunk)) = serde_json::from_str(&event.data) else {
            return;
        };
        self.head(&chunk);
        let choices = chunk.get("choices").and_then(Value::as_array);
        self.usage(&chunk, choices.map_or(0, Vec::len));
        for choice in choices.into_iter().flatten().filter_map(Value::as_object) {
            self.choice(choice);
        }
        let told = chunk.get("loopwatch").and_then(|told| told.get("tokens"));
        self.tokens += told.and_then(Value::as_array).map_or(0, Vec::len) as u64;
    }

    fn end(mut self: Box<Self>) -> StreamNotes {
        for call in self.calls.values() {
            // What the limit cut off is not the stream's fault.
            let whole = self.finish.as_deref() != Some("length");
            if let Some(found) = bad_arguments(&call.arguments).filter(|_| whole) {
                self.notes.note_at(call.last, "tool-arguments", found);
            }
        }
        match &self.usage {
            None => {
                let found = "stream_options.include_usage was asked for, and no 'usage' came";
                self.notes.missing("usage-missing", found);
            }
            Some(usage) => {
                let counted = usage.get("completion_tokens").and_then(Value::as_u64);
                if self.tokens > 0 && counted != Some(self.tokens) {
                    let found = format!(
                        "{} tokens were told, and completion_tokens is {}",
                        self.tokens,
                        shown(usage.get("completion_tokens"))
                    );
                    self.notes.missing("usage-count", found);
                }
            }
        }
        if !self.done {
            self.notes
                .missing("no-done", "the stream ended without [DONE]");
        }
        self.notes.end()
    }
}
