//! Two targets in turn, and one with itself: servers whose times are known.

use serde_json::Value;

use crate::faults::start;
use crate::support::{Ran, Sandbox};

/// A server that says five words, with so many milliseconds before each but the first.
fn server(gap: u32, last: &str) -> String {
    let words = format!("answer: {{pieces: ['one ', 'two ', 'three ', 'four ', {last}]}}");
    let address = start(&format!("{words}\ntokens: true\nttft: 2ms\nitl: {gap}ms\n"));
    format!("openai:http://{address}")
}

fn scenario(sandbox: &Sandbox) {
    sandbox.write(
        "s.yaml",
        "version: 1\ndescription: d\nwhy: w\ntests:\n\
         - {id: a, user: hi, assert: [not-loop]}\n- {id: b, user: ho, assert: [contains: one]}\n",
    );
}

fn ab(sandbox: &Sandbox, before: &str, after: &str, rest: &[&str]) -> Ran {
    scenario(sandbox);
    let targets = ["ab", "s.yaml", "--target", before, "--target", after];
    sandbox.run(&[&targets, rest].concat())
}

#[test]
fn a_slower_server_is_called_slower_and_both_records_stay() {
    let sandbox = Sandbox::new();
    let (fast, slow) = (server(4, "five"), server(12, "five"));
    let rest = ["--pairs", "6", "--max-slowdown", "2%"];
    let ran = ab(&sandbox, &fast, &slow, &rest).expect_code(99);
    let ran = ran
        .expect_stdout("2 cases, 6 pairs each")
        .expect_stdout("0 of 2 cases changed")
        .expect_stdout("slower than allowed");
    let time = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("time per token"));
    let time = time.expect("a line");
    assert!(time.ends_with("over 12 pairs: slower"), "{time}");

    // What was measured is a record as any other.
    let run = sandbox.runs("reports").remove(0);
    let side = |name: &str| run.join(name).to_str().expect("UTF-8").to_owned();
    let (before, after) = (side("before"), side("after"));
    sandbox
        .run(&["compare", &before, &after, "--max-slowdown", "2%"])
        .expect_code(99)
        .expect_stdout(time);
    sandbox
        .run(&["compare", &after, &before, "--max-slowdown", "2%"])
        .expect_stdout("over 12 pairs: faster");
    sandbox.run(&["judge", &before]).expect_code(0);
}

#[test]
fn an_answer_that_differs_is_named_with_its_token() {
    let sandbox = Sandbox::new();
    let (one, other) = (server(1, "five"), server(1, "six"));
    let ran = ab(
        &sandbox,
        &one,
        &other,
        &["--pairs", "2", "--fail-on-change"],
    );
    ran.expect_code(100)
        .expect_stdout("2 of 2 cases changed")
        .expect_stdout("text of generation 1 of run 1 differs from byte ");
}

#[test]
fn a_side_that_does_not_answer_is_trouble_and_what_was_said_stays() {
    let sandbox = Sandbox::new();
    let good = server(1, "five");
    let address = start("answer: {pieces: [one]}\nfaults: {status: {code: 500}}\n");
    let bad = format!("openai:http://{address}");
    let ran = ab(&sandbox, &good, &bad, &["--pairs", "3"]);
    ran.expect_code(101).expect_stdout("HTTP 500");
    let run = sandbox.runs("reports").remove(0);
    let before = run.join("before");
    sandbox
        .run(&["judge", before.to_str().expect("UTF-8")])
        .expect_code(0)
        .expect_stdout("s/a");
}

#[test]
fn ab_wants_two_targets_and_aa_at_most_one() {
    let sandbox = Sandbox::new();
    scenario(&sandbox);
    let one = ["ab", "s.yaml", "--target", "echo"];
    sandbox
        .run(&one)
        .expect_code(2)
        .expect_stderr("give --target twice: first how it was, then how it is");
    let two = ["aa", "s.yaml", "--target", "echo", "--target", "engine"];
    sandbox
        .run(&two)
        .expect_code(2)
        .expect_stderr("'ab' compares two");
    let few = ["aa", "s.yaml", "--pairs", "1"];
    sandbox.run(&few).expect_code(2);
    let none = ["aa", "s.yaml", "--filter", "nothing-of-this-name"];
    sandbox.run(&none).expect_code(4);
    // Nothing was run, so nothing is left behind.
    assert!(!sandbox.path("reports").exists());
}

#[test]
fn the_noise_of_a_runner_is_told_with_what_pairs_would_find() {
    let sandbox = Sandbox::new();
    scenario(&sandbox);
    let target = server(2, "five");
    let aa = |rest: &[&str]| {
        let common = [
            "aa", "s.yaml", "--filter", "s/a", "--target", &target, "--pairs", "9",
        ];
        sandbox.run(&[&common, rest].concat())
    };
    let text = aa(&["--max-slowdown", "2%", "--must-find", "1.9%"]);
    text.expect_code(3)
        .expect_stdout("1 case, 9 pairs each")
        .expect_stdout("8 pairs   9 pairs  16 pairs  32 pairs  64 pairs")
        .expect_stdout("--must-find: this would not be found");

    let told = aa(&["--max-slowdown", "2%", "--must-find", "100000%", "--json"]);
    let told: Value = serde_json::from_str(&told.expect_code(0).stdout).expect("JSON");
    let noise = told["noise"].as_array().expect("a list");
    assert_eq!(noise.len(), 3, "{told}");
    for one in noise {
        assert_eq!(one["pairs"], 9);
        let half = one["half_within"].as_f64().expect("a share");
        assert!((0.0..1.0).contains(&half), "{told}");
        let found = one["detectable"].as_array().expect("a list").iter();
        let found: Vec<f64> = found
            .map(|one| one["slowdown"].as_f64().expect("a share"))
            .collect();
        // What is allowed is never found, and more pairs find no less.
        assert!(found.iter().all(|least| *least >= 0.02), "{told}");
        assert!(found.last() <= found.first(), "{told}");
    }
    assert_eq!(told["comparison"]["latency"][0]["pairs"], 9);
}

/// Every prompt is computed again: a remembered one would make the second of a pair shorter.
#[test]
fn an_engine_remembers_no_prompt_between_pairs() {
    let sandbox = Sandbox::new();
    scenario(&sandbox);
    sandbox
        .run(&["aa", "s.yaml", "--filter", "s/a", "--pairs", "2"])
        .expect_code(0)
        .expect_stdout("2 pairs");
    let run = sandbox.runs("reports").remove(0);
    let text = std::fs::read_to_string(run.join("after/record.jsonl")).expect("a record");
    let case = text.lines().nth(1).expect("a case");
    let case: Value = serde_json::from_str(case).expect("JSON");
    let runs = case["repeats"]["others"].as_array().expect("runs").iter();
    for run in runs.chain([&case["run"]]) {
        let usage = &run["conversation"]["exchanges"][0]["transcript"]["usage"];
        assert!(usage["input_tokens"].as_u64() > Some(4), "{usage}");
        assert!(usage["cached_tokens"] == 0, "{usage}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_pairs_that_are_whole() {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    let sandbox = Sandbox::new();
    scenario(&sandbox);
    let target = server(5, "five");
    let arguments = [
        "aa", "s.yaml", "--target", &target, "--pairs", "1000", "--filter", "s/a",
    ];
    let mut command = sandbox.command(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let child = child.expect("starts");
    std::thread::sleep(Duration::from_millis(1500));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    let output = child.wait_with_output().expect("ends");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{shown}");
    assert!(shown.contains("time to first token"), "{shown}");
    let run = sandbox.runs("reports").remove(0);
    let [before, after] = ["before", "after"].map(|side| {
        let text = std::fs::read_to_string(run.join(side).join("record.jsonl")).expect("a record");
        let case: Value = serde_json::from_str(text.lines().nth(1).expect("a case")).expect("JSON");
        case["repeats"]["others"].as_array().map_or(0, Vec::len)
    });
    assert!(before > 0 && before == after, "{before} {after}: {shown}");
}
