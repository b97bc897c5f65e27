//! What a script says, and what it may not say.

use rstest::rstest;

use super::answer::{Form, parts};
use super::*;

fn script(yaml: &str) -> Result<FaultScript, String> {
    let text = format!("version: 1\n{yaml}");
    FaultScript::parse(Path::new("faults.yaml"), &text).map_err(|error| format!("{error:?}"))
}

#[test]
fn loops_are_made_by_recipe_and_times_are_exact() {
    let script = script(
        "answer: {pieces: [a, b], loop: [x, y], times: 3}\nttft: 200ms\nitl: 20ms\n\
         faults: {merge: 2, stall: {after: 4, for: 1s}}",
    )
    .expect("a script");
    assert_eq!(script.pieces.concat(), "abxyxyxy");
    let form = Form {
        anthropic: false,
        stream: true,
        tokens: true,
    };
    let parts = parts(&script, form);
    let times: Vec<u128> = parts.iter().map(|part| part.at.as_millis()).collect();
    // The role, four pairs, the last chunk, the counts, [DONE]; pieces come with the last of their pair.
    assert_eq!(times, [0, 220, 260, 1300, 1340, 1340, 1340, 1340]);
}

#[rstest]
#[case("answer: {pieces: []}", "the answer is empty")]
#[case("answer: {pieces: [a]}\nfautls: {}", "unknown key 'fautls'")]
#[case("answer: {pieces: [a]}\nttft: 200", "'200' is no duration")]
#[case("answer: {pieces: [a]}\nfaults: {merge: 0}", "must be at least 1")]
#[case(
    "answer: {pieces: [a]}\nfaults: {status: {code: 42}}",
    "42 is no HTTP status"
)]
#[case("answer: {pieces: [a]}\nreasoning: {}", "the reasoning is empty")]
#[case(
    "answer: {pieces: [a]}\nfaults: {irregular: [no-don]}",
    "'no-don' is no irregularity of a stream"
)]
#[case("answer: {loop: [a], times: 99999999}", "more than")]
fn mistakes_are_explained(#[case] yaml: &str, #[case] message: &str) {
    let error = script(yaml).expect_err("refused");
    assert!(error.contains(message), "{error}");
}
