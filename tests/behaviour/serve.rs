//! The server's answers, path by path.

use rstest::rstest;
use serde_json::{Value, json};

use crate::served::{Path, Server, chat};
use crate::support::Sandbox;

#[test]
fn a_chat_with_a_tool_goes_round() {
    let server = Server::scripted("think-then-call", &[]);
    let tools = json!([{"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}]);
    let whole = server
        .post("/v1/chat/completions", &chat(json!({"tools": tools})))
        .json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{whole}");
    let thought = "The user wants a summary. I read the file first.";
    assert_eq!(choice["message"]["reasoning_content"], thought, "{whole}");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "Read");
    assert_eq!(
        call["function"]["arguments"],
        r#"{"file_path":"README.md"}"#
    );

    let streamed = server.post(
        "/v1/chat/completions",
        &chat(json!({"stream": true, "stream_options": {"include_usage": true}})),
    );
    assert_eq!(streamed.events().last().expect("events").1, "[DONE]");
    let chunks = streamed.chunks();
    let deltas: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"])
        .collect();
    assert_eq!(deltas[0]["role"], "assistant");
    let joined = |field: &str| -> String {
        let parts = deltas.iter().filter_map(|delta| delta[field].as_str());
        parts.collect()
    };
    assert_eq!(joined("content"), "", "{}", streamed.body);
    assert_eq!(joined("reasoning_content"), thought, "{}", streamed.body);
    let calls: Vec<&Value> = deltas
        .iter()
        .filter_map(|delta| delta.get("tool_calls"))
        .collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0][0]["function"], call["function"]);
    assert_eq!(calls[0][0]["index"], 0);
    let usage = &chunks.last().expect("chunks")["usage"];
    assert_eq!(
        usage["completion_tokens"],
        whole["usage"]["completion_tokens"]
    );

    // What an SDK sends back of an answer, nulls and all, is understood.
    let mut asked = choice["message"].clone();
    asked["annotations"] = json!([]);
    asked["audio"] = Value::Null;
    let answer = server
        .post(
            "/v1/chat/completions",
            &json!({"messages": [
                {"role": "user", "content": "go"}, asked,
                {"role": "tool", "tool_call_id": call["id"], "content": "# Title"}]}),
        )
        .json();
    let said = &answer["choices"][0]["message"]["content"];
    assert_eq!(said, "It says how to build the project.", "{answer}");
}

#[test]
fn the_same_with_anthropic() {
    let server = Server::scripted("think-then-call", &[]);
    let ask = |stream: bool| {
        json!({"max_tokens": 100, "stream": stream, "system": "s",
            "messages": [{"role": "user", "content": "go"}],
            "tools": [{"name": "Read", "input_schema": {"type": "object"}}]})
    };
    let whole = server.post("/v1/messages", &ask(false)).json();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    let blocks = whole["content"].as_array().expect("blocks");
    let call = blocks.last().expect("a call");
    assert_eq!(call["name"], "Read");
    assert_eq!(call["input"], json!({"file_path": "README.md"}));

    let streamed = server.post("/v1/messages", &ask(true));
    let names: Vec<String> = streamed
        .events()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let mut order = names.clone();
    order.dedup();
    assert_eq!(
        order,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ],
        "{}",
        streamed.body
    );
    let chunks = streamed.chunks();
    let deltas = || chunks.iter().map(|chunk| &chunk["delta"]);
    let thought: String = deltas()
        .filter_map(|delta| delta["thinking"].as_str())
        .collect();
    assert_eq!(thought, "The user wants a summary. I read the file first.");
    assert_eq!(
        blocks[0],
        json!({"type": "thinking", "thinking": thought, "signature": ""})
    );
    let signed = deltas().filter(|delta| delta["type"] == "signature_delta");
    assert_eq!(signed.count(), 1);
    let input: String = deltas()
        .filter_map(|delta| delta["partial_json"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&input).expect("JSON"),
        call["input"]
    );

    let after = server
        .post(
            "/v1/messages",
            &json!({"max_tokens": 100, "messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": blocks},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": call["id"], "content": "# Title"}]}]}),
        )
        .json();
    assert_eq!(
        after["content"][0]["text"], "It says how to build the project.",
        "{after}"
    );
    assert_eq!(after["stop_reason"], "end_turn");
}

/// A model of another family: its prompt opens the thought, and its calls are no JSON.
#[rstest]
fn another_form_of_calls_goes_round(#[values(false, true)] told: bool) {
    let sandbox = Sandbox::new();
    let model = sandbox.coder();
    let server = Server::start(sandbox, &model, &[], &[]);
    let tools = json!([{"type": "function", "function": {"name": "Read", "parameters":
        {"type": "object", "properties": {"file_path": {"type": "string"}}}}}]);
    let ask = |stream: bool| chat(json!({"tools": tools, "stream": stream, "return_tokens": told}));
    let whole = server.post("/v1/chat/completions", &ask(false)).json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{whole}");
    let message = &choice["message"];
    assert_eq!(message["reasoning_content"], "I read the file first.");
    assert_eq!(message["content"], "I look.");
    let function = &message["tool_calls"][0]["function"];
    assert_eq!(function["name"], "Read");
    assert_eq!(function["arguments"], r#"{"file_path":"README.md"}"#);

    let streamed = server.post("/v1/chat/completions", &ask(true));
    let chunks = streamed.chunks();
    let joined = |field: &str| -> String {
        let deltas = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]);
        deltas.filter_map(|delta| delta[field].as_str()).collect()
    };
    assert_eq!(
        joined("reasoning_content"),
        "I read the file first.",
        "{}",
        streamed.body
    );
    assert_eq!(joined("content"), "I look.", "{}", streamed.body);
    let called = |chunk: &&Value| chunk["choices"][0]["delta"]["tool_calls"].is_array();
    let calls: Vec<&Value> = chunks.iter().filter(called).collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        &calls[0]["choices"][0]["delta"]["tool_calls"][0]["function"],
        function
    );
}

#[test]
fn counting_agrees_with_the_answer() {
    let server = Server::scripted("period-five", &[]);
    let body = json!({"messages": [{"role": "user", "content": "count me"}], "max_tokens": 1});
    let counted = server.post("/v1/messages/count_tokens", &body).json();
    let usage = &server.post("/v1/messages", &body).json()["usage"];
    let read = |field: &str| usage[field].as_u64().expect("a count");
    let prompt = read("input_tokens") + read("cache_read_input_tokens");
    assert_eq!(counted["input_tokens"], prompt);
}

#[test]
fn stops_end_an_answer_and_say_which() {
    let server = Server::scripted("period-five", &[]);
    for stream in [false, true] {
        let body = json!({"messages": [{"role": "user", "content": "go"}], "max_tokens": 30,
            "stop_sequences": ["nowhere", "three"], "stream": stream});
        let answer = server.post("/v1/messages", &body);
        assert!(
            answer.body.contains(r#""stop_sequence":"three""#),
            "{}",
            answer.body
        );
        assert!(!answer.body.contains("four"), "{}", answer.body);
        let body = chat(json!({"stop": "three", "stream": stream}));
        let answer = server.post("/v1/chat/completions", &body);
        assert!(
            answer.body.contains(r#""finish_reason":"stop""#),
            "{}",
            answer.body
        );
        assert!(!answer.body.contains("three"), "{}", answer.body);
    }
}

#[test]
fn log_probabilities_name_the_tokens() {
    let server = Server::scripted("period-five", &[]);
    let body = json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 3});
    let answer = server
        .post("/v1/chat/completions", &chat(body.clone()))
        .json();
    let content = &answer["choices"][0]["logprobs"]["content"];
    let names: Vec<&str> = (0..3)
        .filter_map(|at| content[at]["token"].as_str())
        .collect();
    assert_eq!(names, ["one ", "two ", "three "], "{answer}");
    assert_eq!(content[0]["top_logprobs"][0]["token"], "one ");
    assert_eq!(
        content[0]["top_logprobs"].as_array().expect("a list").len(),
        2
    );
    assert_eq!(content[0]["bytes"], json!(b"one "));

    let mut streamed = chat(body);
    streamed["stream"] = json!(true);
    let chunks = server.post("/v1/chat/completions", &streamed).chunks();
    let told: Vec<Value> = chunks
        .iter()
        .filter_map(|chunk| {
            chunk["choices"][0]["logprobs"]["content"]
                .as_array()
                .cloned()
        })
        .flatten()
        .collect();
    assert_eq!(Value::Array(told), *content);

    let body = json!({"prompt": "go", "logprobs": 1, "max_tokens": 2});
    let answer = server.post("/v1/completions", &body).json();
    let lists = &answer["choices"][0]["logprobs"];
    assert_eq!(lists["tokens"], json!(["one ", "two "]));
    assert_eq!(lists["text_offset"], json!([0, 4]));
}

#[test]
fn several_answers_and_several_prompts() {
    let server = Server::scripted("coin", &[]);
    let body = chat(json!({"n": 8, "temperature": 1, "seed": 3, "max_tokens": 12}));
    let texts = |answer: Value| -> Vec<String> {
        let choices = answer["choices"].as_array().expect("choices").clone();
        choices
            .iter()
            .map(|choice| choice["message"]["content"].to_string())
            .collect()
    };
    let first = texts(server.post("/v1/chat/completions", &body).json());
    assert_eq!(first.len(), 8);
    assert!(first.iter().any(|text| *text != first[0]), "{first:?}");
    assert_eq!(
        first,
        texts(server.post("/v1/chat/completions", &body).json())
    );

    let mut streamed = body;
    streamed["stream"] = json!(true);
    let mut said = vec![String::new(); 8];
    for chunk in server.post("/v1/chat/completions", &streamed).chunks() {
        let choice = &chunk["choices"][0];
        let index = choice["index"].as_u64().expect("an index") as usize;
        said[index] += choice["delta"]["content"].as_str().unwrap_or_default();
    }
    let said: Vec<String> = said
        .into_iter()
        .map(|text| json!(text).to_string())
        .collect();
    assert_eq!(said, first);

    let body = json!({"prompt": ["a", "b", [20, 21]], "n": 2, "max_tokens": 4, "stream": false});
    let answer = server.post("/v1/completions", &body).json();
    assert_eq!(answer["choices"].as_array().expect("choices").len(), 6);
}

#[test]
fn requests_without_a_seed_differ() {
    let server = Server::scripted("coin", &[]);
    let body = chat(json!({"temperature": 1, "max_tokens": 40, "repetition_penalty": 1.0}));
    let texts: Vec<String> = (0..12)
        .map(|_| server.post("/v1/chat/completions", &body).json()["choices"].to_string())
        .collect();
    assert!(texts.iter().any(|text| *text != texts[0]), "{}", texts[0]);
}

#[test]
fn unknown_fields_and_other_models_are_warned_of() {
    let server = Server::scripted("period-five", &[]);
    for path in [Path::Chat, Path::Completions, Path::Messages] {
        let over = json!({"temprature": 0.5, "model": "gpt-4"});
        let answer = server.post(path.as_str(), &path.body("go", false, &over));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(
            answer.head.contains("did you mean 'temperature'?"),
            "{}",
            answer.head
        );
        assert!(
            answer.head.contains("model 'gpt-4' is not served here"),
            "{}",
            answer.head
        );
    }
    let over = json!({"max_tokens": 10_000_000});
    let path = Path::Chat;
    let short = server.post(path.as_str(), &path.body("go", false, &over));
    assert!(short.head.contains("max_tokens is cut"), "{}", short.head);
}

#[rstest]
#[case(json!({"temperature": -1}), "temperature")]
#[case(json!({"temperature": "x"}), "temperature")]
#[case(json!({"top_p": 1.5}), "top_p")]
#[case(json!({"max_tokens": 0}), "max_tokens")]
#[case(json!({"repetition_penalty": -1}), "repetition_penalty")]
#[case(json!({"repetition_context_size": -1}), "repetition_context_size")]
#[case(json!({"logit_bias": {"999999": 5}}), "logit_bias")]
#[case(json!({"logit_bias": {"5": null}}), "logit_bias")]
fn wrong_values_are_refused_by_name_in_each_shape(#[case] over: Value, #[case] field: &str) {
    let server = Server::scripted("period-five", &[]);
    for path in [Path::Chat, Path::Completions, Path::Messages] {
        for stream in [false, true] {
            let answer = server.post(path.as_str(), &path.body("go", stream, &over));
            assert_eq!(answer.status, 400, "{path:?} {over} {}", answer.body);
            let error = &answer.json()["error"];
            assert_eq!(error["type"], "invalid_request_error");
            if path == Path::Messages {
                assert!(error["message"].to_string().contains(field), "{error}");
            } else {
                assert_eq!(error["param"], field, "{error}");
            }
        }
    }
}
