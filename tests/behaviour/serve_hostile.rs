//! Requests that want to hurt: each gets an orderly 4xx or a closed connection, and the next good
//! request is answered.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::served::{Answer, Path, Server, request, scripted};
use crate::support::Sandbox;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";
const MESSAGES: &str = "/v1/messages";

fn good(server: &Server) {
    for path in [Path::Chat, Path::Completions, Path::Messages] {
        let answer = server.post(path.as_str(), &path.body("go", false, &json!({})));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.tokens().1, "stop");
    }
    assert_eq!(server.get("/health").status, 200);
}

fn chat(over: &Value) -> Vec<u8> {
    Path::Chat.body("go", false, over).to_string().into_bytes()
}

/// Bodies and the status they deserve.
fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>, u16)> {
    let deep = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let json = |value: Value| value.to_string().into_bytes();
    let user = |content: Value| json(json!({"messages": [{"role": "user", "content": content}]}));
    vec![
        ("nothing", CHAT, Vec::new(), 400),
        ("half an object", CHAT, b"{\"messages\": [".to_vec(), 400),
        ("a list", CHAT, b"[]".to_vec(), 400),
        ("null", MESSAGES, b"null".to_vec(), 400),
        ("deep lists", CHAT, deep(100_000).into_bytes(), 400),
        (
            "deep within a message",
            CHAT,
            format!("{{\"messages\": {}}}", deep(5_000)).into_bytes(),
            400,
        ),
        (
            "wrong UTF-8",
            CHAT,
            b"{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\xfe\"}]}".to_vec(),
            400,
        ),
        (
            "a lone surrogate",
            CHAT,
            br#"{"messages": [{"role": "user", "content": "\ud800"}]}"#.to_vec(),
            400,
        ),
        (
            "a number beyond all",
            CHAT,
            br#"{"messages": [], "temperature": 1e999}"#.to_vec(),
            400,
        ),
        ("no messages", CHAT, json(json!({"messages": []})), 400),
        (
            "messages as text",
            CHAT,
            json(json!({"messages": "hi"})),
            400,
        ),
        (
            "an unknown role",
            CHAT,
            json(json!({"messages": [{"role": "robot", "content": "x"}]})),
            400,
        ),
        (
            "an unknown role there",
            MESSAGES,
            json(json!({"max_tokens": 3, "messages": [{"role": "tool", "content": "x"}]})),
            400,
        ),
        (
            "an image",
            CHAT,
            user(json!([{"type": "image_url", "image_url": {"url": "x"}}])),
            400,
        ),
        (
            "a result without its call",
            CHAT,
            json(json!({"messages": [{"role": "tool", "tool_call_id": "x", "content": "r"}]})),
            400,
        ),
        (
            "arguments that are no JSON",
            CHAT,
            json(
                json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]}),
            ),
            400,
        ),
        (
            "negative length",
            CHAT,
            chat(&json!({"max_tokens": -5})),
            400,
        ),
        (
            "NaN as text",
            CHAT,
            chat(&json!({"temperature": "NaN"})),
            400,
        ),
        (
            "an id beyond the vocabulary",
            CHAT,
            chat(&json!({"logit_bias": {"999999": 5}})),
            400,
        ),
        ("an empty stop", CHAT, chat(&json!({"stop": ""})), 400),
        ("a number as stop", CHAT, chat(&json!({"stop": [1]})), 400),
        (
            "ten thousand stops",
            CHAT,
            chat(&json!({"stop": vec!["abc"; 10_000]})),
            400,
        ),
        (
            "a million answers",
            CHAT,
            chat(&json!({"n": 1_000_000, "return_tokens": false})),
            400,
        ),
        (
            "a threshold beyond its range",
            CHAT,
            chat(&json!({"xtc_probability": 1.0, "xtc_threshold": 0.9})),
            400,
        ),
        ("an empty prompt", TEXT, json(json!({"prompt": []})), 400),
        (
            "ids beyond the vocabulary",
            TEXT,
            json(json!({"prompt": [4_000_000_000_u32]})),
            400,
        ),
        (
            "a prompt beyond the context",
            TEXT,
            json(json!({"prompt": "x".repeat(100_000)})),
            400,
        ),
        (
            "a schema",
            CHAT,
            chat(&json!({"response_format": {"type": "json_schema", "json_schema": {}}})),
            400,
        ),
        ("a body beyond the limit", CHAT, vec![b' '; 2 << 20], 413),
    ]
}

#[test]
fn hostile_bodies_are_refused_and_harm_nobody() {
    let server = Server::scripted("period-five", &["--max-body", "1048576"]);
    good(&server);
    for (name, path, body, status) in bodies() {
        let answer = server.send(path, &[], &body);
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        assert!(answer.json()["error"]["message"].is_string(), "{name}");
    }
    good(&server);
}

/// What killed mlx_lm.server 0.32.2 with one request each, and is in order here.
#[test]
fn what_kills_others_is_answered() {
    let server = Server::scripted("period-five", &[]);
    for (path, over) in [
        (Path::Completions, json!({"prompt": "", "max_tokens": 2})),
        (
            Path::Completions,
            json!({"prompt": ["a", "b"], "max_tokens": 2}),
        ),
        (Path::Chat, json!({"temperature": 1, "top_k": 512})),
        (Path::Chat, json!({"temperature": 1, "top_k": 100_000})),
        (
            Path::Chat,
            json!({"max_tokens": 1_000_000_000_000_u64, "stream": false}),
        ),
        (Path::Chat, json!({"temperature": 1e-40})),
        (
            Path::Chat,
            json!({"temperature": 1, "top_p": 1e-300, "min_p": 1}),
        ),
        (Path::Chat, json!({"repetition_penalty": 1e308})),
        (Path::Chat, json!({"stream": true, "stream_options": {}})),
    ] {
        let answer = server.post(path.as_str(), &path.body("go", false, &over));
        assert!(
            (200..500).contains(&answer.status),
            "{over}: {}",
            answer.body
        );
        good(&server);
    }
    // A prompt that is an earlier one with its answer.
    let first = server.post(TEXT, &json!({"prompt": [20, 21], "return_tokens": true}));
    let again = [vec![20, 21], first.tokens().0].concat();
    let answer = server.post(TEXT, &json!({"prompt": again}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    good(&server);
}

#[test]
fn hostile_connections_are_closed() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "serve.yaml",
        "version: 1\ntime_outs: {headers: 0.3, body: 0.3, write: 0.3}\n",
    );
    let model = scripted("period-five");
    let server = Server::start(sandbox, &model, &["--config", "serve.yaml"], &[]);
    let head = |lines: &str| format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{lines}\r\n");
    let json = "content-type: application/json\r\n";
    for (name, bytes, allowed) in [
        (
            "no HTTP",
            b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
            &[0, 400][..],
        ),
        ("half a request line", b"POST /v1/ch".to_vec(), &[0, 408]),
        (
            "headers without an end",
            head("a: b\r\n").trim_end().as_bytes().to_vec(),
            &[0, 408],
        ),
        (
            "a huge header",
            head(&format!("a: {}\r\n", "x".repeat(1 << 20))).into_bytes(),
            &[0, 431],
        ),
        (
            "a thousand headers",
            head(&"a: b\r\n".repeat(1000)).into_bytes(),
            &[0, 431],
        ),
        (
            "a body that never comes",
            head(&format!("{json}content-length: 50\r\n")).into_bytes(),
            &[408],
        ),
        (
            "an endless announcement",
            head(&format!("{json}content-length: 99999999999\r\n")).into_bytes(),
            &[413],
        ),
        (
            "two lengths",
            head(&format!("{json}content-length: 5\r\ncontent-length: 6\r\n")).into_bytes(),
            &[0, 400],
        ),
        (
            "a broken chunk",
            format!(
                "{}zz\r\n",
                head(&format!("{json}transfer-encoding: chunked\r\n"))
            )
            .into_bytes(),
            &[0, 400, 413],
        ),
        (
            "a form",
            head("content-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n")
                .into_bytes(),
            &[415],
        ),
    ] {
        let answer: Answer = server.raw(&bytes);
        assert!(allowed.contains(&answer.status), "{name}: {answer:?}");
    }
    // Half-open: everything is sent, and the client will send no more.
    let body = chat(&json!({"max_tokens": 3}));
    let mut client = server.connect();
    client.write_all(&request(CHAT, &[], &body)).expect("sent");
    client.shutdown(std::net::Shutdown::Write).expect("shut");
    // It is answered or closed, and does not hang.
    let status = Answer::read(client).status;
    assert!([0, 200].contains(&status), "{status}");
    good(&server);
}

#[test]
fn a_client_that_does_not_read_loses_its_place() {
    let sandbox = Sandbox::new();
    sandbox.write("serve.yaml", "version: 1\ntime_outs: {write: 0.3}\n");
    let model = scripted("period-five");
    let server = Server::start(sandbox, &model, &["--config", "serve.yaml"], &[]);
    // Large chunks, to fill the system's buffers soon.
    let endless = json!({"repetition_penalty": 1.0, "max_tokens": 32_000,
        "logprobs": true, "top_logprobs": 20});
    let body = Path::Chat.body("go", true, &endless).to_string();
    let mut client = server.connect();
    client
        .write_all(&request(CHAT, &[], body.as_bytes()))
        .expect("sent");
    client.read_exact(&mut [0; 16]).expect("a beginning");
    server.wait_until("its answer is cancelled", |server| {
        server.metric("loopwatch_answers_total{reason=\"cancelled\"}") == 1.0
    });
    good(&server);
    drop(client);
}
