//! Rules about all tokens of an answer, or about several rules, taken together.

use super::*;

/// Probabilities of 1/2 and 1/8 have a perplexity of 4, and 1 / (1 + 4) is 0.2.
#[rstest]
#[case(json!({"type": "perplexity", "threshold": 4.001}), true)]
#[case(json!({"type": "perplexity", "threshold": 3.999}), false)]
#[case(json!({"type": "perplexity-score", "threshold": 0.1999}), true)]
#[case(json!({"type": "perplexity-score", "threshold": 0.2001}), false)]
fn likelihood_is_that_of_the_last_answer(#[case] spec: serde_json::Value, #[case] holds: bool) {
    let mut conversation = said(&["xx", "ab"]);
    let tokens = &mut conversation.exchanges[1].transcript.tokens;
    tokens.truncate(2);
    for (token, probability) in tokens.iter_mut().zip([0.5_f32, 0.125]) {
        token.logprob = probability.ln();
    }
    assert_eq!(tokens.len(), 2);
    let check = judged(spec, &conversation, None);
    assert_eq!(!check.failed(), holds, "{}", check.message);
}

/// Of weights 2 and 1, the first holds: 0.667.
#[rstest]
#[case(json!(0.66), true)]
#[case(json!(0.67), false)]
#[case(json!(null), false)]
fn a_set_weighs_its_assertions(#[case] threshold: serde_json::Value, #[case] holds: bool) {
    let mut spec = json!({"type": "assert-set", "assert": [
        {"type": "contains", "value": "a", "weight": 2, "line": 1},
        {"type": "not-contains", "value": "b", "line": 2},
    ]});
    if !threshold.is_null() {
        spec["threshold"] = threshold;
    }
    let check = judged(spec, &said(&["ab"]), None);
    assert_eq!(!check.failed(), holds, "{}", check.message);
    assert!(
        check
            .message
            .contains("not-contains \"b\" does not hold: the answer contains")
    );
}
