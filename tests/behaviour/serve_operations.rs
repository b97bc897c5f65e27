//! What a server does besides answering: keys, limits, clients that leave, the order to stop, traces.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::served::{Path, Server, chat, request, scripted};
use crate::support::Sandbox;

#[test]
fn the_key_is_asked_for() {
    let model = scripted("period-five");
    let server = Server::start(Sandbox::new(), &model, &[], &[("LOOPWATCH_API_KEY", "k")]);
    let body = chat(json!({"max_tokens": 2})).to_string();
    let ask = |path: &str, header: &str| server.send(path, &[header], body.as_bytes()).status;
    assert_eq!(ask("/v1/chat/completions", "x: y"), 401);
    assert_eq!(ask("/v1/chat/completions", "authorization: Bearer no"), 401);
    assert_eq!(ask("/v1/chat/completions", "authorization: Bearer k"), 200);
    assert_eq!(ask("/v1/messages", "x-api-key: k"), 200);
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_client_that_leaves_stops_the_work() {
    let server = Server::scripted("period-five", &[]);
    let endless = json!({"repetition_penalty": 1.0, "max_tokens": 32_000, "return_tokens": false});
    for (count, stream) in [(1.0, true), (2.0, false)] {
        let body = Path::Chat.body("go", stream, &endless).to_string();
        let mut client = server.connect();
        let bytes = request("/v1/chat/completions", &[], body.as_bytes());
        client.write_all(&bytes).expect("sent");
        if stream {
            client.read_exact(&mut [0; 4096]).expect("a beginning");
        } else {
            server.wait_until("it runs", |server| {
                server.metric("loopwatch_answers_running") > 0.0
            });
        }
        drop(client);
        server.wait_until("the answer is cancelled", |server| {
            server.metric("loopwatch_answers_total{reason=\"cancelled\"}") == count
        });
    }
    let tokens = server.metric("loopwatch_output_tokens_total");
    assert!(tokens < 60_000.0, "{tokens} tokens for nobody");
    assert_eq!(server.metric("loopwatch_answers_running"), 0.0);
}

#[test]
fn a_full_house_says_so() {
    let server = Server::scripted("period-five", &["--max-answers", "1"]);
    let endless = json!({"repetition_penalty": 1.0, "max_tokens": 32_000});
    let body = Path::Chat.body("go", true, &endless).to_string();
    let mut client = server.connect();
    let bytes = request("/v1/chat/completions", &[], body.as_bytes());
    client.write_all(&bytes).expect("sent");
    // Reads a little and then nothing more, so the answer stays.
    client.read_exact(&mut [0; 512]).expect("a beginning");
    let refused = server.post("/v1/chat/completions", &chat(json!({})));
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    assert_eq!(refused.json()["error"]["code"], "queue_full");
    drop(client);
    server.wait_until("there is room again", |server| {
        server.post("/v1/chat/completions", &chat(json!({}))).status == 200
    });
}

#[test]
fn the_order_to_stop_ends_every_stream_in_its_form() {
    let server = Server::scripted("period-five", &["--grace", "0"]);
    let endless = json!({"repetition_penalty": 1.0, "max_tokens": 32_000});
    let mut clients = Vec::new();
    for index in 0..32 {
        let path = if index % 2 == 0 {
            Path::Chat
        } else {
            Path::Messages
        };
        let body = path.body("go", true, &endless).to_string();
        let mut client = server.connect();
        let bytes = request(path.as_str(), &[], body.as_bytes());
        client.write_all(&bytes).expect("sent");
        client.read_exact(&mut [0; 256]).expect("a beginning");
        clients.push((path, client));
    }
    server.terminate();
    let readers: Vec<_> = clients
        .into_iter()
        .map(|(path, mut client)| {
            std::thread::spawn(move || {
                let mut rest = String::new();
                client.read_to_string(&mut rest).expect("UTF-8, and an end");
                let end = match path {
                    Path::Messages => "event: error\n",
                    _ => "data: [DONE]\n",
                };
                assert!(
                    rest.contains(end),
                    "{path:?}: {}",
                    &rest[rest.len() - 400..]
                );
                assert!(rest.ends_with("0\r\n\r\n"), "the body is not complete");
            })
        })
        .collect();
    for reader in readers {
        reader.join().expect("a well-formed end");
    }
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn traces_hold_words_only_if_asked() {
    for (arguments, kept) in [
        (&["--trace", "t"][..], false),
        (&["--trace", "t", "--trace-text"], true),
    ] {
        let server = Server::scripted("period-five", arguments);
        let body = json!({"messages": [{"role": "user", "content": "my secret"}], "stop": "secret two",
            "repetition_penalty": 1.0});
        server.post("/v1/chat/completions", &body);
        server.wait_until("the line is written", |server| {
            server.sandbox.read("t").ends_with('\n')
        });
        let text = server.sandbox.read("t");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(text.contains("secret"), kept, "{text}");
        assert_eq!(text.contains("three"), kept, "{text}");
        assert_eq!(line["finish"]["reason"], "length", "{text}");
        assert_eq!(line["loop"]["period"], 5, "{text}");
        assert_eq!(line["sampling"]["repetition_penalty"], 1.0);
        let looped = server
            .metric("loopwatch_loops_total{state=\"confirmed\",kind=\"exact\",period=\"short\"}");
        assert_eq!(looped, 1.0);
    }
}

#[test]
fn other_paths_and_methods() {
    let server = Server::scripted("period-five", &[]);
    let models = server.get("/v1/models").json();
    let name = models["data"][0]["id"].as_str().expect("a name").to_owned();
    assert_eq!(server.get(&format!("/v1/models/{name}")).status, 200);
    let missing = server.get("/v1/models/gpt-4");
    assert_eq!(
        (missing.status, &missing.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(server.get("/v1/chat/completions").status, 405);
    assert_eq!(server.get("/v1/messages").json()["type"], "error");
    assert_eq!(server.get("/health").json()["status"], "ok");
}
