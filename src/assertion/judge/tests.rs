//! Every rule in its positive and its negative form, with the exact words.

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
        thresholds: &Thresholds::default(),
        snapshot,
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

const BLOCK: &str = "The `Buffer`\n";

fn repeated(copies: usize, after: &str) -> String {
    format!("Well. {}{after}", BLOCK.repeat(copies))
}

#[test]
fn a_confirmed_loop_is_described() {
    let conversation = said(&["Fine.", &repeated(20, "")]);
    let detected = detect(
        &conversation.exchanges[1].transcript.token_ids(),
        &Thresholds::default(),
    )
    .expect("loops");
    let message = format!(
        "loop confirmed in generation 2: period 13 tokens, 20.0 copies, onset at token 6, detected at \
         token {}, 247 tokens wasted\nfragment: \"The `Buffer`\\n\"",
        detected.detected_at
    );
    assert_both("loop", &json!({}), &conversation, true, &message);
}

#[test]
fn a_recovered_loop_was_a_loop() {
    let conversation = said(&[&repeated(20, "And now something else.")]);
    let check = judged(json!({"type": "not-loop"}), &conversation, None);
    assert!(check.failed());
    assert!(
        check
            .message
            .starts_with("loop confirmed in generation 1, recovered at token 266: period 13 "),
        "{}",
        check.message
    );
}

#[test]
fn every_loop_is_evidence_and_is_named() {
    let (first, second) = (repeated(20, ""), repeated(30, ""));
    let conversation = said(&[&first, "Fine.", &second]);
    let evidence = Evidence {
        conversation: &conversation,
        thresholds: &Thresholds::default(),
        snapshot: None,
    };
    let judgement = judge(&evidence, &[assertion(json!({"type": "not-loop"}))]);
    let exchanges: Vec<usize> = judgement.loops.iter().map(|one| one.exchange).collect();
    assert_eq!(exchanges, [0, 2]);
    assert_eq!(judgement.loops[0].fragment, "The `Buffer`\\n");
    assert_eq!(judgement.checks[0].message.lines().count(), 4);
    assert!(!judgement.passed());
    assert_eq!(judge(&evidence, &[]).loops.len(), 2, "without an assertion");
}

#[test]
fn a_suspicion_counts_only_where_it_is_asked_for() {
    let thresholds = Thresholds::default();
    let span = thresholds.suspected_span(13).expect("within the limit");
    let conversation = said(&[&repeated(span.div_ceil(13), "")]);
    let confirmed = judged(json!({"type": "not-loop"}), &conversation, None);
    assert!(!confirmed.failed(), "{}", confirmed.message);
    assert!(
        confirmed
            .message
            .starts_with("no confirmed loop in 1 generation; loop suspected in generation 1: "),
        "{}",
        confirmed.message
    );
    for after in ["", "\nThat is all I know."] {
        let conversation = said(&[&repeated(span.div_ceil(13), after)]);
        let suspected = judged(
            json!({"type": "not-loop", "state": "suspected"}),
            &conversation,
            None,
        );
        assert!(suspected.failed(), "{}", suspected.message);
        assert_eq!(
            suspected.message.contains(", ended at token"),
            !after.is_empty()
        );
        assert_eq!(suspected.label, "not-loop (suspected)");
    }
}

#[test]
fn no_loop_is_said_so() {
    let conversation = said(&["Fine.", "Well."]);
    assert_both(
        "loop",
        &json!({}),
        &conversation,
        false,
        "no loop in 2 generations",
    );
}

#[test]
fn a_loop_without_visible_text_shows_token_ids() {
    let mut silent = transcript(&"ab".repeat(200), FinishReason::Length, &[]);
    silent.text.clear();
    silent.text_ends.fill(0);
    let message = judged(json!({"type": "loop"}), &conversation([silent]), None).message;
    assert!(
        message.ends_with("wasted\nfragment: no visible text, token ids 97 98"),
        "{message}"
    );
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

fn compared(reference: &[&str], model: &str, actual: &Conversation) -> Comparison {
    let info = |model: &str| SnapshotInfo {
        model: model.to_owned(),
        ..SnapshotInfo::default()
    };
    let reference = Snapshot::of(&said(reference), info("m"));
    compare(&reference, &info(model), actual)
}

#[rstest]
#[case(&["abc"], &["abc"], "m", (true, true), "the output equals its snapshot")]
#[case(&["x", "abcd"], &["x", "ab~d"], "m", (false, false), "first different token is 2 of generation 2: expected 99, got 126 (margin 0.0100, a near tie: rounding may have decided); text differs from byte 2 of generation 2: expected \"abcd\", got \"ab~d\"")]
#[case(&["abc"], &["ab"], "m", (false, false), "first different token is 2 of generation 1: expected 99, got the end; text differs from byte 2 of generation 1: expected \"abc\", got \"ab\"")]
#[case(&["abc"], &["axc"], "n", (false, false), "the inputs changed since the snapshot (model: m -> n); first different token is 1 of generation 1: expected 98, got 120 (margin 1.50); text differs from byte 1 of generation 1: expected \"abc\", got \"axc\"")]
fn snapshots(
    #[case] reference: &[&str],
    #[case] actual: &[&str],
    #[case] model: &str,
    #[case] (tokens_hold, text_holds): (bool, bool),
    #[case] message: &str,
) {
    let actual = said(actual);
    let comparison = compared(reference, model, &actual);
    for (matching, holds) in [("tokens", tokens_hold), ("text", text_holds)] {
        let check = judged(
            json!({"type": "snapshot", "match": matching}),
            &actual,
            Some(&comparison),
        );
        assert_eq!((check.message.as_str(), !check.failed()), (message, holds));
    }
}

#[rstest]
#[case(true, (false, true), "first different token is 1 of generation 1: expected 98, got 7 (margin 1.50); the text is the same")]
#[case(false, (false, false), "text differs from byte 1 of generation 1: expected \"abc\", got \"aBc\"; the tokens are the same, so their decoding changed")]
fn text_snapshots_ignore_tokens_and_token_snapshots_include_text(
    #[case] other_token: bool,
    #[case] (tokens_hold, text_holds): (bool, bool),
    #[case] message: &str,
) {
    let mut actual = said(&["abc"]);
    let transcript = &mut actual.exchanges[0].transcript;
    if other_token {
        transcript.tokens[1].id = 7;
    } else {
        transcript.text = "aBc".to_owned();
    }
    let comparison = compared(&["abc"], "m", &actual);
    for (matching, holds) in [("tokens", tokens_hold), ("text", text_holds)] {
        let check = judged(
            json!({"type": "snapshot", "match": matching}),
            &actual,
            Some(&comparison),
        );
        assert_eq!((check.message.as_str(), !check.failed()), (message, holds));
    }
}

#[rstest]
#[case(None, "the output was not compared with a snapshot")]
#[case(
    Some(Comparison::Missing),
    "there is no reviewed snapshot yet: run this outside CI, look at the pending file, and take it with `loopwatch accept`"
)]
fn no_snapshot_is_a_failure(#[case] comparison: Option<Comparison>, #[case] message: &str) {
    let check = judged(
        json!({"type": "snapshot"}),
        &said(&["a"]),
        comparison.as_ref(),
    );
    assert!(check.failed());
    assert_eq!(check.message, message);
}

#[test]
fn an_empty_conversation_fails_every_positive_rule() {
    for kind in AssertionSpec::KINDS {
        let value = match kind {
            "loop" | "snapshot" => json!(null),
            "finish-reason" => json!("stop"),
            "max-tokens-used" => json!(5),
            "ttft" | "e2e" => json!("1s"),
            _ => json!("x"),
        };
        let spec = |kind: &str| json!({"type": kind, "value": value});
        let check = judged(
            spec(kind),
            &Conversation::default(),
            Some(&Comparison::Match),
        );
        assert!(check.failed(), "{kind}");
        assert_eq!(check.message, "nothing was generated");
        if AssertionSpec::NEGATABLE.contains(&kind) {
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
