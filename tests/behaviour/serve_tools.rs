//! A call whose arguments break the tool's schema is no call: what the model wrote comes as text, and
//! nothing says that a tool was called.
//!
//! The scripted model calls `Read` with `{"file_path": "README.md"}`.

use rstest::rstest;
use serde_json::{Value, json};

use crate::served::{Answer, Path, Server};

fn ask(server: &Server, path: Path, stream: bool, required: &str) -> Answer {
    let schema = json!({"type": "object", "required": [required]});
    let tool = match path {
        Path::Messages => json!({"name": "Read", "input_schema": schema}),
        Path::Chat | Path::Completions => {
            json!({"type": "function", "function": {"name": "Read", "parameters": schema}})
        }
    };
    let answer = server.post(
        path.as_str(),
        &path.body("go", stream, &json!({"tools": [tool]})),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// The text, the number of calls, and the reason, as a client of the API finds them.
fn told(answer: &Answer, path: Path) -> (String, usize, String) {
    let parts = match answer.head.contains("text/event-stream") {
        true => answer.chunks(),
        false => vec![answer.json()],
    };
    let mut told = (String::new(), 0, String::new());
    for part in &parts {
        match path {
            Path::Messages => message(part, &mut told),
            Path::Chat | Path::Completions => chat(&part["choices"][0], &mut told),
        }
    }
    told
}

fn chat(choice: &Value, (text, calls, reason): &mut (String, usize, String)) {
    for said in [&choice["message"], &choice["delta"]] {
        *text += said["content"].as_str().unwrap_or_default();
        *calls += said["tool_calls"].as_array().map_or(0, Vec::len);
    }
    *reason += choice["finish_reason"].as_str().unwrap_or_default();
}

fn message(part: &Value, (text, calls, reason): &mut (String, usize, String)) {
    let whole = part["content"].as_array().into_iter().flatten();
    for block in whole.chain([&part["content_block"], &part["delta"]]) {
        *text += block["text"].as_str().unwrap_or_default();
        *calls += usize::from(block["type"] == "tool_use");
    }
    for place in [&part["stop_reason"], &part["delta"]["stop_reason"]] {
        *reason += place.as_str().unwrap_or_default();
    }
}

#[rstest]
fn arguments_are_checked_before_a_call_is_reported(
    #[values(Path::Chat, Path::Messages)] path: Path,
    #[values(false, true)] stream: bool,
) {
    let server = Server::scripted("think-then-call", &[]);
    let good = ask(&server, path, stream, "file_path");
    let (call, end) = match path {
        Path::Messages => ("tool_use", "end_turn"),
        Path::Chat | Path::Completions => ("tool_calls", "stop"),
    };
    assert_eq!(told(&good, path), (String::new(), 1, call.to_owned()));
    assert_eq!(good.tokens().1, "tool_calls");

    let wrong = ask(&server, path, stream, "path");
    let (text, calls, reason) = told(&wrong, path);
    assert_eq!((calls, reason.as_str()), (0, end), "{}", wrong.body);
    assert_eq!(
        wrong.tokens(),
        (good.tokens().0, "stop".to_owned()),
        "the same tokens"
    );
    let written = text.strip_prefix("<tool_call>").expect(&text);
    let written = written.strip_suffix("</tool_call>").expect(&text);
    let written: Value = serde_json::from_str(written).expect("JSON");
    let expected = json!({"name": "Read", "arguments": {"file_path": "README.md"}});
    assert_eq!(written, expected);
}
