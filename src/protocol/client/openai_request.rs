//! Requests in OpenAI's form.

use serde_json::{Map, Value, json};

use super::names::{self, Unsupported};
use super::{Form, Outgoing};
use crate::generation::{Constraint, GenerateRequest, Message, Prompt, ToolSpec};

pub(super) fn outgoing(form: &Form, request: &GenerateRequest) -> Result<Outgoing, Unsupported> {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(form.model));
    let path = match &request.prompt {
        Prompt::Chat {
            messages: said,
            tools: offered,
            variables,
        } => {
            body.insert("messages".to_owned(), messages(said));
            if !offered.is_empty() {
                body.insert("tools".to_owned(), offered.iter().map(tool).collect());
            }
            if !variables.is_empty() {
                body.insert("chat_template_kwargs".to_owned(), json!(variables));
            }
            "/chat/completions"
        }
        Prompt::Text { text } => {
            body.insert("prompt".to_owned(), json!(text));
            "/completions"
        }
        Prompt::Tokens { tokens } => {
            body.insert("prompt".to_owned(), json!(tokens));
            "/completions"
        }
    };
    if let Some(constraint) = &request.constraint {
        let (field, value) = self::form(constraint, &request.prompt)?;
        body.insert(field.to_owned(), value);
    }
    names::sampling(form, &request.sampling, &mut body)?;
    if request.top_logprobs > 0 {
        if path == "/completions" {
            body.insert("logprobs".to_owned(), json!(request.top_logprobs));
        } else {
            body.insert("logprobs".to_owned(), json!(true));
            body.insert("top_logprobs".to_owned(), json!(request.top_logprobs));
        }
    }
    body.insert("stream".to_owned(), json!(form.stream));
    if form.stream {
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    if form.tokens {
        body.insert("return_tokens".to_owned(), json!(true));
    }
    Ok(Outgoing {
        path,
        body: Value::Object(body),
    })
}

/// The field that asks for a form of the answer.
fn form(constraint: &Constraint, prompt: &Prompt) -> Result<(&'static str, Value), Unsupported> {
    let Prompt::Chat { tools, .. } = prompt else {
        return Err(Unsupported::new(
            "a form of the answer to a plain prompt",
            "OpenAI's API has it for conversations only",
        ));
    };
    match constraint {
        Constraint::Json { schema } => Ok((
            "response_format",
            json!({
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": true, "schema": schema},
            }),
        )),
        Constraint::Call { tools: names } => match names.as_slice() {
            [only] => Ok((
                "tool_choice",
                json!({"type": "function", "function": {"name": only}}),
            )),
            _ => {
                names::all_tools(names, tools)?;
                Ok(("tool_choice", json!("required")))
            }
        },
    }
}

fn messages(list: &[Message]) -> Value {
    let mut names = CallNames::default();
    list.iter()
        .map(|message| one(message, &mut names))
        .collect()
}

fn one(message: &Message, names: &mut CallNames) -> Value {
    let mut fields = Map::new();
    fields.insert("role".to_owned(), json!(message.role.as_str()));
    fields.insert("content".to_owned(), json!(message.content));
    if let Some(name) = &message.name {
        fields.insert("name".to_owned(), json!(name));
    }
    if let Some(thought) = &message.reasoning_content {
        fields.insert("reasoning_content".to_owned(), json!(thought));
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let arguments = Value::Object(call.arguments.clone()).to_string();
            json!({
                "id": names.of_call(call.id.as_deref()),
                "type": "function",
                "function": {"name": call.name, "arguments": arguments},
            })
        });
        fields.insert("tool_calls".to_owned(), calls.collect());
    }
    if message.role == crate::generation::Role::Tool {
        let id = names.of_result(message.tool_call_id.as_deref());
        fields.insert("tool_call_id".to_owned(), json!(id));
    }
    Value::Object(fields)
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    })
}

/// Names for calls that have none, as both APIs tie a result to its call by name.
#[derive(Debug, Default)]
pub(super) struct CallNames {
    made: usize,
    /// Calls that wait for their result, in order.
    open: std::collections::VecDeque<String>,
}

impl CallNames {
    pub(super) fn of_call(&mut self, id: Option<&str>) -> String {
        let id = id.map_or_else(|| format!("call_{}", self.made), str::to_owned);
        self.made += 1;
        self.open.push_back(id.clone());
        id
    }

    /// A result without a name answers the first call that waits.
    pub(super) fn of_result(&mut self, id: Option<&str>) -> String {
        match id {
            Some(id) => {
                self.open.retain(|open| open != id);
                id.to_owned()
            }
            None => self.open.pop_front().unwrap_or_default(),
        }
    }
}
