//! Loops as evidence, and the rules about them.

use super::*;
use crate::loops::{Thresholds, detect};

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
        snapshot: None,
        reruns: &[],
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

#[test]
fn a_loop_that_only_max_tokens_ended_is_a_loop() {
    let text = repeated(12, "");
    let judged_as = |reason| {
        let conversation = conversation([transcript(&text, reason, &[])]);
        judged(json!({"type": "not-loop"}), &conversation, None).failed()
    };
    assert!(!judged_as(FinishReason::Stop));
    assert!(judged_as(FinishReason::Length));
}

#[rstest]
#[case(json!("exact"), "not-loop (exact)", true)]
#[case(json!(["counter", "exact"]), "not-loop (counter, exact)", true)]
#[case(json!("near-duplicate"), "not-loop (near-duplicate)", false)]
fn a_kind_narrows_what_counts(
    #[case] kind: serde_json::Value,
    #[case] label: &str,
    #[case] counts: bool,
) {
    let conversation = said(&[&repeated(20, "")]);
    let check = judged(
        json!({"type": "not-loop", "kind": kind}),
        &conversation,
        None,
    );
    assert_eq!((check.label.as_str(), check.failed()), (label, counts));
    let found = if counts {
        "loop confirmed"
    } else {
        "no such loop in 1 generation; loop"
    };
    assert!(check.message.starts_with(found), "{}", check.message);
}
