//! Requests in Anthropic's form.

use serde_json::{Map, Value, json};

use super::names::{self, Unsupported};
use super::openai_request::CallNames;
use super::{Form, Outgoing};
use crate::generation::{Constraint, GenerateRequest, Message, Prompt, Role, ToolSpec};

pub(super) fn outgoing(form: &Form, request: &GenerateRequest) -> Result<Outgoing, Unsupported> {
    let Prompt::Chat {
        messages,
        tools,
        variables,
    } = &request.prompt
    else {
        return Err(Unsupported::new(
            "a plain prompt",
            "Anthropic's API has conversations only; use `user`, `turns` or `messages`, or an \
             openai: target",
        ));
    };
    if request.top_logprobs > 0 && !form.tokens {
        return Err(Unsupported::new(
            "log-probabilities",
            "Anthropic's API has none; use an openai: target",
        ));
    }
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(form.model));
    let (system, said) = split_system(messages)?;
    if let Some(system) = system {
        body.insert("system".to_owned(), system);
    }
    body.insert("messages".to_owned(), turns(said, form.tokens));
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.iter().map(tool).collect());
    }
    if !variables.is_empty() {
        body.insert("chat_template_kwargs".to_owned(), json!(variables));
    }
    match &request.constraint {
        None => {}
        Some(Constraint::Call { tools: wanted }) => {
            let choice = match wanted.as_slice() {
                [only] => json!({"type": "tool", "name": only}),
                _ => {
                    names::all_tools(wanted, tools)?;
                    json!({"type": "any"})
                }
            };
            body.insert("tool_choice".to_owned(), choice);
        }
        Some(Constraint::Json { .. }) => {
            return Err(Unsupported::new(
                "an answer in JSON",
                "Anthropic's API has no field for it; use an openai: target",
            ));
        }
    }
    names::sampling(form, &request.sampling, &mut body)?;
    body.insert("stream".to_owned(), json!(form.stream));
    if form.tokens {
        body.insert("return_tokens".to_owned(), json!(true));
        if request.top_logprobs > 0 {
            body.insert("top_logprobs".to_owned(), json!(request.top_logprobs));
        }
    }
    Ok(Outgoing {
        path: "/messages",
        body: Value::Object(body),
    })
}

/// The system's messages stand before all others, in a field of their own.
fn split_system(messages: &[Message]) -> Result<(Option<Value>, &[Message]), Unsupported> {
    let count = messages
        .iter()
        .take_while(|message| message.role == Role::System)
        .count();
    let (system, rest) = messages.split_at(count);
    if rest.iter().any(|message| message.role == Role::System) {
        return Err(Unsupported::new(
            "a system message after the conversation began",
            "Anthropic's API has them at the beginning only; move it there",
        ));
    }
    if rest.is_empty() {
        return Err(Unsupported::new(
            "a conversation that holds nothing but system messages",
            "Anthropic's API needs a message of the user; add one, or use an openai: target",
        ));
    }
    let system = match system {
        [] => None,
        [one] => Some(json!(one.content)),
        several => Some(several.iter().map(|one| text_block(&one.content)).collect()),
    };
    Ok((system, rest))
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Results of tools that follow each other are one message of the user. With `thoughts`, what the
/// assistant thought is sent; Anthropic's own server takes only thoughts with its signature.
fn turns(messages: &[Message], thoughts: bool) -> Value {
    let mut names = CallNames::default();
    let mut turns: Vec<Value> = Vec::new();
    let mut results: Vec<Value> = Vec::new();
    for message in messages {
        if message.role == Role::Tool {
            results.push(json!({
                "type": "tool_result",
                "tool_use_id": names.of_result(message.tool_call_id.as_deref()),
                "content": message.content,
            }));
            continue;
        }
        flush(&mut results, &mut turns);
        let thought = message.reasoning_content.as_ref().filter(|_| thoughts);
        let content = match message.tool_calls.is_empty() && thought.is_none() {
            true => json!(message.content),
            false => assistant(message, thought, &mut names),
        };
        turns.push(json!({"role": message.role.as_str(), "content": content}));
    }
    flush(&mut results, &mut turns);
    Value::Array(turns)
}

fn flush(results: &mut Vec<Value>, turns: &mut Vec<Value>) {
    if !results.is_empty() {
        turns.push(json!({"role": "user", "content": std::mem::take(results)}));
    }
}

fn assistant(message: &Message, thought: Option<&String>, names: &mut CallNames) -> Value {
    let thought =
        thought.map(|thought| json!({"type": "thinking", "thinking": thought, "signature": ""}));
    let text = Some(&message.content).filter(|text| !text.is_empty());
    let text = text.map(|text| text_block(text)).into_iter();
    let calls = message.tool_calls.iter().map(|call| {
        json!({
            "type": "tool_use",
            "id": names.of_call(call.id.as_deref()),
            "name": call.name,
            "input": call.arguments,
        })
    });
    thought.into_iter().chain(text).chain(calls).collect()
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters,
    })
}
