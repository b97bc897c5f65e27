//! An answer beside the same conversation held once more.

use super::*;
use crate::assertion::{ApiForm, RerunRule, Way, ways};
use crate::generation::SamplingSettings;

fn rerun(way: Way, texts: &[&str]) -> Rerun {
    Rerun {
        way,
        conversation: said(texts),
        company_tokens: matches!(way, Way::Beside(_)).then_some(20),
    }
}

fn judged_beside(spec: serde_json::Value, told: &[&str], reruns: &[Rerun]) -> (bool, String) {
    let evidence = Evidence {
        conversation: &said(told),
        snapshot: None,
        reruns,
    };
    let judgement = judge(&evidence, &[assertion(spec)]);
    (judgement.passed(), judgement.checks[0].message.clone())
}

#[rstest]
#[case(
    "deterministic",
    Way::Unchanged,
    "ab",
    true,
    "asked again: the same 2 tokens"
)]
#[case(
    "deterministic",
    Way::Unchanged,
    "ax",
    false,
    "asked again: first different token is 1 of generation 1: expected 98, got 120 (margin 1.50); \
     text differs from byte 1 of generation 1: expected \"ab\", got \"ax\""
)]
#[case(
    "deterministic",
    Way::Unchanged,
    "a~",
    false,
    "asked again: first different token is 1 of generation 1: expected 98, got 126 (margin 0.0100, a \
     near tie: rounding may have decided); text differs from byte 1 of generation 1: expected \"ab\", \
     got \"a~\""
)]
#[case(
    "batch-invariant",
    Way::Beside(4),
    "ab",
    true,
    "asked beside 4 others, which got 20 tokens meanwhile: the same 2 tokens"
)]
#[case(
    "penalty-effect",
    Way::WithoutPenalties,
    "ab",
    false,
    "asked without penalties: the same 2 tokens"
)]
#[case(
    "penalty-effect",
    Way::WithoutPenalties,
    "a",
    true,
    "asked without penalties: first different token is 1 of generation 1: expected 98, got the end; \
     text differs from byte 1 of generation 1: expected \"ab\", got \"a\""
)]
fn what_differs_is_told(
    #[case] kind: &str,
    #[case] way: Way,
    #[case] again: &str,
    #[case] holds: bool,
    #[case] message: &str,
) {
    let reruns = [rerun(way, &[again])];
    let judged = judged_beside(json!({ "type": kind }), &["ab"], &reruns);
    assert_eq!(judged, (holds, message.to_owned()));
}

#[test]
fn every_form_has_to_agree_and_a_missing_rerun_is_no_agreement() {
    let forms = [
        rerun(Way::Form(ApiForm::OpenaiWhole), &["ab"]),
        rerun(Way::Form(ApiForm::Anthropic), &["ac"]),
        rerun(Way::Unchanged, &["xx"]),
    ];
    let all = json!({"type": "api-parity"});
    let (holds, message) = judged_beside(all.clone(), &["ab"], &forms);
    assert!(!holds);
    assert!(
        message.contains("asked as openai-whole: the same 2 tokens\n"),
        "{message}"
    );
    assert!(
        message.contains("asked as anthropic: first different token"),
        "{message}"
    );
    let one = json!({"type": "api-parity", "value": "openai-whole"});
    assert!(judged_beside(one, &["ab"], &forms).0);
    let none = judged_beside(all, &["ab"], &forms[2..]);
    assert_eq!(
        none,
        (false, "the conversation was not held again".to_owned())
    );
}

#[test]
fn a_turn_is_held_beside_the_same_turn() {
    let mut spec: AssertionSpec =
        serde_json::from_value(json!({"type": "deterministic", "line": 3})).expect("a spec");
    spec.turn = Some(2);
    let assertion = spec.lower().expect("a rule");
    let turns = |texts: &[&str]| {
        let mut held = said(texts);
        for exchange in &mut held.exchanges {
            exchange.added = vec![crate::generation::Message::text(
                crate::generation::Role::User,
                "go",
            )];
        }
        held
    };
    let verdict = |again: &[&str]| {
        let reruns = [Rerun {
            conversation: turns(again),
            ..rerun(Way::Unchanged, &[])
        }];
        let evidence = Evidence {
            conversation: &turns(&["ab", "cd"]),
            snapshot: None,
            reruns: &reruns,
        };
        judge(&evidence, std::slice::from_ref(&assertion)).passed()
    };
    assert!(verdict(&["xx", "cd"]));
    assert!(!verdict(&["ab", "xx"]));
    assert!(!verdict(&["ab"]));
}

#[test]
fn each_way_is_gone_once_and_never_the_one_that_was_gone_already() {
    let all = [
        assertion(json!({"type": "deterministic"})),
        assertion(json!({"type": "assert-set", "assert": [{"type": "deterministic", "line": 1}]})),
        assertion(json!({"type": "batch-invariant", "value": 2})),
        assertion(json!({"type": "api-parity", "value": ["openai", "anthropic"]})),
        assertion(json!({"type": "not-loop"})),
    ];
    assert_eq!(
        ways(&all, Some(ApiForm::Openai)),
        [
            Way::Unchanged,
            Way::Beside(2),
            Way::Form(ApiForm::Anthropic)
        ]
    );
}

#[rstest]
#[case(json!({"temperature": 0.7}), "deterministic", true, "set sampling.seed")]
#[case(json!({"temperature": 0.7, "seed": 1}), "deterministic", true, "")]
#[case(json!({"repetition_penalty": 1.0}), "penalty-effect", true, "no penalty is set")]
#[case(json!({"repetition_penalty": 1.0, "presence_penalty": 0.1}), "penalty-effect", true, "")]
#[case(json!({"repetition_penalty": 1.05}), "penalty-effect", true, "")]
#[case(json!({}), "api-parity", false, "name one with --target")]
#[case(json!({}), "api-parity", true, "")]
fn what_could_not_fail_or_not_pass_is_refused(
    #[case] sampling: serde_json::Value,
    #[case] kind: &str,
    #[case] server: bool,
    #[case] why: &str,
) {
    let settings: SamplingSettings = serde_json::from_value(sampling).expect("settings");
    let sampling = settings.resolve().expect("in range");
    let asserted = assertion(json!({ "type": kind }));
    let rule: &RerunRule = asserted.reruns().next().expect("a rule");
    let refused = rule.pointless(&sampling, server.then_some(ApiForm::Openai));
    assert_eq!(refused.is_none(), why.is_empty(), "{refused:?}");
    assert!(refused.unwrap_or_default().contains(why));
}

/// A server that tells no tokens has none that could be the same.
#[test]
fn of_texts_alone_no_token_is_compared() {
    let text = |text: &str| {
        let piece = EventKind::Text(crate::generation::TextPiece {
            channel: crate::generation::Channel::Content,
            text: text.to_owned(),
            logprobs: Vec::new(),
        });
        let mut told = transcript("", FinishReason::Stop, &[]);
        let finish = EventKind::Finished {
            reason: FinishReason::Stop,
            text: String::new(),
            content: None,
            reasoning: None,
            usage: told.usage,
        };
        let at = Duration::from_millis(1);
        let events = [piece, finish].map(|kind| Event { at, kind });
        told = Transcript::from_events(events.to_vec()).expect("complete");
        conversation([told])
    };
    let reruns = [Rerun {
        conversation: text("ax"),
        ..rerun(Way::Unchanged, &[])
    }];
    let evidence = Evidence {
        conversation: &text("ab"),
        snapshot: None,
        reruns: &reruns,
    };
    let judgement = judge(&evidence, &[assertion(json!({"type": "deterministic"}))]);
    assert_eq!(
        judgement.checks[0].message,
        "asked again: text differs from byte 1 of generation 1: expected \"ab\", got \"ax\""
    );
}
