//! Every rule in its positive and its negative form, with the exact words.

mod loops;
mod reruns;
mod snapshots;
mod times;
mod together;
mod tools;
mod turns;

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::assertion::AssertionSpec;
use crate::generation::{Event, EventKind, Exchange, Token, ToolCall, Usage};
use crate::snapshot::{Snapshot, SnapshotInfo, compare};

/// A generation with one token for each character, one millisecond apart.
fn transcript(text: &str, reason: FinishReason, calls: &[ToolCall]) -> Transcript {
    let mut events = Vec::new();
    for (index, character) in text.chars().enumerate() {
        events.push(Event {
            at: Duration::from_millis(10 + index as u64),
            kind: EventKind::Delta {
                token: Token {
                    id: u32::from(character),
                    logprob: -0.1,
                    margin: if character == '~' { 0.01 } else { 1.5 },
                    top: Vec::new(),
                },
                text: character.to_string(),
            },
        });
    }
    for call in calls {
        events.push(Event {
            at: Duration::from_secs(1),
            kind: EventKind::ToolCall(call.clone()),
        });
    }
    events.push(Event {
        at: Duration::from_secs(1),
        kind: EventKind::Finished {
            reason,
            text: String::new(),
            content: None,
            reasoning: None,
            usage: Usage {
                input_tokens: 5,
                cached_tokens: 0,
                output_tokens: text.chars().count(),
            },
        },
    });
    Transcript::from_events(events).expect("complete")
}

fn conversation(transcripts: impl IntoIterator<Item = Transcript>) -> Conversation {
    let exchanges = transcripts.into_iter().map(|transcript| Exchange {
        added: Vec::new(),
        transcript,
        tool_results: Vec::new(),
    });
    Conversation {
        exchanges: exchanges.collect(),
    }
}

fn said(texts: &[&str]) -> Conversation {
    conversation(
        texts
            .iter()
            .map(|text| transcript(text, FinishReason::Stop, &[])),
    )
}

fn assertion(spec: serde_json::Value) -> Assertion {
    let mut spec = spec;
    spec["line"] = json!(3);
    let spec: AssertionSpec = serde_json::from_value(spec).expect("a spec");
    spec.lower().expect("a rule")
}

fn judged(
    spec: serde_json::Value,
    conversation: &Conversation,
    snapshot: Option<&Comparison>,
) -> Check {
    let evidence = Evidence {
        conversation,
        snapshot,
        reruns: &[],
    };
    let mut judgement = judge(&evidence, &[assertion(spec)]);
    judgement.checks.remove(0)
}

/// The positive form holds or not as `holds` says, its negation the other way, with one message.
fn assert_both(
    kind: &str,
    parameters: &serde_json::Value,
    conversation: &Conversation,
    holds: bool,
    message: &str,
) {
    for negated in [false, true] {
        let kind = if negated {
            format!("not-{kind}")
        } else {
            kind.to_owned()
        };
        let mut spec = parameters.clone();
        spec["type"] = json!(kind);
        let check = judged(spec, conversation, None);
        assert_eq!(check.message, message);
        assert_eq!(check.failed(), holds == negated, "{}", check.label);
        assert_eq!((check.kind, check.line), (kind, 3));
    }
}

#[rstest]
#[case(
    "contains",
    "tokio",
    "use tokio!",
    true,
    "the answer contains \"tokio\" at byte 4: \"tokio!\""
)]
#[case(
    "contains",
    "tokio",
    "use Tokio!",
    false,
    "the answer does not contain \"tokio\"; the answer begins: \"use Tokio!\""
)]
#[case(
    "contains",
    "x",
    "",
    false,
    "the answer does not contain \"x\"; the answer is empty"
)]
#[case(
    "contains",
    "\n",
    "a\nb",
    true,
    "the answer contains \"\\n\" at byte 1: \"\\nb\""
)]
#[case(
    "icontains",
    "TOKIO",
    "use Tokio!",
    true,
    "the answer contains \"TOKIO\" in upper or lower case; the answer begins: \"use Tokio!\""
)]
#[case(
    "icontains",
    "async",
    "Tokio",
    false,
    "the answer does not contain \"async\" in upper or lower case; the answer begins: \"Tokio\""
)]
#[case(
    "regex",
    "[0-9]+",
    "um 42!",
    true,
    "the pattern matches at byte 3: \"42\""
)]
#[case(
    "regex",
    "^[0-9]+$",
    "um 42!",
    false,
    "the pattern matches nowhere; the answer begins: \"um 42!\""
)]
#[case("equals", " yes", "yes\n", true, "the answer is \"yes\"")]
#[case(
    "equals",
    "yes",
    "yes, sir",
    false,
    "the answer differs at byte 3: expected the end, got \", sir\""
)]
#[case(
    "equals",
    "yes",
    "no",
    false,
    "the answer differs at byte 0: expected \"yes\", got \"no\""
)]
fn text_rules(
    #[case] kind: &str,
    #[case] value: &str,
    #[case] answer: &str,
    #[case] holds: bool,
    #[case] message: &str,
) {
    // Only the last generation is the answer.
    let conversation = said(&["tokio async 7 yes x\n", answer]);
    assert_both(
        kind,
        &json!({"value": value}),
        &conversation,
        holds,
        message,
    );
}

#[test]
fn a_long_answer_is_cut() {
    let message = judged(
        json!({"type": "contains", "value": "x"}),
        &said(&["a\n".repeat(500).as_str()]),
        None,
    )
    .message;
    assert!(message.ends_with("a\\na…\""), "{message}");
    assert!(message.chars().count() < 270, "{message}");
}

#[rstest]
#[case(FinishReason::Stop, true, "got stop after 3 tokens")]
#[case(
    FinishReason::Length,
    false,
    "expected stop, got length after 3 tokens"
)]
fn finish_reasons(#[case] last: FinishReason, #[case] holds: bool, #[case] message: &str) {
    let conversation = conversation([
        transcript("a", FinishReason::ToolCalls, &[]),
        transcript("abc", last, &[]),
    ]);
    assert_both(
        "finish-reason",
        &json!({"value": "stop"}),
        &conversation,
        holds,
        message,
    );
}

#[rstest]
#[case(7, true, "7 tokens used in 2 generations, at most 7 allowed")]
#[case(6, false, "7 tokens used in 2 generations, at most 6 allowed")]
fn tokens_of_all_generations_count(
    #[case] limit: usize,
    #[case] holds: bool,
    #[case] message: &str,
) {
    let check = judged(
        json!({"type": "max-tokens-used", "value": limit}),
        &said(&["abc", "defg"]),
        None,
    );
    assert_eq!((check.message.as_str(), !check.failed()), (message, holds));
}

fn tool_call(name: &str, arguments: serde_json::Value) -> ToolCall {
    ToolCall {
        id: None,
        name: name.to_owned(),
        arguments: arguments.as_object().cloned().expect("an object"),
    }
}

#[rstest]
#[case(json!({"value": "read_file"}), true, "called: read_file {\"path\":\"README.md\",\"range\":{\"from\":1,\"to\":9}}")]
#[case(json!({"value": "read_file", "args": {"path": "README.md"}}), true, "called: read_file {\"path\":\"README.md\",\"range\":{\"from\":1,\"to\":9}}")]
#[case(json!({"value": "read_file", "args": {"range": {"to": 9.0}}}), true, "called: read_file {\"path\":\"README.md\",\"range\":{\"from\":1,\"to\":9}}")]
#[case(json!({"value": "read_file", "args": {"path": "x"}}), false, "no call of read_file {\"path\":\"x\"} or more; the calls were: list_dir {}, read_file {\"path\":\"README.md\",\"range\":{\"from\":1,\"to\":9}}")]
#[case(json!({"value": "read_file", "args": {"range": {"to": 8}}}), false, "no call of read_file {\"range\":{\"to\":8}} or more; the calls were: list_dir {}, read_file {\"path\":\"README.md\",\"range\":{\"from\":1,\"to\":9}}")]
#[case(json!({"value": "list_dir", "args": {"path": "README.md"}}), false, "no call of list_dir {\"path\":\"README.md\"} or more; the calls were: list_dir {}, read_file {\"path\":\"README.md\",\"range\":{\"from\":1,\"to\":9}}")]
#[case(json!({"value": "read"}), false, "no call of read; the calls were: list_dir {}, read_file {\"path\":\"README.md\",\"range\":{\"from\":1,\"to\":9}}")]
fn tool_calls_of_any_generation(
    #[case] parameters: serde_json::Value,
    #[case] holds: bool,
    #[case] message: &str,
) {
    let calls = [
        tool_call("list_dir", json!({})),
        tool_call(
            "read_file",
            json!({"path": "README.md", "range": {"from": 1, "to": 9}}),
        ),
    ];
    let conversation = conversation([
        transcript("a", FinishReason::ToolCalls, &calls),
        transcript("b", FinishReason::Stop, &[]),
    ]);
    assert_both("tool-called", &parameters, &conversation, holds, message);
}

#[test]
fn no_tool_call_is_said_so() {
    assert_both(
        "tool-called",
        &json!({"value": "read_file"}),
        &said(&["I would read it."]),
        false,
        "no call of read_file; no tool was called",
    );
}

#[rstest]
#[case(
    "ttft",
    "30ms",
    true,
    "first token after 30ms, limit 30ms (generation 2 of 3, the slowest)"
)]
#[case(
    "ttft",
    "29ms",
    false,
    "first token after 30ms, limit 29ms (generation 2 of 3, the slowest)"
)]
#[case(
    "e2e",
    "1.5s",
    true,
    "end after 1.25s, limit 1.5s (generation 3 of 3, the slowest)"
)]
#[case(
    "e2e",
    "1.2s",
    false,
    "end after 1.25s, limit 1.2s (generation 3 of 3, the slowest)"
)]
fn the_slowest_generation_is_judged(
    #[case] kind: &str,
    #[case] limit: &str,
    #[case] holds: bool,
    #[case] message: &str,
) {
    let mut conversation = said(&["abc", "def", "ghi"]);
    conversation.exchanges[1].transcript.token_at_us = vec![30_000, 31_000, 32_000];
    conversation.exchanges[2].transcript.e2e_us = 1_250_000;
    let check = judged(json!({"type": kind, "value": limit}), &conversation, None);
    assert_eq!((check.message.as_str(), !check.failed()), (message, holds));
}

#[test]
fn a_generation_without_a_token_misses_every_limit() {
    let check = judged(
        json!({"type": "ttft", "value": "9s"}),
        &said(&["abc", ""]),
        None,
    );
    assert!(check.failed());
    assert_eq!(check.message, "generation 2 has no first token");
}

#[test]
fn an_empty_conversation_fails_every_positive_rule() {
    for kind in AssertionSpec::kinds() {
        let mut parameters = match kind {
            "loop" | "snapshot" | "contains-html" | "is-json" | "contains-json"
            | "deterministic" | "batch-invariant" | "api-parity" | "penalty-effect"
            | "stream-valid" => json!({}),
            "finish-reason" => json!({"value": "stop"}),
            "max-tokens-used" | "word-count" => json!({"value": 5}),
            "ttft" | "itl" | "stall" | "e2e" => json!({"value": "1s"}),
            "latency" | "perplexity" | "perplexity-score" => json!({"threshold": 0.5}),
            "assert-set" => json!({"assert": [{"type": "not-loop", "line": 1}]}),
            "trajectory:tool-args-match" => json!({"value": {"name": "x", "args": {}}}),
            _ => json!({"value": "x"}),
        };
        let mut spec = |kind: &str| {
            parameters["type"] = json!(kind);
            parameters.clone()
        };
        let check = judged(
            spec(kind),
            &Conversation::default(),
            Some(&Comparison::Match),
        );
        assert!(check.failed(), "{kind}");
        assert_eq!(check.message, "nothing was generated");
        if AssertionSpec::negatable().contains(&kind) {
            let check = judged(spec(&format!("not-{kind}")), &Conversation::default(), None);
            assert!(!check.failed(), "not-{kind}");
        }
    }
}

#[rstest]
#[case(json!({"type": "not-loop"}), "not-loop")]
#[case(json!({"type": "contains", "value": "tokio"}), "contains \"tokio\"")]
#[case(json!({"type": "not-icontains", "value": "a\nb"}), "not-icontains \"a\\nb\"")]
#[case(json!({"type": "regex", "value": "\\d+"}), "regex /\\d+/")]
#[case(json!({"type": "regex", "value": "(?x) a\n b"}), "regex /(?x) a  b/")]
#[case(json!({"type": "equals", "value": "yes"}), "equals \"yes\"")]
#[case(json!({"type": "not-finish-reason", "value": "length"}), "not-finish-reason length")]
#[case(json!({"type": "max-tokens-used", "value": 200}), "max-tokens-used 200")]
#[case(json!({"type": "tool-called", "value": "f"}), "tool-called f")]
#[case(json!({"type": "tool-called", "value": "f", "args": {"a": 1}}), "tool-called f {\"a\":1}")]
#[case(json!({"type": "snapshot"}), "snapshot")]
#[case(json!({"type": "snapshot", "match": "text"}), "snapshot (text)")]
#[case(json!({"type": "ttft", "value": "200ms"}), "ttft <= 200ms")]
#[case(json!({"type": "e2e", "value": "1.5s"}), "e2e <= 1.5s")]
fn labels(#[case] spec: serde_json::Value, #[case] label: &str) {
    assert_eq!(judged(spec, &said(&["a"]), None).label, label);
}
