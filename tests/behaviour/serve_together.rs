//! Many streams at once get the tokens that each gets alone.

use serde_json::{Value, json};

use crate::served::{Path, Server};
use crate::support::Sandbox;

const STREAMS: usize = 64;

/// Settings that differ in all that can be set.
fn over(index: usize) -> Value {
    json!({
        "max_tokens": 8 + index % 9,
        "temperature": ([0.0, 0.7, 1.0][index % 3]),
        "seed": index,
        "top_p": ([1.0, 0.9][index % 2]),
        "top_k": ([0, 40, 5][index % 3]),
        "repetition_penalty": ([1.0, 1.05, 1.3, 2.0][index % 4]),
        "repetition_context_size": ([20, 64, 0][index % 3]),
        "frequency_penalty": ([0.0, 0.5][index / 2 % 2]),
        "logit_bias": if index.is_multiple_of(5) { json!({"40": 3.0}) } else { json!({}) },
    })
}

#[test]
fn company_changes_no_token() {
    let server = Server::start(Sandbox::new(), "builtin:readme", &[], &[]);
    let paths = [Path::Chat, Path::Messages, Path::Completions];
    let ask = |index: usize| {
        let path = paths[index % 3];
        let prompt = format!("Explain rule {} of the style guide", index % 7);
        let answer = server.post(
            path.as_str(),
            &path.body(&prompt, !index.is_multiple_of(5), &over(index)),
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (ids, reason) = answer.tokens();
        assert!(!ids.is_empty() && !reason.is_empty(), "{}", answer.body);
        (ids, reason)
    };
    let alone: Vec<_> = (0..STREAMS).map(ask).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..STREAMS)
            .map(|index| scope.spawn(move || ask(index)))
            .collect();
        let answers = threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"));
        answers.collect()
    });
    assert_eq!(together, alone);
    assert!(alone.iter().any(|answer| *answer != alone[0]));
}

/// A greedy answer that the server has given is given again, unless the client wants it fresh; a
/// drawn one is another answer each time.
#[test]
fn deterministic_answers_are_given_again_if_the_server_keeps_them() {
    let server = Server::scripted("period-five", &["--answer-cache", "1000000"]);
    let post = |body: &Value, headers: &[&str]| {
        let answer = server.send("/v1/chat/completions", headers, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        let known = answer.head.contains("x-loopwatch-cache: hit");
        (known, answer.json()["choices"].clone())
    };
    let body = |over: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "go"}], "max_tokens": 20});
        let over = over.as_object().expect("an object");
        body.as_object_mut()
            .expect("an object")
            .extend(over.clone());
        body
    };
    let greedy = body(json!({}));
    let (known, first) = post(&greedy, &[]);
    assert!(!known);
    assert_eq!(post(&greedy, &[]), (true, first.clone()));
    assert_eq!(
        post(&greedy, &["cache-control: no-cache"]),
        (false, first.clone())
    );
    let (known, other) = post(&body(json!({"repetition_penalty": 1.0})), &[]);
    assert!(!known);
    assert_ne!(other, first, "another penalty is another answer");

    let drawn = body(json!({"temperature": 1.5}));
    assert!(!post(&drawn, &[]).0);
    assert!(!post(&drawn, &[]).0, "nobody chose its numbers");
    let seeded = body(json!({"temperature": 1.5, "seed": 3}));
    assert!(!post(&seeded, &[]).0);
    assert!(post(&seeded, &[]).0);
    assert_eq!(server.metric("loopwatch_answer_cache_hits_total"), 2.0);

    let forgetful = Server::scripted("period-five", &[]);
    for _ in 0..2 {
        let answer = forgetful.post("/v1/chat/completions", &greedy);
        assert!(
            !answer.head.contains("x-loopwatch-cache"),
            "{}",
            answer.head
        );
    }
}
