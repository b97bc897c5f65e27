//! Messages and tools in OpenAI's form.
//!
//! Lowered as mlx-lm's server does it before it renders (0.32.2, `server.py`,
//! `process_message_content`): text parts are joined, a missing content of a calling assistant is
//! empty, and arguments written as text are parsed into the object that templates expect.
//! Stricter than there: a result without its call is an error, and so is an unknown field in a
//! document that a person wrote.

use serde_json::{Map, Value};

use crate::generation::{Message, Role, TemplateVariables, ToolCall, ToolSpec};
use crate::protocol::fields::{Fields, Unknown, WireError, items, kind};

/// A conversation, the tools it may use, and variables of the chat template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chat {
    /// The messages, at least one.
    pub messages: Vec<Message>,
    /// The tools offered.
    pub tools: Vec<ToolSpec>,
    /// `chat_template_kwargs`.
    pub variables: TemplateVariables,
}

/// Reads a list of messages, or an object with `messages` and perhaps `tools` and
/// `chat_template_kwargs`.
///
/// # Errors
/// If anything is missing, unknown or of the wrong kind; the error names the place.
pub fn read_chat(value: &Value) -> Result<Chat, WireError> {
    let unknown = &mut Unknown::Refused;
    match value {
        Value::Array(_) => Ok(Chat {
            messages: messages(items(value, "messages")?, unknown)?,
            ..Chat::default()
        }),
        _ => {
            let mut fields = Fields::of(value, String::new())?;
            let chat = chat_of(&mut fields, unknown)?;
            fields.finish(unknown)?;
            Ok(chat)
        }
    }
}

/// Takes the conversation out of an object that may hold more.
pub(super) fn chat_of(fields: &mut Fields<'_>, unknown: &mut Unknown) -> Result<Chat, WireError> {
    fields.required("messages")?;
    Ok(Chat {
        messages: messages(fields.list("messages")?, unknown)?,
        tools: fields
            .list("tools")?
            .into_iter()
            .map(|(tool, place)| read_tool(tool, place, unknown))
            .collect::<Result<_, _>>()?,
        variables: variables(fields)?,
    })
}

fn variables(fields: &mut Fields<'_>) -> Result<TemplateVariables, WireError> {
    const FIELD: &str = "chat_template_kwargs";
    match fields.optional(FIELD) {
        None => Ok(TemplateVariables::default()),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|error| fields.error(FIELD, error.to_string())),
    }
}

fn messages(list: Vec<(&Value, String)>, unknown: &mut Unknown) -> Result<Vec<Message>, WireError> {
    let mut messages: Vec<Message> = Vec::new();
    for (value, place) in list {
        let message = read_message(value, place.clone(), unknown)?;
        if let Some(id) = &message.tool_call_id {
            let calls = messages.iter().flat_map(|message| &message.tool_calls);
            if !calls.into_iter().any(|call| call.id.as_ref() == Some(id)) {
                let problem = format!("no earlier message calls a tool with the id '{id}'");
                return Err(WireError::new(format!("{place}.tool_call_id"), problem));
            }
        }
        messages.push(message);
    }
    match messages.is_empty() {
        true => Err(WireError::new("messages", "there are none")),
        false => Ok(messages),
    }
}

fn read_message(value: &Value, place: String, unknown: &mut Unknown) -> Result<Message, WireError> {
    let mut fields = Fields::of(value, place)?;
    let role = read_role(&mut fields)?;
    let name = fields.optional_text("name")?;
    let mut tool_calls = Vec::new();
    let mut reasoning_content = None;
    if role == Role::Assistant {
        for (call, place) in fields.list("tool_calls")? {
            tool_calls.push(read_call(call, place, unknown)?);
        }
        reasoning_content = fields.optional_text("reasoning_content")?;
        // Answers of OpenAI's API bring it along, null.
        if fields.optional("refusal").is_some() {
            return Err(fields.error("refusal", "has no place in a prompt"));
        }
    }
    let tool_call_id = match role {
        Role::Tool => fields.optional_text("tool_call_id")?,
        _ => None,
    };
    let content = match fields.optional("content") {
        Some(content) => read_content(content, fields.place("content"), unknown)?,
        None if !tool_calls.is_empty() || reasoning_content.is_some() => String::new(),
        None => return Err(fields.error("content", "is missing")),
    };
    fields.finish(unknown)?;
    Ok(Message {
        role,
        content,
        tool_calls,
        tool_call_id,
        name,
        reasoning_content,
    })
}

fn read_role(fields: &mut Fields<'_>) -> Result<Role, WireError> {
    match fields.text("role")?.as_str() {
        // What OpenAI's newer models call their system messages.
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        other => Err(fields.error(
            "role",
            format!("'{other}' is not known; known are system, user, assistant, tool"),
        )),
    }
}

/// Text, or a list of parts that are all text.
fn read_content(value: &Value, place: String, unknown: &mut Unknown) -> Result<String, WireError> {
    if let Value::String(text) = value {
        return Ok(text.clone());
    }
    if !value.is_array() {
        let problem = format!("expected text or a list of parts, found {}", kind(value));
        return Err(WireError::new(place, problem));
    }
    let mut content = String::new();
    for (part, place) in items(value, &place)? {
        let mut fields = Fields::of(part, place)?;
        let kind = fields.text("type")?;
        if kind != "text" {
            return Err(fields.error("type", format!("'{kind}' is not text; only text is read")));
        }
        content.push_str(&fields.text("text")?);
        fields.finish(unknown)?;
    }
    Ok(content)
}

fn read_call(value: &Value, place: String, unknown: &mut Unknown) -> Result<ToolCall, WireError> {
    let mut fields = Fields::of(value, place)?;
    let id = fields.optional_text("id")?;
    expect_function(&mut fields)?;
    // Streams number their calls.
    fields.optional("index");
    let function = fields.required("function")?;
    let mut inner = Fields::of(function, fields.place("function"))?;
    let name = inner.text("name")?;
    let arguments = match inner.required("arguments")? {
        Value::Object(object) => object.clone(),
        Value::String(text) if text.trim().is_empty() => Map::new(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            Ok(other) => {
                let problem = format!("hold {}, not an object", kind(&other));
                return Err(inner.error("arguments", problem));
            }
            Err(error) => return Err(inner.error("arguments", format!("are not JSON: {error}"))),
        },
        other => {
            let problem = format!("expected an object or its JSON text, found {}", kind(other));
            return Err(inner.error("arguments", problem));
        }
    };
    inner.finish(unknown)?;
    fields.finish(unknown)?;
    Ok(ToolCall {
        id,
        name,
        arguments,
    })
}

fn read_tool(value: &Value, place: String, unknown: &mut Unknown) -> Result<ToolSpec, WireError> {
    let mut fields = Fields::of(value, place)?;
    expect_function(&mut fields)?;
    let function = fields.required("function")?;
    let mut inner = Fields::of(function, fields.place("function"))?;
    let tool = ToolSpec {
        name: inner.text("name")?,
        description: inner.optional_text("description")?.unwrap_or_default(),
        parameters: match inner.optional("parameters") {
            Some(schema @ Value::Object(_)) => schema.clone(),
            None => Value::Object(Map::new()),
            Some(other) => {
                let problem = format!("expected a JSON Schema, found {}", kind(other));
                return Err(inner.error("parameters", problem));
            }
        },
    };
    // It asks for constrained decoding, which is no matter of the prompt.
    inner.optional("strict");
    inner.finish(unknown)?;
    fields.finish(unknown)?;
    Ok(tool)
}

/// Functions are the only kind of tool, and their kind may go without saying.
fn expect_function(fields: &mut Fields<'_>) -> Result<(), WireError> {
    match fields.optional_text("type")?.as_deref() {
        None | Some("function") => Ok(()),
        Some(other) => Err(fields.error("type", format!("'{other}' is not 'function'"))),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_and_results_are_lowered() {
        let chat = read_chat(&json!({
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}},
                    {"index": 1, "function": {"name": "g", "arguments": {"y": [2]}}}]},
                {"role": "tool", "tool_call_id": "1", "name": "f", "content": "r"},
                {"role": "assistant", "content": "c", "reasoning_content": "t"}],
            "tools": [{"type": "function", "function": {"name": "f", "strict": true}}],
            "chat_template_kwargs": {"enable_thinking": false}
        }))
        .expect("a conversation");
        let [user, asking, result, answer] = &chat.messages[..] else {
            panic!("{chat:?}");
        };
        assert_eq!(user.content, "ab");
        assert_eq!(asking.content, "");
        assert_eq!(asking.tool_calls[0].arguments["x"], 1);
        assert_eq!(asking.tool_calls[0].id.as_deref(), Some("1"));
        assert_eq!(asking.tool_calls[1].arguments["y"], json!([2]));
        assert_eq!(
            (result.tool_call_id.as_deref(), result.name.as_deref()),
            (Some("1"), Some("f"))
        );
        assert_eq!(answer.reasoning_content.as_deref(), Some("t"));
        assert_eq!(chat.tools[0].parameters, json!({}));
        assert!(!chat.variables.is_empty());
    }

    #[rstest]
    #[case(json!([]), "messages: there are none")]
    #[case(json!("x"), ": expected an object, found text")]
    #[case(json!({"message": []}), "messages: is missing")]
    #[case(json!({"messages": [{"role": "user", "content": "a"}], "model": 1}), "model: is not known here; known are messages, tools, chat_template_kwargs")]
    #[case(json!([{"role": "user", "content": "a"}, 5]), "messages[1]: expected an object, found a number")]
    #[case(json!([{"content": "a"}]), "messages[0].role: is missing")]
    #[case(json!([{"role": "robot", "content": "a"}]), "messages[0].role: 'robot' is not known; known are system, user, assistant, tool")]
    #[case(json!([{"role": "user"}]), "messages[0].content: is missing")]
    #[case(json!([{"role": "assistant", "content": null}]), "messages[0].content: is missing")]
    #[case(json!([{"role": "user", "content": {"text": "a"}}]), "messages[0].content: expected text or a list of parts, found an object")]
    #[case(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), "messages[0].content[0].type: 'image_url' is not text; only text is read")]
    #[case(json!([{"role": "user", "content": "a", "tool_calls": []}]), "messages[0].tool_calls: is not known here; known are role, name, content")]
    #[case(json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]), "messages[0].tool_calls[0].function.arguments: are not JSON: ")]
    #[case(json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]), "messages[0].tool_calls[0].function.arguments: hold a list, not an object")]
    #[case(json!([{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]), "messages[0].tool_calls[0].function.name: is missing")]
    #[case(json!([{"role": "assistant", "tool_calls": {"a": 1}}]), "messages[0].tool_calls: expected a list, found an object")]
    #[case(json!([{"role": "assistant", "tool_calls": [{"type": "custom"}]}]), "messages[0].tool_calls[0].type: 'custom' is not 'function'")]
    #[case(json!([{"role": "user", "content": "a"}, {"role": "tool", "content": "b", "tool_call_id": "x"}]), "messages[1].tool_call_id: no earlier message calls a tool with the id 'x'")]
    #[case(json!({"messages": [{"role": "user", "content": "a"}], "tools": [{"function": {"name": "f", "parameters": 1}}]}), "tools[0].function.parameters: expected a JSON Schema, found a number")]
    #[case(json!({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"tools": 1}}), "chat_template_kwargs: the template variable 'tools'")]
    fn mistakes_name_their_place(#[case] value: Value, #[case] message: &str) {
        let error = read_chat(&value).expect_err("refused").to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
