//! vLLM's `repetition_detection` reaches the tokens on every path of the server: the answer ends at
//! the token that completes the repetition, and a path that drops the field fails here.
//!
//! The scripted model repeats five tokens for ever without a penalty.

use rstest::rstest;
use serde_json::{Value, json};

use crate::served::{Answer, Path, Server, scripted};
use crate::support::Sandbox;

/// As many tokens as are asked for.
const ASKED: usize = 60;

const PATHS: [Path; 3] = [Path::Chat, Path::Completions, Path::Messages];

fn rule(max_pattern_size: usize, min_pattern_size: usize, min_count: usize) -> Value {
    json!({
        "max_pattern_size": max_pattern_size,
        "min_pattern_size": min_pattern_size,
        "min_count": min_count,
    })
}

fn ask(server: &Server, path: Path, stream: bool, over: &Value) -> Answer {
    let mut body = path.body("go", stream, over);
    body["repetition_penalty"] = json!(1.0);
    if stream && path != Path::Messages {
        body["stream_options"] = json!({"include_usage": true});
    }
    server.post(path.as_str(), &body)
}

fn check(server: &Server, path: Path, stream: bool, over: &Value, tokens: usize, reason: &str) {
    let answer = ask(server, path, stream, over);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (ids, why) = answer.tokens();
    let told = (ids.len(), why.as_str());
    assert_eq!(told, (tokens, reason), "{path:?}, stream: {stream}, {over}");
    let says = |text: &str| answer.body.contains(text);
    let ended = reason == "repetition";
    let by_rule = says(r#""stop_reason":"repetition_detected""#);
    assert_eq!(by_rule, ended && path != Path::Messages, "{}", answer.body);
    if ended {
        let (why, usage) = match path {
            Path::Messages => (r#""stop_reason":"max_tokens""#, "output_tokens"),
            Path::Chat | Path::Completions => {
                (r#""finish_reason":"repetition""#, "completion_tokens")
            }
        };
        assert!(says(why), "{}", answer.body);
        assert!(says(&format!("\"{usage}\":{tokens}")), "{}", answer.body);
    }
}

#[rstest]
fn the_answer_ends_at_the_token_that_completes_it(
    #[values(Path::Chat, Path::Completions, Path::Messages)] path: Path,
    #[values(false, true)] stream: bool,
) {
    let server = Server::scripted("period-five", &[]);
    let stops = match path {
        Path::Messages => "stop_sequences",
        Path::Chat | Path::Completions => "stop",
    };
    let three = "one two three four five ".repeat(3);
    let cases = [
        (json!({}), ASKED, "length"),
        (json!({"repetition_detection": null}), ASKED, "length"),
        (json!({"repetition_detection": {}}), ASKED, "length"),
        (
            json!({"repetition_detection": rule(8, 0, 3)}),
            15,
            "repetition",
        ),
        (
            json!({"repetition_detection": rule(5, 5, 4)}),
            20,
            "repetition",
        ),
        // Ten tokens twice are the shortest repetition of six tokens or more.
        (
            json!({"repetition_detection": rule(12, 6, 2)}),
            20,
            "repetition",
        ),
        (
            json!({"repetition_detection": rule(4, 1, 2)}),
            ASKED,
            "length",
        ),
        // An answer that ends at this token anyway ends for that reason.
        (
            json!({"repetition_detection": rule(8, 0, 3), "max_tokens": 15}),
            15,
            "length",
        ),
        (
            json!({"repetition_detection": rule(8, 0, 3), stops: [three]}),
            15,
            "stop_sequence",
        ),
    ];
    for (over, tokens, reason) in &cases {
        check(&server, path, stream, over, *tokens, reason);
    }
    // Together in one batch, from one prompt: each ends by its own rule.
    std::thread::scope(|scope| {
        for (over, tokens, reason) in &cases {
            let server = &server;
            scope.spawn(move || check(server, path, stream, over, *tokens, reason));
        }
    });
}

#[test]
fn nothing_of_the_text_is_lost() {
    let server = Server::scripted("period-five", &[]);
    // The end of the third period may be the beginning of this stop string, so it is held back.
    let over = json!({"repetition_detection": rule(8, 0, 3), "stop": ["five one six"]});
    let answer = ask(&server, Path::Completions, false, &over).json();
    let text = answer["choices"][0]["text"].as_str().expect("text");
    assert_eq!(text.trim(), "one two three four five ".repeat(3).trim());
}

#[rstest]
#[case(json!(true), "repetition_detection", "expected an object")]
#[case(json!({"max_pattern_size": -1}), "repetition_detection.max_pattern_size", "found -1")]
#[case(json!({"max_pattern_size": 4, "min_count": 1.5}), "repetition_detection.min_count", "found 1.5")]
#[case(rule(4, 0, 1), "repetition_detection.min_count", "at least 2")]
#[case(
    rule(4, 5, 2),
    "repetition_detection.min_pattern_size",
    "at most max_pattern_size"
)]
#[case(
    rule(2049, 0, 2),
    "repetition_detection.max_pattern_size",
    "this server allows at most 2048"
)]
#[case(
    rule(usize::MAX, 0, 2),
    "repetition_detection.max_pattern_size",
    "this server allows"
)]
fn a_wrong_rule_is_refused_by_name(
    #[case] rule: Value,
    #[case] field: &str,
    #[case] problem: &str,
) {
    let server = Server::scripted("period-five", &[]);
    for path in PATHS {
        for stream in [false, true] {
            let answer = ask(
                &server,
                path,
                stream,
                &json!({"repetition_detection": rule}),
            );
            assert_eq!(answer.status, 400, "{}", answer.body);
            assert!(answer.body.contains(field), "{}", answer.body);
            assert!(answer.body.contains(problem), "{}", answer.body);
            if path != Path::Messages {
                assert_eq!(answer.json()["error"]["param"], field, "{}", answer.body);
            }
        }
    }
}

#[test]
fn an_unknown_field_of_the_rule_is_told() {
    let server = Server::scripted("period-five", &[]);
    let rule = json!({"max_pattern_size": 8, "min_count": 3, "min_cuont": 2});
    for path in PATHS {
        let answer = ask(&server, path, false, &json!({"repetition_detection": rule}));
        assert_eq!(answer.tokens().0.len(), 15);
        let warning = "'repetition_detection.min_cuont' is not known here and was ignored";
        assert!(answer.head.contains(warning), "{}", answer.head);
        assert!(
            answer.head.contains("did you mean 'min_count'?"),
            "{}",
            answer.head
        );
    }
}

/// Which of file and request counts, and what the operator allows.
#[test]
fn the_operator_sets_the_default_and_the_limit() {
    let sandbox = Sandbox::new();
    let file = "version: 1\nsampling:\n  repetition_detection: {max_pattern_size: 8, min_count: 4}\n\
                limits: {repetition_pattern_tokens: 5}\n";
    sandbox.write("serve.yaml", file);
    let model = scripted("period-five");
    let server = Server::start(sandbox, &model, &["--config", "serve.yaml"], &[]);
    for path in PATHS {
        check(&server, path, false, &json!({}), 20, "repetition");
        let own = json!({"repetition_detection": rule(5, 0, 2)});
        check(&server, path, false, &own, 10, "repetition");
        let off = json!({"repetition_detection": rule(0, 0, 0)});
        check(&server, path, false, &off, ASKED, "length");
        let beyond = json!({"repetition_detection": rule(6, 0, 2)});
        let refused = ask(&server, path, false, &beyond);
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(refused.body.contains("at most 5"), "{}", refused.body);
    }
    let server = Server::scripted("period-five", &["--max-repetition-pattern", "0"]);
    let refused = ask(
        &server,
        Path::Chat,
        false,
        &json!({"repetition_detection": rule(1, 0, 2)}),
    );
    assert_eq!(refused.status, 400, "{}", refused.body);
    let off = json!({"repetition_detection": rule(0, 0, 0)});
    check(&server, Path::Chat, true, &off, ASKED, "length");
}
