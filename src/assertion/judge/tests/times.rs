//! Times between tokens.

use super::*;

/// Four tokens, the last of them late, and then one alone.
fn paused() -> Conversation {
    let mut first = transcript("abcd", FinishReason::Stop, &[]);
    first.token_at_us = vec![10_000, 11_000, 12_000, 40_000];
    conversation([first, transcript("e", FinishReason::Stop, &[])])
}

#[rstest]
#[case(
    "itl",
    "10ms",
    true,
    "mean time between tokens 10ms, limit 10ms (generation 1 of 2, the slowest)"
)]
#[case(
    "itl",
    "9.9ms",
    false,
    "mean time between tokens 10ms, limit 9.9ms (generation 1 of 2, the slowest)"
)]
#[case(
    "stall",
    "28ms",
    true,
    "longest pause 28ms, limit 28ms (generation 1 of 2, the slowest)"
)]
#[case(
    "stall",
    "27ms",
    false,
    "longest pause 28ms, limit 27ms (generation 1 of 2, the slowest)"
)]
#[case(
    "ttft",
    "9ms",
    false,
    "first token after 10ms, limit 9ms (generation 1 of 2, the slowest)"
)]
fn the_slowest_generation_decides(
    #[case] kind: &str,
    #[case] limit: &str,
    #[case] holds: bool,
    #[case] message: &str,
) {
    let check = judged(json!({"type": kind, "value": limit}), &paused(), None);
    assert_eq!((!check.failed(), check.message.as_str()), (holds, message));
    assert_eq!(check.label, format!("{kind} <= {limit}"));
}

#[rstest]
#[case("itl", "generation 1 has no time between tokens")]
#[case("stall", "generation 1 has no time between arrivals")]
fn what_came_at_once_has_no_time_between(#[case] kind: &str, #[case] message: &str) {
    let mut whole = transcript("abcd", FinishReason::Stop, &[]);
    whole.token_at_us = vec![whole.e2e_us; 4];
    let check = judged(
        json!({"type": kind, "value": "10s"}),
        &conversation([whole]),
        None,
    );
    assert_eq!((check.failed(), check.message.as_str()), (true, message));
}
