//! Assertions that belong to one turn of a conversation.

use super::*;
use crate::generation::{Message, Role};

/// Two turns: of a call and its answer, and of one answer that loops.
fn two_turns() -> Conversation {
    let call = tool_call("read", json!({"path": "a"}));
    let mut talk = conversation([
        transcript("", FinishReason::ToolCalls, &[call]),
        transcript("it says alpha", FinishReason::Stop, &[]),
        transcript(&"beta ".repeat(40), FinishReason::Length, &[]),
    ]);
    let spoken = [Role::User, Role::Tool, Role::User];
    for (exchange, role) in talk.exchanges.iter_mut().zip(spoken) {
        exchange.added = vec![Message::text(role, "x")];
    }
    talk
}

#[rstest]
#[case(1, json!({"type": "contains", "value": "alpha"}), true)]
#[case(2, json!({"type": "contains", "value": "alpha"}), false)]
#[case(1, json!({"type": "finish-reason", "value": "stop"}), true)]
#[case(2, json!({"type": "finish-reason", "value": "stop"}), false)]
#[case(1, json!({"type": "not-loop"}), true)]
#[case(2, json!({"type": "not-loop"}), false)]
#[case(1, json!({"type": "tool-called", "value": "read"}), true)]
#[case(2, json!({"type": "not-tool-called", "value": "read"}), true)]
#[case(2, json!({"type": "trajectory:tool-used", "value": "read"}), false)]
#[case(1, json!({"type": "max-tokens-used", "value": 13}), true)]
#[case(2, json!({"type": "max-tokens-used", "value": 199}), false)]
#[case(1, json!({"type": "assert-set", "assert": [{"type": "loop", "line": 1}]}), false)]
#[case(2, json!({"type": "assert-set", "assert": [{"type": "loop", "line": 1}]}), true)]
fn they_see_the_answers_to_that_turn(
    #[case] turn: usize,
    #[case] spec: serde_json::Value,
    #[case] holds: bool,
) {
    let mut spec = spec;
    spec["turn"] = json!(turn);
    let check = judged(spec, &two_turns(), None);
    assert_eq!(!check.failed(), holds, "{}", check.message);
    assert!(check.label.starts_with(&format!("turn {turn}: ")));
    assert_eq!(check.turn, Some(turn));
}

/// Generations keep the numbers they have in the conversation, where a reader looks for them.
#[test]
fn findings_number_generations_as_the_whole_conversation_does() {
    let second = |kind: &str| {
        let mut spec = json!({"type": kind, "turn": 2});
        if kind == "e2e" {
            spec["value"] = json!("1ms");
        }
        judged(spec, &two_turns(), None).message
    };
    assert!(second("not-loop").contains("loop confirmed in generation 3"));
    assert!(second("e2e").contains("(generation 3 of 3, the slowest)"));
}

/// Nothing was said, so nothing holds: neither an assertion nor its negation.
#[rstest]
#[case("loop")]
#[case("not-loop")]
fn a_turn_that_was_not_reached_fails_either_way(#[case] kind: &str) {
    let check = judged(json!({"type": kind, "turn": 3}), &two_turns(), None);
    assert!(check.failed());
    assert_eq!(check.message, "the conversation ended before this turn");
}
