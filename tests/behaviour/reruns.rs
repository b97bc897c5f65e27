//! Assertions for which a conversation is held once more: on the built-in model, on our own server,
//! and on one that does not keep what it promises.

use rstest::rstest;

use crate::faults::start;
use crate::served::Server;
use crate::support::{Sandbox, repository, timeless_cases};

const PROMPT: &str = "Explain Building Rust programs";

fn write(sandbox: &Sandbox, target: &str, sampling: &str, rest: &str) {
    sandbox.write(
        "s.yaml",
        &format!(
            "version: 1\ndescription: d\nwhy: w\n{target}sampling: {{max_tokens: 60, {sampling}}}\n\
             tests:\n- id: a\n  user: {PROMPT}\n{rest}"
        ),
    );
}

/// The built-in model's answer is the same again and in company, and the penalty shows.
#[test]
fn the_engine_keeps_its_promises_in_this_process() {
    let sandbox = Sandbox::new();
    write(
        &sandbox,
        "",
        "repetition_penalty: 1.1",
        "  assert: [deterministic, batch-invariant: 3, penalty-effect]\n  \
           control: {sampling: {repetition_penalty: 1.0}, must_fail: [penalty-effect]}\n",
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
    let case = &timeless_cases(&sandbox.runs("reports")[0])[0];
    let reruns = case["run"]["reruns"].as_array().expect("reruns");
    let ways: Vec<String> = reruns.iter().map(|one| one["way"].to_string()).collect();
    assert_eq!(
        ways,
        ["\"unchanged\"", "{\"beside\":3}", "\"without_penalties\""]
    );
    let tokens = |run: &serde_json::Value| {
        run["conversation"]["exchanges"][0]["transcript"]["tokens"].clone()
    };
    assert!(tokens(&case["run"]).as_array().expect("tokens").len() > 20);
    assert_eq!(tokens(&reruns[0]), tokens(&case["run"]));
    assert_eq!(tokens(&reruns[1]), tokens(&case["run"]));
    assert_ne!(tokens(&reruns[2]), tokens(&case["run"]));
    assert!(reruns[1]["company_tokens"].as_u64().expect("company") > 20);
    sandbox.run(&["judge"]).expect_code(0);
}

/// One answer through four forms of our server, with the tokens behind each.
#[test]
fn our_server_says_the_same_in_every_form() {
    let server = Server::start(Sandbox::new(), "builtin:readme", &[], &[]);
    let target = format!("target: {{openai: 'http://{}'}}\n", server.address);
    let sandbox = &server.sandbox;
    write(
        sandbox,
        &target,
        "repetition_penalty: 1.1",
        "  assert: [deterministic, batch-invariant, api-parity, penalty-effect]\n",
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
    let case = &timeless_cases(&sandbox.runs("reports")[0])[0];
    let reruns = case["run"]["reruns"].as_array().expect("reruns");
    let forms: Vec<&str> = reruns
        .iter()
        .filter_map(|one| one["way"]["form"].as_str())
        .collect();
    assert_eq!(forms, ["openai-whole", "anthropic", "anthropic-whole"]);
}

/// The original bug, from outside: a server that takes a penalty and drops it.
#[test]
fn a_server_that_drops_the_penalty_is_found() {
    let address = start("answer: {pieces: ['one ', 'two ', 'three ']}\n");
    let sandbox = Sandbox::new();
    let target = format!("target: {{openai: 'http://{address}'}}\n");
    let asserted = "  assert: [deterministic, penalty-effect]\n";
    write(&sandbox, &target, "repetition_penalty: 1.3", asserted);
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(100)
        .expect_stdout("penalty-effect  s.yaml:9")
        .expect_stdout("asked without penalties: the same ");
}

/// A form that a server does not have is trouble with the server, not a wrong answer.
#[test]
fn a_form_that_is_not_there_is_an_error() {
    let address = start("answer: {pieces: ['one ', 'two ']}\n");
    let sandbox = Sandbox::new();
    let target = format!("target: {{openai: 'http://{address}/nowhere'}}\n");
    write(
        &sandbox,
        &target,
        "seed: 1",
        "  assert: [api-parity: anthropic]\n",
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(101);
}

#[rstest]
#[case(
    "  assert: [api-parity]\n",
    "",
    "s.yaml:8: api-parity: it asks a server in several forms"
)]
#[case(
    "  assert: [deterministic]\n",
    "temperature: 0.7",
    "s.yaml:8: deterministic: two answers at temperature 0.7 differ by chance"
)]
#[case(
    "  assert: [penalty-effect]\n",
    "repetition_penalty: 1.0",
    "s.yaml:8: penalty-effect: no penalty is set"
)]
fn what_could_not_fail_is_refused_before_anything_is_asked(
    #[case] rest: &str,
    #[case] sampling: &str,
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    write(&sandbox, "", sampling, rest);
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(2)
        .expect_stderr(message);
}

/// The scenario that is made for others' servers, on ours and on one that keeps no promise about
/// penalties.
#[test]
fn the_promises_of_a_server_are_a_scenario() {
    let promises = repository("scenarios/servers/promises.yaml");
    let server = Server::start(Sandbox::new(), "builtin:readme", &[], &[]);
    let target = format!("openai:http://{}", server.address);
    let run = server.sandbox.run(&["run", &promises, "--target", &target]);
    run.expect_code(0).expect_stdout("1 of 1 control");
    let address = start("answer: {pieces: ['one ', 'two ', 'three ']}\n");
    let target = format!("openai:http://{address}");
    let sandbox = Sandbox::new();
    sandbox
        .run(&[
            "run",
            &promises,
            "--target",
            &target,
            "--filter",
            "penalty-counts",
        ])
        .expect_code(100);
}
