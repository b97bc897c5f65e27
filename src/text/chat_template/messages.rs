//! The conversation as templates expect it: OpenAI's form, with arguments as objects.

use serde_json::{Value, json};

use crate::generation::{Message, Role, ToolCall, ToolSpec};

/// All messages. A call that has no id gets one, and so does the result that answers it: a client
/// of a server always sends ids, and templates of the Mistral family demand nine letters or
/// digits.
pub(super) fn messages_json(messages: &[Message]) -> Vec<Value> {
    let mut ids = Ids::default();
    messages
        .iter()
        .map(|message| message_json(message, &mut ids))
        .collect()
}

/// Ids of calls in their order, and how many of them are answered.
#[derive(Default)]
struct Ids {
    called: Vec<String>,
    answered: usize,
}

impl Ids {
    fn of_call(&mut self, call: &ToolCall) -> String {
        let number = self.called.len() + 1;
        let id = call.id.clone().unwrap_or(format!("call{number:05}"));
        self.called.push(id.clone());
        id
    }

    /// Results stand in the order of their calls.
    fn of_result(&mut self, message: &Message) -> Option<String> {
        let in_order = self.called.get(self.answered).cloned();
        self.answered += 1;
        message.tool_call_id.clone().or(in_order)
    }
}

fn message_json(message: &Message, ids: &mut Ids) -> Value {
    let mut json = json!({"role": message.role.as_str(), "content": message.content});
    if let Some(name) = &message.name {
        json["name"] = name.as_str().into();
    }
    if let Some(reasoning) = &message.reasoning_content {
        // transformers 5.23.0 shows it under both names (`_alias_reasoning_fields`).
        json["thinking"] = reasoning.as_str().into();
        json["reasoning_content"] = reasoning.as_str().into();
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            json!({
                "id": ids.of_call(call),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            })
        });
        json["tool_calls"] = calls.collect();
    }
    if message.role == Role::Tool
        && let Some(id) = ids.of_result(message)
    {
        json["tool_call_id"] = id.into();
    }
    json
}

/// A tool as OpenAI declares it.
pub(super) fn tool_json(tool: &ToolSpec) -> Value {
    json!({"type": "function", "function": {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }})
}
