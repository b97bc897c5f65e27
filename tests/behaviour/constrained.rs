//! Answers that are held to a form, from the engine to both APIs. The built-in model writes no
//! JSON of its own accord, so what comes out in form came from the constraint.

use loopwatch::engine::{Engine, EngineOptions};
use loopwatch::generation::{
    Constraint, FinishReason, GenerateRequest, Prompt, SamplingSettings, Transcript,
};
use loopwatch::model::ModelRef;
use rstest::rstest;
use serde_json::{Value, json};

use crate::served::Server;
use crate::support::Sandbox;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "kind": {"enum": ["library", "program"]},
            "stars": {"type": "integer", "minimum": 1, "maximum": 5},
            "words": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
        },
        "required": ["kind", "stars", "words"],
        "additionalProperties": false,
    })
}

fn keeps_to_schema(text: &str) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let word = |word: &Value| word.as_str().is_some_and(|word| word.chars().count() <= 12);
    fields.len() == 3
        && matches!(fields["kind"].as_str(), Some("library" | "program"))
        && matches!(fields["stars"].as_u64(), Some(1..=5))
        && matches!(fields["words"].as_array(), Some(list) if list.len() <= 3 && list.iter().all(word))
}

fn engine() -> Engine {
    let name = ModelRef::parse("builtin:readme");
    Engine::load(&name, &EngineOptions::default()).expect("built in")
}

fn request(seed: u64, temperature: f64, constraint: Option<Constraint>) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Text {
            text: "Describe the crate serde.\n".to_owned(),
        },
        sampling: SamplingSettings {
            temperature: Some(temperature),
            seed: Some(seed),
            max_tokens: Some(400),
            ..Default::default()
        }
        .resolve()
        .expect("valid"),
        top_logprobs: 0,
        constraint,
    }
}

fn answers(engine: &Engine, requests: Vec<GenerateRequest>) -> Vec<Transcript> {
    let receivers: Vec<_> = requests.into_iter().map(|r| engine.submit(r)).collect();
    let collect = |mut receiver: loopwatch::engine::Events| {
        let mut events = Vec::new();
        while let Some(event) = receiver.blocking_recv() {
            events.push(event.expect("generates"));
        }
        Transcript::from_events(events).expect("complete")
    };
    receivers.into_iter().map(collect).collect()
}

#[test]
fn every_answer_keeps_to_its_schema_and_free_ones_are_not_touched() {
    let engine = engine();
    let held = || Some(Constraint::Json { schema: schema() });
    let mixed: Vec<GenerateRequest> = (0..6)
        .flat_map(|seed| {
            let temperature = seed as f64 / 4.0;
            [
                request(seed, temperature, held()),
                request(seed, temperature, None),
            ]
        })
        .collect();
    let together = answers(&engine, mixed.clone());
    for pair in together.chunks(2) {
        let held = &pair[0];
        assert_eq!(held.finish_reason, FinishReason::Stop, "{:?}", held.text);
        assert!(keeps_to_schema(&held.text), "{:?}", held.text);
        assert!(!keeps_to_schema(&pair[1].text), "{}", pair[1].text);
    }
    let alone = |request: &GenerateRequest| answers(&engine, vec![request.clone()]).remove(0);
    for (together, request) in together.iter().zip(&mixed) {
        assert_eq!(together.token_ids(), alone(request).token_ids());
    }
}

#[test]
fn a_form_that_cannot_be_followed_ends_its_own_request_only() {
    let engine = engine();
    let wrong = Constraint::Json {
        schema: json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/a"}}}),
    };
    let mut refused = engine.submit(request(0, 0.0, Some(wrong)));
    let error = refused
        .blocking_recv()
        .expect("an event")
        .expect_err("refused");
    assert!(error.to_string().contains("ref"), "{error}");
    assert!(
        !answers(&engine, vec![request(0, 0.0, None)])[0]
            .text
            .is_empty()
    );
}

fn tools() -> Value {
    let tool = |name: &str, field: &str| {
        json!({"name": name, "parameters": {
            "type": "object",
            "properties": {field: {"type": "string", "maxLength": 24}},
            "required": [field],
            "additionalProperties": false,
        }})
    };
    json!([tool("Read", "file_path"), tool("Bash", "command")])
}

fn openai_tools() -> Value {
    let tools = tools();
    let list = tools.as_array().expect("a list").iter();
    list.map(|tool| json!({"type": "function", "function": tool}))
        .collect()
}

fn server() -> Server {
    Server::start(Sandbox::new(), "builtin:readme", &[], &[])
}

/// Left free, the model calls `Read` or nothing here; so `Bash` is called because it has to be.
#[test]
fn openai_forced_calls_are_made() {
    let server = server();
    let ask = |choice: Value| {
        let body = json!({"messages": [{"role": "user", "content": "What is a crate?"}],
            "max_tokens": 120, "tools": openai_tools(), "tool_choice": choice});
        let answer = server.post("/v1/chat/completions", &body).json();
        answer["choices"][0].clone()
    };
    let free = ask(json!("auto"));
    assert!(!free.to_string().contains("\"Bash\""), "{free}");
    let named = ask(json!({"type": "function", "function": {"name": "Bash"}}));
    let any = ask(json!("required"));
    for (forced, allowed) in [(named, &["Bash"][..]), (any, &["Read", "Bash"])] {
        assert_eq!(forced["finish_reason"], "tool_calls", "{forced}");
        let call = &forced["message"]["tool_calls"][0]["function"];
        let name = call["name"].as_str().expect("a name");
        assert!(allowed.contains(&name), "{forced}");
        let arguments = call["arguments"].as_str().expect("text");
        let arguments: Value = serde_json::from_str(arguments).expect("JSON");
        let field = if name == "Read" {
            "file_path"
        } else {
            "command"
        };
        assert!(arguments[field].is_string(), "{forced}");
        assert_eq!(arguments.as_object().expect("an object").len(), 1);
    }
}

/// What programs derive from types has its parts below `$defs`.
#[test]
fn the_schema_of_a_tool_may_refer_to_its_own_parts() {
    let server = server();
    let schema = json!({
        "type": "object",
        "properties": {"level": {"$ref": "#/$defs/Level"}},
        "required": ["level"],
        "additionalProperties": false,
        "$defs": {"Level": {"enum": ["lo\"w", "high"]}},
    });
    let tools =
        json!([{"type": "function", "function": {"name": "Set-\"it\"", "parameters": schema}}]);
    let answer = server.post(
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": "go"}], "max_tokens": 120,
            "tools": tools, "tool_choice": "required"}),
    );
    let answer = answer.json();
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "Set-\"it\"", "{answer}");
    let arguments: Value =
        serde_json::from_str(call["arguments"].as_str().expect("text")).expect("JSON");
    let level = arguments["level"].as_str().expect("a level");
    assert!(["lo\"w", "high"].contains(&level), "{answer}");
}

#[test]
fn anthropic_forced_calls_are_made() {
    let server = server();
    let tools: Vec<Value> = tools()
        .as_array()
        .expect("a list")
        .iter()
        .map(|tool| json!({"name": tool["name"], "input_schema": tool["parameters"]}))
        .collect();
    let body = |choice: Value| {
        json!({"messages": [{"role": "user", "content": "What is a crate?"}], "max_tokens": 120,
            "tools": tools, "tool_choice": choice})
    };
    let forced = server
        .post(
            "/v1/messages",
            &body(json!({"type": "tool", "name": "Read"})),
        )
        .json();
    assert_eq!(forced["stop_reason"], "tool_use", "{forced}");
    assert_eq!(forced["content"][0]["name"], "Read");
    assert!(forced["content"][0]["input"]["file_path"].is_string());
    let any = server
        .post("/v1/messages", &body(json!({"type": "any"})))
        .json();
    assert_eq!(any["stop_reason"], "tool_use", "{any}");
}

#[rstest]
fn response_formats_hold_streamed_and_whole(#[values(false, true)] stream: bool) {
    let server = server();
    let format = json!({"type": "json_schema",
        "json_schema": {"name": "crate", "strict": true, "schema": schema()}});
    let body = json!({"messages": [{"role": "user", "content": "Describe serde."}],
        "max_tokens": 200, "stream": stream, "response_format": format});
    let answer = server.post("/v1/chat/completions", &body);
    let text: String = match stream {
        true => answer
            .chunks()
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect(),
        false => {
            let content = &answer.json()["choices"][0]["message"]["content"];
            content.as_str().expect("text").to_owned()
        }
    };
    assert!(keeps_to_schema(&text), "{text}");
}

#[rstest]
#[case(json!({"type": "object", "properties": {"a": {"type": "banana"}}}))]
#[case(json!({"$ref": "https://example.com/schema"}))]
#[case(json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "(("}}}))]
fn wrong_schemas_are_refused_by_field_before_anything_is_written(#[case] schema: Value) {
    let server = server();
    let body = json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 20,
        "stream": true, "response_format": {"type": "json_schema",
            "json_schema": {"name": "x", "schema": schema}}});
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(
        answer.json()["error"]["param"],
        "response_format",
        "{}",
        answer.body
    );
}
