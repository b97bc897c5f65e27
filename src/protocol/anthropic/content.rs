//! Content blocks, lowered into messages: one message of Anthropic's may be several of ours, since
//! there a tool's result is part of what the user says.

use serde_json::Value;

use crate::generation::{Message, Role, ToolCall};
use crate::protocol::fields::{Fields, Unknown, WireError, items, kind};

/// What one message says, in order of kind.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    text: String,
    thinking: Option<String>,
    calls: Vec<ToolCall>,
    results: Vec<(String, String)>,
}

impl Blocks {
    /// Reads text, or a list of blocks.
    pub(super) fn read(
        value: &Value,
        place: &str,
        role: Role,
        unknown: &mut Unknown,
    ) -> Result<Self, WireError> {
        let mut blocks = Self::default();
        match value {
            Value::String(text) => blocks.text.push_str(text),
            Value::Array(_) => {
                for (block, place) in items(value, place)? {
                    blocks.block(block, place, role, unknown)?;
                }
            }
            other => {
                let problem = format!("expected text or a list of blocks, found {}", kind(other));
                return Err(WireError::new(place, problem));
            }
        }
        Ok(blocks)
    }

    fn block(
        &mut self,
        value: &Value,
        place: String,
        role: Role,
        unknown: &mut Unknown,
    ) -> Result<(), WireError> {
        let mut fields = Fields::of(value, place)?;
        fields.without_effect(&["cache_control", "citations"]);
        let kind = fields.text("type")?;
        match (kind.as_str(), role) {
            ("text", _) => self.text.push_str(&fields.text("text")?),
            ("thinking", Role::Assistant) => {
                let thought = fields.text("thinking")?;
                self.thinking.get_or_insert_default().push_str(&thought);
                fields.without_effect(&["signature"]);
            }
            // Only Anthropic can read it.
            ("redacted_thinking", Role::Assistant) => fields.without_effect(&["data"]),
            ("tool_use", Role::Assistant) => self.calls.push(tool_use(&mut fields)?),
            ("tool_result", Role::User) => {
                let result = tool_result(&mut fields, unknown)?;
                self.results.push(result);
            }
            ("thinking" | "redacted_thinking" | "tool_use", _) => {
                return Err(fields.error("type", format!("'{kind}' is for the assistant")));
            }
            ("tool_result", _) => {
                return Err(fields.error("type", "'tool_result' is for the user"));
            }
            _ => {
                let problem = format!("'{kind}' is not read here; text and tools are");
                return Err(fields.error("type", problem));
            }
        }
        fields.finish(unknown)
    }

    /// Adds what was said to the conversation: results first, as they answer what came before.
    pub(super) fn lower(
        self,
        role: Role,
        place: &str,
        messages: &mut Vec<Message>,
    ) -> Result<(), WireError> {
        let only_results = !self.results.is_empty() && self.text.is_empty();
        for (id, content) in self.results {
            let calls = messages.iter().flat_map(|message| &message.tool_calls);
            let call = calls.into_iter().find(|call| call.id.as_ref() == Some(&id));
            let Some(call) = call else {
                let problem = format!("no earlier message uses a tool with the id '{id}'");
                return Err(WireError::new(place, problem));
            };
            messages.push(Message {
                name: Some(call.name.clone()),
                tool_call_id: Some(id),
                ..Message::text(Role::Tool, content)
            });
        }
        if !only_results {
            messages.push(Message {
                tool_calls: self.calls,
                reasoning_content: self.thinking,
                ..Message::text(role, self.text)
            });
        }
        Ok(())
    }
}

fn tool_use(fields: &mut Fields<'_>) -> Result<ToolCall, WireError> {
    let arguments = match fields.required("input")? {
        Value::Object(object) => object.clone(),
        other => {
            return Err(fields.error(
                "input",
                format!("expected an object, found {}", kind(other)),
            ));
        }
    };
    fields.without_effect(&["caller"]);
    Ok(ToolCall {
        id: Some(fields.text("id")?),
        name: fields.text("name")?,
        arguments,
    })
}

/// The id of the call, and the text. That a tool failed stands in its text: chat templates have
/// no other place for it.
fn tool_result(
    fields: &mut Fields<'_>,
    unknown: &mut Unknown,
) -> Result<(String, String), WireError> {
    let id = fields.text("tool_use_id")?;
    fields.flag("is_error")?;
    let content = match fields.optional("content") {
        None => String::new(),
        Some(value) => text(value, &fields.place("content"), unknown)?,
    };
    Ok((id, content))
}

/// Text, or blocks that are all text.
pub(super) fn text(value: &Value, place: &str, unknown: &mut Unknown) -> Result<String, WireError> {
    if let Value::String(text) = value {
        return Ok(text.clone());
    }
    let mut texts = Vec::new();
    for (block, place) in items(value, place)? {
        let mut fields = Fields::of(block, place)?;
        fields.without_effect(&["cache_control", "citations"]);
        let kind = fields.text("type")?;
        if kind != "text" {
            return Err(fields.error("type", format!("'{kind}' is not text; only text is read")));
        }
        texts.push(fields.text("text")?);
        fields.finish(unknown)?;
    }
    Ok(texts.join("\n"))
}
