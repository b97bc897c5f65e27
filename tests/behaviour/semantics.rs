//! Semantics profiles reach the sampler from every place where a person can name one.

use rstest::rstest;
use serde_json::Value;

use crate::support::Sandbox;

const LOOPS: [&str; 6] = [
    "generate",
    "--json",
    "--prompt",
    "Explain Building Rust programs",
    "--max-tokens",
    "400",
];

fn finish(variables: &[(&str, &str)], flags: &[&str]) -> String {
    let arguments = [&LOOPS, flags].concat();
    let ran = Sandbox::new()
        .run_with(variables, &arguments)
        .expect_code(0);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("one JSON object");
    answer["finish_reason"]
        .as_str()
        .expect("a reason")
        .to_owned()
}

/// The prompt loops without a penalty. An explicit penalty goes before the environment, and that
/// before the default of the profile.
#[rstest]
#[case(&[], &[], "stop")]
#[case(&[], &["--semantics", "mlx-lm-0.28.3"], "length")]
#[case(&[], &["--semantics", "mlx-lm-0.31.3"], "length")]
#[case(&[], &["--semantics", "mlx-lm-0.32.2"], "length")]
#[case(&[("MLX_REPETITION_PENALTY", "1.2")], &["--semantics", "mlx-lm-0.28.3"], "stop")]
#[case(
    &[("MLX_REPETITION_PENALTY", "1.2")],
    &["--semantics", "mlx-lm-0.28.3", "--repetition-penalty", "0"],
    "length"
)]
fn the_default_penalty_is_that_of_the_profile(
    #[case] variables: &[(&str, &str)],
    #[case] flags: &[&str],
    #[case] expected: &str,
) {
    assert_eq!(finish(variables, flags), expected);
}

#[test]
fn zero_is_a_penalty_under_mlx_lm_only() {
    let arguments = [&LOOPS[..], &["--repetition-penalty", "0"]].concat();
    Sandbox::new()
        .run(&arguments)
        .expect_code(2)
        .expect_stderr("repetition_penalty is 0, but must be above 0");
}

const SCENARIO: &str = "\
version: 1
description: a loop
why: the profile decides
sampling: {max_tokens: 400}
tests:
  - id: looping
    user: Explain Building Rust programs
    assert: [not-loop]
";

#[test]
fn a_scenario_or_a_flag_names_the_profile() {
    let sandbox = Sandbox::new();
    sandbox.write("scenarios/ours.yaml", SCENARIO);
    sandbox.run(&["run"]).expect_code(0);
    sandbox
        .run(&["run", "--semantics", "mlx-lm-0.32.2"])
        .expect_code(100);
    let pinned = SCENARIO.replace("sampling: {", "sampling: {semantics: mlx-lm-0.32.2, ");
    sandbox.write("scenarios/ours.yaml", &pinned);
    sandbox.run(&["run"]).expect_code(100);
    sandbox
        .run(&["run", "--semantics", "loopwatch"])
        .expect_code(0);
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["generate", "--prompt", "x", "--semantics", "mlx"][..],
        &["run", "--semantics", "mlx"],
        &["run", "--set", "sampling.semantics=mlx"],
    ] {
        sandbox
            .run(arguments)
            .expect_code(2)
            .expect_stderr("loopwatch, mlx-lm-0.28.3, mlx-lm-0.31.3, mlx-lm-0.32.2");
    }
    let typo = SCENARIO.replace("sampling: {", "sampling: {semantics: mlx-lm-0.32, ");
    sandbox.write("scenarios/typo.yaml", &typo);
    sandbox
        .run(&["run"])
        .expect_code(2)
        .expect_stderr("did you mean 'mlx-lm-0.32.2'?");
}
