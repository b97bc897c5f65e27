//! A request for a message, read once.

use serde_json::{Map, Value, json};

use super::content::{self, Blocks};
use crate::generation::{
    Constraint, Message, Prompt, Role, SamplingSettings, TemplateVariables, ToolSpec,
};
use crate::protocol::fields::{Fields, Unknown, UnknownField, WireError, kind};
use crate::protocol::sampling;
use crate::protocol::tool_choice::ToolChoice;

/// A request for the next message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagesRequest {
    /// The model's name as the client gave it.
    pub model: Option<String>,
    /// The conversation.
    pub prompt: Prompt,
    /// The form of the answer, if it is not free.
    pub constraint: Option<Constraint>,
    /// Sampling wishes.
    pub sampling: SamplingSettings,
    /// Whether to stream.
    pub stream: bool,
    /// Whether the token ids are told.
    pub return_tokens: bool,
    /// Fields that nobody asked for.
    pub unknown: Vec<UnknownField>,
}

impl MessagesRequest {
    /// Reads the body of `/v1/messages`.
    ///
    /// # Errors
    /// If anything is missing, wrong, or not done here; the error names the field.
    pub fn read(body: &Value) -> Result<Self, WireError> {
        let request = Self::read_to_count(body)?;
        match request.sampling.max_tokens {
            Some(_) => Ok(request),
            None => Err(WireError::new("max_tokens", "is missing")),
        }
    }

    /// Reads the body of `/v1/messages/count_tokens`, where no length is needed.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_to_count(body: &Value) -> Result<Self, WireError> {
        let mut unknown = Unknown::Noted(Vec::new());
        let mut fields = Fields::of(body, String::new())?;
        let system = system(&mut fields, &mut unknown)?;
        let mut messages = conversation(&mut fields, &mut unknown)?;
        messages.splice(..0, system);
        let mut tools = tools(&mut fields, &mut unknown)?;
        let constraint = match tool_choice(&mut fields, &tools, &mut unknown)? {
            ToolChoice::Auto => None,
            ToolChoice::None => {
                tools.clear();
                None
            }
            ToolChoice::Forced(tools) => Some(Constraint::Call { tools }),
        };
        let mut sampling = sampling::settings(&mut fields, &mut unknown)?;
        sampling.stop = sampling::stop(&mut fields, "stop_sequences")?;
        // They name the caller, or a service class, and change no token.
        fields.without_effect(&["metadata", "service_tier"]);
        let prompt = Prompt::Chat {
            messages,
            tools,
            variables: thinking(&mut fields)?,
        };
        let request = Self {
            model: fields.optional_text("model")?,
            prompt,
            constraint,
            sampling,
            stream: fields.flag("stream")?.unwrap_or(false),
            return_tokens: fields.flag("return_tokens")?.unwrap_or(false),
            unknown: Vec::new(),
        };
        fields.finish(&mut unknown)?;
        Ok(Self {
            unknown: unknown.noted(),
            ..request
        })
    }
}

/// Text, or blocks of text, ahead of the conversation.
fn system(fields: &mut Fields<'_>, unknown: &mut Unknown) -> Result<Option<Message>, WireError> {
    let Some(value) = fields.optional("system") else {
        return Ok(None);
    };
    let text = content::text(value, &fields.place("system"), unknown)?;
    Ok(Some(Message::text(Role::System, text)))
}

fn conversation(fields: &mut Fields<'_>, unknown: &mut Unknown) -> Result<Vec<Message>, WireError> {
    fields.required("messages")?;
    let mut messages = Vec::new();
    for (value, place) in fields.list("messages")? {
        let mut fields = Fields::of(value, place)?;
        let role = match fields.text("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            other => {
                let problem = format!("'{other}' is not known; known are user, assistant");
                return Err(fields.error("role", problem));
            }
        };
        let place = fields.place("content");
        let blocks = Blocks::read(fields.required("content")?, &place, role, unknown)?;
        fields.finish(unknown)?;
        blocks.lower(role, &place, &mut messages)?;
    }
    match messages.is_empty() {
        true => Err(WireError::new("messages", "there are none")),
        false => Ok(messages),
    }
}

fn tools(fields: &mut Fields<'_>, unknown: &mut Unknown) -> Result<Vec<ToolSpec>, WireError> {
    let mut tools = Vec::new();
    for (value, place) in fields.list("tools")? {
        let mut fields = Fields::of(value, place)?;
        match fields.optional_text("type")?.as_deref() {
            None | Some("custom") => {}
            Some(other) => {
                let problem = format!("'{other}' runs on Anthropic's servers, not here");
                return Err(fields.error("type", problem));
            }
        }
        let parameters = match fields.required("input_schema")? {
            schema @ Value::Object(_) => schema.clone(),
            other => {
                let problem = format!("expected a JSON Schema, found {}", kind(other));
                return Err(fields.error("input_schema", problem));
            }
        };
        tools.push(ToolSpec {
            name: fields.text("name")?,
            description: fields.optional_text("description")?.unwrap_or_default(),
            parameters,
        });
        fields.without_effect(&["cache_control", "strict"]);
        fields.finish(unknown)?;
    }
    Ok(tools)
}

/// Reads `tool_choice`, given the tools that are offered.
fn tool_choice(
    fields: &mut Fields<'_>,
    tools: &[ToolSpec],
    unknown: &mut Unknown,
) -> Result<ToolChoice, WireError> {
    const FIELD: &str = "tool_choice";
    let Some(value) = fields.optional(FIELD) else {
        return Ok(ToolChoice::Auto);
    };
    let mut choice = Fields::of(value, fields.place(FIELD))?;
    // An answer that is held to a call has one.
    choice.without_effect(&["disable_parallel_tool_use"]);
    let read = match choice.text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" => ToolChoice::any(tools, &choice, "type", "any")?,
        "tool" => ToolChoice::named(tools, &mut choice)?,
        other => {
            let problem = format!("'{other}' is not known; known are auto, none, any, tool");
            return Err(choice.error("type", problem));
        }
    };
    choice.finish(unknown)?;
    Ok(read)
}

/// Thinking is the chat template's business: it is told what the client wants.
fn thinking(fields: &mut Fields<'_>) -> Result<TemplateVariables, WireError> {
    const FIELD: &str = "thinking";
    let Some(value) = fields.optional(FIELD) else {
        return Ok(TemplateVariables::default());
    };
    let mut thinking = Fields::of(value, fields.place(FIELD))?;
    let wanted = match thinking.text("type")?.as_str() {
        "enabled" | "adaptive" => true,
        "disabled" => false,
        other => {
            let problem = format!("'{other}' is not known; known are enabled, adaptive, disabled");
            return Err(thinking.error("type", problem));
        }
    };
    let variables: Map<String, Value> =
        Map::from_iter([("enable_thinking".to_owned(), json!(wanted))]);
    TemplateVariables::try_from(variables).map_err(|problem| fields.error(FIELD, problem))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn messages(request: &MessagesRequest) -> &[Message] {
        match &request.prompt {
            Prompt::Chat { messages, .. } => messages,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_round_trip_of_a_tool_is_lowered_in_order() {
        let request = MessagesRequest::read(&json!({
            "model": "m", "max_tokens": 5, "stop_sequences": ["x"],
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "t", "signature": ""},
                    {"type": "text", "text": "b"},
                    {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "r"}]},
                    {"type": "text", "text": "go on"}]}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "thinking": {"type": "disabled"}, "temprature": 1
        }))
        .expect("valid");
        let [system, user, asking, result, more] = messages(&request) else {
            panic!("{request:?}");
        };
        assert_eq!((system.role, system.content.as_str()), (Role::System, "s"));
        assert_eq!((user.role, user.content.as_str()), (Role::User, "a"));
        assert_eq!(asking.reasoning_content.as_deref(), Some("t"));
        assert_eq!(asking.content, "b");
        assert_eq!(asking.tool_calls[0].arguments["x"], 1);
        assert_eq!((result.role, result.content.as_str()), (Role::Tool, "r"));
        assert_eq!(result.tool_call_id.as_deref(), Some("1"));
        assert_eq!((more.role, more.content.as_str()), (Role::User, "go on"));
        assert_eq!(request.sampling.max_tokens, Some(5));
        assert_eq!(request.sampling.stop, Some(vec!["x".to_owned()]));
        assert_eq!(request.unknown[0].meant, Some("temperature"));
    }

    #[rstest]
    #[case(json!({"max_tokens": null}), "max_tokens: is missing")]
    #[case(json!({"messages": []}), "messages: there are none")]
    #[case(json!({"messages": [{"role": "system", "content": "a"}]}), "messages[0].role: 'system' is not known")]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}), "messages[0].content[0].type: 'image' is not read here")]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "9"}]}]}), "messages[0].content: no earlier message uses a tool with the id '9'")]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}]}), "messages[0].content[0].type: 'tool_use' is for the assistant")]
    #[case(json!({"tool_choice": {"type": "any"}}), "tool_choice.type: is 'any', but no tools")]
    #[case(json!({"tool_choice": {"type": "tool", "name": "f"}}), "tool_choice.name: 'f' is not")]
    #[case(json!({"tools": [{"type": "web_search_20250305", "name": "w"}]}), "tools[0].type: 'web_search_20250305' runs on")]
    #[case(json!({"thinking": {"type": "hard"}}), "thinking.type: 'hard' is not known")]
    #[case(json!({"stop_sequences": [""]}), "stop_sequences: has an empty text")]
    fn wrong_values_name_their_field(#[case] over: Value, #[case] message: &str) {
        let mut body = json!({"max_tokens": 5, "messages": [{"role": "user", "content": "a"}]});
        for (key, value) in over.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let error = MessagesRequest::read(&body)
            .expect_err("refused")
            .to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
