//! Rules about the calls of tools.

use super::*;

/// Of a search, a search and a read, in this order.
#[rstest]
#[case("trajectory:tool-used", json!({"value": "read"}), true)]
#[case("trajectory:tool-used", json!({"value": ["read", "write"]}), false)]
#[case("trajectory:tool-used", json!({"value": {"name": "search", "min": 2, "max": 2}}), true)]
#[case("trajectory:tool-used", json!({"value": {"name": "search", "max": 1}}), false)]
#[case("not-trajectory:tool-used", json!({"value": ["write", "fly"]}), true)]
// Negated, none of them may be called.
#[case("not-trajectory:tool-used", json!({"value": ["read", "write"]}), false)]
#[case("trajectory:tool-sequence", json!({"value": ["search", "read"]}), true)]
#[case("trajectory:tool-sequence", json!({"value": ["read", "search"]}), false)]
#[case(
    "trajectory:tool-sequence",
    json!({"value": {"steps": ["search", "read"], "mode": "exact"}}),
    false
)]
#[case(
    "trajectory:tool-sequence",
    json!({"value": {"steps": ["search", "search", "read"], "mode": "exact"}}),
    true
)]
#[case(
    "trajectory:tool-args-match",
    json!({"value": {"name": "read", "args": {"at": {"line": 3.0}}}}),
    true
)]
#[case(
    "trajectory:tool-args-match",
    json!({"value": {"name": "read", "args": {"at": {"line": 3}}, "mode": "exact"}}),
    false
)]
#[case("trajectory:tool-args-match", json!({"value": {"name": "search", "args": {"path": "a"}}}), false)]
#[case("tool-call-f1", json!({"value": ["search", "read"]}), true)]
// Two of three are shared: 2 * 2 / (3 + 2) = 0.8.
#[case("tool-call-f1", json!({"value": ["search", "read", "write"], "threshold": 0.8}), true)]
#[case("tool-call-f1", json!({"value": ["search", "read", "write"], "threshold": 0.81}), false)]
fn rules_about_tools(
    #[case] kind: &str,
    #[case] parameters: serde_json::Value,
    #[case] holds: bool,
) {
    let calls = [
        tool_call("search", json!({"q": "x"})),
        tool_call("search", json!({"q": "y"})),
        tool_call("read", json!({"path": "a", "at": {"line": 3, "column": 1}})),
    ];
    let conversation = conversation([transcript("", FinishReason::ToolCalls, &calls)]);
    let mut spec = parameters;
    spec["type"] = json!(kind);
    let check = judged(spec, &conversation, None);
    assert_eq!(!check.failed(), holds, "{}", check.message);
}
