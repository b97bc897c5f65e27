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
