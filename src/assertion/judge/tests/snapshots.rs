//! Answers beside their snapshots.

use super::*;

fn compared(reference: &[&str], model: &str, actual: &Conversation) -> Comparison {
    let info = |model: &str| SnapshotInfo {
        model: model.to_owned(),
        ..SnapshotInfo::default()
    };
    let reference = Snapshot::of(&said(reference), info("m"));
    compare(&reference, &info(model), actual)
}

/// Judges by tokens and by text: which of the two holds, and what both say.
fn holds(
    comparison: &Comparison,
    actual: &Conversation,
    (tokens, text): (bool, bool),
    message: &str,
) {
    for (matching, holds) in [("tokens", tokens), ("text", text)] {
        let check = judged(
            json!({"type": "snapshot", "match": matching}),
            actual,
            Some(comparison),
        );
        assert_eq!((check.message.as_str(), !check.failed()), (message, holds));
    }
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
    holds(&comparison, &actual, (tokens_hold, text_holds), message);
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
    holds(&comparison, &actual, (tokens_hold, text_holds), message);
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

/// Three tokens, and then two of the next four.
#[rstest]
#[case(json!({"match": "prefix", "tokens": 5}), "snapshot (first 5 tokens)", true)]
#[case(json!({"match": "prefix", "tokens": 6}), "snapshot (first 6 tokens)", false)]
#[case(json!({}), "snapshot", false)]
fn a_prefix_ends_before_the_rest(
    #[case] spec: serde_json::Value,
    #[case] label: &str,
    #[case] holds: bool,
) {
    let actual = said(&["abc", "deXg"]);
    let comparison = compared(&["abc", "defg"], "m", &actual);
    let mut spec = spec;
    spec["type"] = json!("snapshot");
    let check = judged(spec, &actual, Some(&comparison));
    assert_eq!((check.label.as_str(), !check.failed()), (label, holds));
}

#[rstest]
#[case("a  b\nc", "a b c ", true)]
#[case("a b c", "a b d", false)]
#[case("ab c", "a b c", false)]
fn normalised_text_has_one_sort_of_white_space(
    #[case] expected: &str,
    #[case] actual: &str,
    #[case] holds: bool,
) {
    let actual = said(&[actual]);
    let comparison = compared(&[expected], "m", &actual);
    let spec = |matching: &str| json!({"type": "snapshot", "match": matching});
    let check = judged(spec("normalised"), &actual, Some(&comparison));
    assert_eq!(!check.failed(), holds, "{}", check.message);
    assert_eq!(check.label, "snapshot (normalised text)");
    assert!(judged(spec("text"), &actual, Some(&comparison)).failed());
}

/// A `~` wins by 0.01 only.
#[rstest]
#[case("ab~d", "m", 0.02, true)]
#[case("ab~d", "m", 0.005, false)]
#[case("abxd", "m", 0.02, false)]
// Another question is no matter of rounding.
#[case("ab~d", "n", 0.02, false)]
fn a_tie_is_no_difference_where_the_scenario_says_so(
    #[case] actual: &str,
    #[case] model: &str,
    #[case] tie_margin: f64,
    #[case] holds: bool,
) {
    let actual = said(&[actual]);
    let comparison = compared(&["abcd"], model, &actual);
    let spec = json!({"type": "snapshot", "tie_margin": tie_margin});
    let check = judged(spec, &actual, Some(&comparison));
    assert_eq!(!check.failed(), holds, "{}", check.message);
    assert_eq!(check.label, format!("snapshot (ties below {tie_margin})"));
}
