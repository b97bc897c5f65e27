//! What the fuzz targets do with their bytes: read them as a stranger's request, as a server's reply,
//! or as what a model wrote, and check what must hold whatever they are.
//!
//! The layers are compiled here from their own files, without the engine and the server around them,
//! so that an instrumented build takes a minute. They import nothing else of the package.

#![expect(
    dead_code,
    unused_imports,
    reason = "the layers have more in them than a fuzz target uses"
)]

#[path = "../../src/generation/mod.rs"]
mod generation;
#[path = "../../src/protocol/mod.rs"]
mod protocol;

#[path = "../../src/yaml"]
mod yaml {
    mod suggest;
    pub use suggest::nearest;
}

#[path = "../../src/text"]
mod text {
    pub mod output;
}

use std::collections::BTreeMap;

use generation::{
    Constraint, EventKind, GenerateRequest, Message, Prompt, Role, SamplingSettings, ToolSpec,
};
use protocol::anthropic::MessagesRequest;
use protocol::client::{Api, FieldNames, Form, SseReader, read_models};
use protocol::openai::{ChatRequest, CompletionRequest};
use serde_json::{Value, json};
use text::output::{OutputFormat, OutputParser, Piece};

/// A body from a client: every API reads it or says what is wrong, and where. What was read can be
/// asked of another server.
pub fn requests(bytes: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    if let Ok(chat) = ChatRequest::read(&body) {
        let prompt = Prompt::Chat {
            messages: chat.chat.messages,
            tools: chat.chat.tools,
            variables: chat.chat.variables,
        };
        put(prompt, &chat.common.sampling, chat.constraint);
    }
    if let Ok(completion) = CompletionRequest::read(&body) {
        assert!(!completion.prompts.is_empty());
        for prompt in completion.prompts {
            put(prompt, &completion.common.sampling, None);
        }
    }
    let counted = MessagesRequest::read_to_count(&body).is_ok();
    if let Ok(message) = MessagesRequest::read(&body) {
        assert!(counted, "a request that can be answered can be counted");
        put(message.prompt, &message.sampling, message.constraint);
    }
}

/// Puts a request in each API's words; what an API cannot say, it says so.
fn put(prompt: Prompt, sampling: &SamplingSettings, constraint: Option<Constraint>) {
    let Ok(sampling) = sampling.resolve() else {
        return;
    };
    assert_eq!(sampling.as_settings().resolve(), Ok(sampling.clone()));
    let request = GenerateRequest {
        prompt,
        sampling,
        top_logprobs: 0,
        constraint,
    };
    for form in forms() {
        let Ok(outgoing) = form.outgoing(&request) else {
            continue;
        };
        // What we send we can read.
        let read = match outgoing.path {
            "/chat/completions" => ChatRequest::read(&outgoing.body).map(|_| ()),
            "/completions" => CompletionRequest::read(&outgoing.body).map(|_| ()),
            _ => MessagesRequest::read(&outgoing.body).map(|_| ()),
        };
        if form.names == FieldNames::Extended {
            read.unwrap_or_else(|error| panic!("{error} in {}", outgoing.body));
        }
    }
}

fn forms() -> impl Iterator<Item = Form> {
    let apis = [Api::OpenAi, Api::Anthropic].into_iter();
    let names = [
        FieldNames::Extended,
        FieldNames::Standard,
        FieldNames::LlamaCpp,
    ];
    let all = apis.flat_map(move |api| {
        let tokens = names
            .into_iter()
            .flat_map(|names| [(names, true), (names, false)]);
        tokens.map(move |(names, tokens)| Form {
            api,
            model: "m".to_owned(),
            stream: true,
            tokens,
            names,
        })
    });
    all.collect::<Vec<_>>().into_iter()
}

/// A server's answer, in one piece and as a stream: an error, or facts in their order. How a stream is
/// cut changes nothing.
pub fn replies(bytes: &[u8]) {
    let sampling = SamplingSettings::default();
    let request = GenerateRequest {
        prompt: Prompt::Chat {
            messages: vec![Message::text(Role::User, "go")],
            tools: Vec::new(),
            variables: Default::default(),
        },
        sampling: sampling.resolve().expect("the defaults are valid"),
        top_logprobs: 0,
        constraint: None,
    };
    for form in forms().filter(|form| form.names == FieldNames::Extended) {
        if let Ok(body) = std::str::from_utf8(bytes) {
            let _ = read_models(body);
            if let Ok(events) = form.read_answer(&request, body) {
                ended(&events);
            }
        }
        let whole = stream(&form, &request, [bytes]);
        let cut = stream(&form, &request, bytes.chunks(7));
        assert_eq!(whole, cut, "how it is cut");
        ended(&whole.unwrap_or_default());
    }
}

/// The facts of a stream, or `None` if something is wrong with it.
fn stream<'a>(
    form: &Form,
    request: &GenerateRequest,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Vec<EventKind>> {
    let mut reader = SseReader::default();
    let mut stream = form.stream_reader(request);
    let mut facts = Vec::new();
    for piece in pieces {
        for event in reader.push(piece).ok()? {
            facts.extend(stream.read(&event).ok()?);
        }
    }
    Some(facts)
}

/// Nothing follows the end.
fn ended(facts: &[EventKind]) {
    let end = |fact: &EventKind| matches!(fact, EventKind::Finished { .. });
    if let Some(at) = facts.iter().position(end) {
        assert_eq!(at + 1, facts.len(), "after the end");
    }
}

/// What a model wrote, taken apart by every format: cut anywhere it is the same, and what is no call
/// is said as it was written.
pub fn output(bytes: &[u8]) {
    const TEMPLATES: [&str; 6] = [
        "<tool_call> </think>",
        "<tool_call>\n<function=example>",
        "<|start_header_id|> {\"name\": x, \"parameters\": y} <|python_tag|>",
        "[func_name1(params_name1=params_value1, params_name2=2), func_name2(params)]",
        "[TOOL_CALLS] [/THINK]",
        "<|start|>assistant<|channel|>final<|message|>",
    ];
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let tools = tools();
    for template in TEMPLATES {
        let format = OutputFormat::detect(template, &|_| false);
        for thinking in [false, true] {
            let read = |pieces: &[&str]| {
                let mut parser = OutputParser::new(&format, &tools, thinking);
                let mut all: Vec<Piece> = pieces.iter().flat_map(|p| parser.push(p)).collect();
                all.extend(parser.finish());
                joined(all)
            };
            let whole = read(&[text]);
            let letters: Vec<&str> = text.split_inclusive(|_| true).collect();
            assert_eq!(whole, read(&letters), "how it is cut");
            // White space around calls and thoughts is nobody's; everything else is kept.
            let calls = whole.get("call").is_some();
            let thought = thinking || whole.get("reasoning").is_some();
            if !calls && !thought && template != TEMPLATES[5] {
                let said = whole.get("content").map_or("", String::as_str);
                assert_eq!(said.trim(), text.trim(), "lost");
            }
        }
    }
}

fn tools() -> Vec<ToolSpec> {
    let schema = json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}, "path": {"type": "string"}},
        "required": ["n"],
    });
    vec![ToolSpec {
        name: "f".to_owned(),
        description: String::new(),
        parameters: schema,
    }]
}

/// Text by channel, and the calls.
fn joined(pieces: Vec<Piece>) -> BTreeMap<&'static str, String> {
    let mut joined = BTreeMap::new();
    for piece in pieces {
        let (channel, text) = match piece {
            Piece::Reasoning(text) => ("reasoning", text),
            Piece::Content(text) => ("content", text),
            Piece::Call(call) => {
                let arguments = Value::Object(call.arguments);
                if call.name == "f" {
                    assert!(arguments["n"].is_number(), "{arguments}");
                }
                ("call", format!("{}({arguments})\n", call.name))
            }
        };
        joined
            .entry(channel)
            .or_insert_with(String::new)
            .push_str(&text);
    }
    joined
}
