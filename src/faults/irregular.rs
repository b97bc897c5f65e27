//! Streams that can be read and are not what their API promises.
//!
//! Each is made of the events of a good stream. The names are those of the rules that are broken; what
//! a client makes of it is not known here.

use serde_json::{Value, json};

use super::answer::Sent;

/// A rule of the API that the stream breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Irregular {
    /// OpenAI: every chunk has an id of its own.
    Id,
    /// OpenAI: `object` is that of a whole answer.
    Object,
    /// OpenAI: no `created`.
    Created,
    /// OpenAI: no `model`.
    Model,
    /// OpenAI: nobody says `role: assistant`.
    Role,
    /// OpenAI: a first chunk without a choice.
    NoChoices,
    /// OpenAI: token counts in the chunk that says why the answer ended.
    UsageBesideChoices,
    /// OpenAI: the total of the tokens is 0.
    UsageCount,
    /// No token counts at the end.
    UsageMissing,
    /// The answer goes on after it has said why it ended.
    AfterFinish,
    /// It says twice why it ended.
    FinishAgain,
    /// A character is torn in two.
    TornCharacter,
    /// OpenAI: no `[DONE]`.
    NoDone,
    /// Anthropic: no `event:`.
    EventName,
    /// Anthropic: a message without a model.
    MessageHead,
    /// Anthropic: blocks are counted from 1.
    BlockIndex,
    /// Anthropic: text stands in a block of thoughts.
    DeltaType,
    /// Anthropic: no `message_stop`.
    NoMessageStop,
}

impl Irregular {
    /// All of them with their names, in the order of the documentation.
    pub const ALL: [(&'static str, Self); 18] = [
        ("id", Self::Id),
        ("object", Self::Object),
        ("created", Self::Created),
        ("model", Self::Model),
        ("role", Self::Role),
        ("no-choices", Self::NoChoices),
        ("usage-beside-choices", Self::UsageBesideChoices),
        ("usage-count", Self::UsageCount),
        ("usage-missing", Self::UsageMissing),
        ("after-finish", Self::AfterFinish),
        ("finish-again", Self::FinishAgain),
        ("torn-character", Self::TornCharacter),
        ("no-done", Self::NoDone),
        ("event-name", Self::EventName),
        ("message-head", Self::MessageHead),
        ("block-index", Self::BlockIndex),
        ("delta-type", Self::DeltaType),
        ("no-message-stop", Self::NoMessageStop),
    ];

    /// Whether the API has the rule.
    pub(super) fn is_of(self, anthropic: bool) -> bool {
        match self {
            Self::UsageMissing | Self::AfterFinish | Self::FinishAgain | Self::TornCharacter => {
                true
            }
            Self::EventName
            | Self::MessageHead
            | Self::BlockIndex
            | Self::DeltaType
            | Self::NoMessageStop => anthropic,
            _ => !anthropic,
        }
    }

    /// Breaks the rule.
    pub(super) fn spoil(self, events: &mut Vec<Sent>) {
        match self {
            Self::Id => {
                for (at, chunk) in documents(events).enumerate() {
                    chunk["id"] = json!(format!("chatcmpl-{at}"));
                }
            }
            Self::Object => each(events, |chunk| chunk["object"] = json!("chat.completion")),
            Self::Created => each(events, |chunk| without(chunk, "created")),
            Self::Model => each(events, |chunk| without(chunk, "model")),
            Self::Role => each(events, |chunk| {
                if let Some(delta) = chunk.pointer_mut("/choices/0/delta") {
                    without(delta, "role");
                }
            }),
            Self::NoChoices => {
                if let Some(mut first) = events.first().cloned() {
                    first.data["choices"] = json!([]);
                    events.insert(0, first);
                }
            }
            Self::UsageBesideChoices => {
                if let Some(at) = events.iter().position(|event| is_usage(&event.data)) {
                    let usage = events.remove(at).data["usage"].take();
                    if let Some(finish) = events.iter_mut().find(|event| is_finish(&event.data)) {
                        finish.data["usage"] = usage;
                    }
                }
            }
            Self::UsageCount => each(events, |chunk| {
                if let Some(total) = chunk.pointer_mut("/usage/total_tokens") {
                    *total = json!(0);
                }
            }),
            Self::UsageMissing => {
                events.retain(|event| !is_usage(&event.data));
                each(events, |event| {
                    if event["type"] == "message_delta" {
                        without(event, "usage");
                    }
                });
            }
            Self::AfterFinish => {
                if let Some(at) = events.iter().position(|event| is_finish(&event.data))
                    && at > 0
                {
                    events.swap(at - 1, at);
                }
            }
            Self::FinishAgain => {
                if let Some(at) = events.iter().position(|event| is_finish(&event.data)) {
                    events.insert(at, events[at].clone());
                }
            }
            Self::TornCharacter => tear(events),
            Self::NoDone => events.retain(|event| !event.is_done()),
            Self::EventName => events.iter_mut().for_each(|event| event.name.clear()),
            Self::MessageHead => each(events, |event| {
                if let Some(message) = event.get_mut("message") {
                    without(message, "model");
                }
            }),
            Self::BlockIndex => each(events, |event| {
                if let Some(index) = event.get("index").and_then(Value::as_u64) {
                    event["index"] = json!(index + 1);
                }
            }),
            Self::DeltaType => each(events, |event| {
                if let Some(block) = event.get_mut("content_block") {
                    *block = json!({"type": "thinking", "thinking": ""});
                }
            }),
            Self::NoMessageStop => events.retain(|event| event.data["type"] != "message_stop"),
        }
    }
}

fn each(events: &mut [Sent], change: impl FnMut(&mut Value)) {
    documents(events).for_each(change);
}

/// The data of the events, but for `[DONE]`.
fn documents(events: &mut [Sent]) -> impl Iterator<Item = &mut Value> {
    let data = events.iter_mut().map(|event| &mut event.data);
    data.filter(|data| data.is_object())
}

fn without(object: &mut Value, name: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(name);
    }
}

/// OpenAI's chunk of the token counts.
fn is_usage(data: &Value) -> bool {
    data.get("choices").is_some() && data.get("usage").is_some()
}

/// The event that says why the answer ended, in either form.
fn is_finish(data: &Value) -> bool {
    let reason = data.pointer("/choices/0/finish_reason");
    reason.is_some_and(Value::is_string) || data["type"] == "message_delta"
}

/// Puts the two halves of a character behind the first text and before the second.
fn tear(events: &mut [Sent]) {
    let texts = documents(events).filter_map(|data| {
        let openai = data.pointer("/choices/0/delta/content").is_some();
        let place = match openai {
            true => "/choices/0/delta/content",
            false => "/delta/text",
        };
        data.pointer_mut(place)
    });
    let said = texts.filter(|text| text.as_str().is_some_and(|text| !text.is_empty()));
    for (at, text) in said.take(2).enumerate() {
        let whole = text.as_str().unwrap_or_default();
        *text = match at {
            0 => json!(format!("{whole}\u{fffd}")),
            _ => json!(format!("\u{fffd}{whole}")),
        };
    }
}
