//! `loopwatch run` and what belongs to it, as a user meets them.

use crate::support::{Ran, Sandbox, repository};
use rstest::rstest;

/// A prompt on which the built-in model loops without a penalty and ends with one.
const LOOPING: &str = "Write a short note on Moved and copied types";

fn scenario(rest: &str) -> String {
    format!(
        "version: 1\n\
         description: A test\n\
         why: To see what happens\n\
         sampling: {{max_tokens: 400}}\n\
         tests:\n\
         - id: note\n  \
           user: {LOOPING}\n{rest}"
    )
}

fn run(sandbox: &Sandbox, yaml: &str) -> Ran {
    sandbox.write("s.yaml", yaml);
    sandbox.run(&["run", "s.yaml"])
}

#[test]
fn without_the_cure_the_flagship_fails_and_shows_the_loop() {
    let sandbox = Sandbox::new();
    let flagship = repository("scenarios/read-readme.yaml");
    let off = "sampling.repetition_penalty=1.0";
    let ran = sandbox
        .run(&["run", &flagship, "--set", off])
        .expect_code(100);
    for evidence in [
        "not-loop",
        "period 7 tokens",
        "copies",
        "onset at token",
        "fragment: \"\\n- `npm",
    ] {
        assert!(ran.stdout.contains(evidence), "{evidence}: {}", ran.stdout);
    }
    assert!(
        ran.stdout
            .contains(" --set 'sampling.repetition_penalty=1.0'")
    );
    // An experiment leaves nothing for review.
    assert!(!sandbox.path("snapshots").exists());
}

#[test]
fn the_cure_makes_the_difference_and_the_control_proves_it() {
    let sandbox = Sandbox::new();
    let yaml = scenario(
        "  control: {sampling: {repetition_penalty: 1.0}, must_fail: [not-loop]}\n  assert: [not-loop]\n",
    );
    run(&sandbox, &yaml)
        .expect_code(0)
        .expect_stdout("fails as it must")
        .expect_stdout("1 passed; 1 of 1 controls failed as they must");
}

#[test]
fn a_control_that_does_not_fail_fails_the_case() {
    let sandbox = Sandbox::new();
    let yaml = scenario(
        "  control: {sampling: {repetition_penalty: 1.1}, must_fail: [not-loop]}\n  assert: [not-loop]\n",
    );
    run(&sandbox, &yaml)
        .expect_code(100)
        .expect_stdout("the control must fail 'not-loop' and does not");
}

#[rstest]
// The environment moves the default …
#[case(&[("MLX_REPETITION_PENALTY", "1.0")], "", &[], 100)]
#[case(&[("MLX_REPETITION_CONTEXT_SIZE", "1")], "", &[], 100)]
// … the scenario wins over the environment …
#[case(&[("MLX_REPETITION_PENALTY", "1.0")], "  sampling: {repetition_penalty: 1.05}\n", &[], 0)]
#[case(&[], "  sampling: {repetition_penalty: 1.0}\n", &[], 100)]
// … and the command line over the scenario.
#[case(&[], "  sampling: {repetition_penalty: 1.0}\n", &["--set", "sampling.repetition_penalty=1.05"], 0)]
#[case(&[], "  sampling: {repetition_penalty: 1.05}\n", &["--set", "sampling.repetition_penalty=1.0"], 100)]
#[case(&[], "", &[], 0)]
fn the_penalty_reaches_the_tokens_from_everywhere(
    #[case] variables: &[(&str, &str)],
    #[case] sampling: &str,
    #[case] flags: &[&str],
    #[case] code: i32,
) {
    let sandbox = Sandbox::new();
    sandbox.write(
        "s.yaml",
        &scenario(&format!("{sampling}  assert: [not-loop]\n")),
    );
    let arguments = [&["run", "s.yaml"], flags].concat();
    sandbox.run_with(variables, &arguments).expect_code(code);
}

#[rstest]
#[case(
    "MLX_REPETITION_PENALTY",
    "0",
    "MLX_REPETITION_PENALTY is 0, but must be above 0"
)]
#[case(
    "MLX_REPETITION_PENALTY",
    "much",
    "MLX_REPETITION_PENALTY is 'much', but must be a number"
)]
#[case(
    "MLX_REPETITION_CONTEXT_SIZE",
    "-1",
    "MLX_REPETITION_CONTEXT_SIZE is '-1'"
)]
fn a_bad_environment_is_refused_by_name(
    #[case] name: &str,
    #[case] value: &str,
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    sandbox.write("s.yaml", &scenario("  assert: [not-loop]\n"));
    sandbox
        .run_with(&[(name, value)], &["run", "s.yaml"])
        .expect_code(2)
        .expect_stderr(message);
}

#[test]
fn a_typing_error_ends_with_its_place_and_the_remedy() {
    let sandbox = Sandbox::new();
    run(&sandbox, &scenario("  asert: [not-loop]\n"))
        .expect_code(2)
        .expect_stderr("s.yaml:8:3")
        .expect_stderr("unknown key 'asert'")
        .expect_stderr("did you mean 'assert'?");
}

#[test]
fn selecting_nothing_is_not_success() {
    let sandbox = Sandbox::new();
    sandbox.write("s.yaml", &scenario("  assert: [not-loop]\n"));
    sandbox
        .run(&["run", "s.yaml", "--filter", "tag:none"])
        .expect_code(4)
        .expect_stderr("no case matches 'tag:none'");
    sandbox
        .run(&["run", "missing.yaml"])
        .expect_code(2)
        .expect_stderr("missing.yaml does not exist");
}

#[test]
fn a_model_that_cannot_be_loaded_is_not_a_failed_assertion() {
    let sandbox = Sandbox::new();
    sandbox.write("s.yaml", &scenario("  assert: [not-loop]\n"));
    sandbox
        .run(&["run", "s.yaml", "--set", "model=nowhere"])
        .expect_code(101)
        .expect_stderr("cannot find model 'nowhere'");
}

#[test]
fn a_snapshot_is_pending_then_accepted_then_guards() {
    let sandbox = Sandbox::new();
    let yaml = scenario("  assert: [snapshot]\n");
    let snapshot = "snapshots/s/note.builtin-readme.snap";
    let pending = "snapshots/s/note.builtin-readme.snap.new";

    run(&sandbox, &yaml)
        .expect_code(100)
        .expect_stdout("there is no reviewed snapshot yet")
        .expect_stdout(pending);
    sandbox
        .run(&["accept"])
        .expect_code(0)
        .expect_stdout(snapshot);
    assert!(!sandbox.path(pending).exists());
    run(&sandbox, &yaml).expect_code(0);

    // Another token in the reference is found, named, and offered for review.
    let reference = sandbox.read(snapshot);
    let (before, _) = reference.trim_end().rsplit_once(' ').expect("ids");
    let changed = format!("{before} 7\n");
    assert_ne!(reference, changed);
    sandbox.write(snapshot, &changed);
    run(&sandbox, &yaml)
        .expect_code(100)
        .expect_stdout("token ")
        .expect_stdout("margin");
    assert_eq!(sandbox.read(pending), reference);
    sandbox.run(&["reject"]).expect_code(0);
    assert!(!sandbox.path(pending).exists());

    // In CI the same mismatch fails and writes nothing.
    let arguments = ["run", "s.yaml"];
    sandbox
        .run_with(&[("CI", "true")], &arguments)
        .expect_code(100);
    assert!(!sandbox.path(pending).exists());

    sandbox
        .run(&["accept", "other"])
        .expect_code(2)
        .expect_stderr("other");
}

#[test]
fn a_record_is_judged_and_reported_again_without_a_model() {
    let sandbox = Sandbox::new();
    run(
        &sandbox,
        &scenario("  sampling: {repetition_penalty: 1.0}\n  assert: [not-loop, contains: type]\n"),
    )
    .expect_code(100);
    sandbox
        .run(&["judge"])
        .expect_code(100)
        .expect_stdout("loop confirmed")
        .expect_stdout("0 passed, 1 failed");
    sandbox
        .run(&["report", "latest", "--output", "page.html"])
        .expect_code(0);
    let page = sandbox.read("page.html");
    // The page escapes the slash of the id, as it escapes everything a model may write.
    for part in [
        "s&#x2f;note",
        "1 of 1 case failed",
        "period",
        "<mark",
        "<svg",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    sandbox
        .run(&["judge", "elsewhere"])
        .expect_code(2)
        .expect_stderr("elsewhere");
}

#[test]
fn limits_fail_a_case_with_their_name() {
    let sandbox = Sandbox::new();
    run(
        &sandbox,
        &scenario("  limits: {time_limit: 1ms}\n  assert: [not-loop]\n"),
    )
    .expect_code(100)
    .expect_stdout("time_limit: not finished after 0.001 s");
    run(
        &sandbox,
        &scenario("  limits: {token_limit: 5}\n  assert: [not-loop]\n"),
    )
    .expect_code(100)
    .expect_stdout("token_limit: more than 5 tokens");
    run(
        &sandbox,
        &scenario("  limits: {token_limit: 0}\n  assert: [not-loop]\n"),
    )
    .expect_code(2)
    .expect_stderr("token_limit is 0, but must be at least 1");
}

/// The cases of the last run as recorded, without what depends on the clock or on company.
fn recorded(sandbox: &Sandbox) -> Vec<serde_json::Value> {
    let runs = std::fs::read_dir(sandbox.path("reports")).expect("reports");
    let mut runs: Vec<_> = runs.map(|run| run.expect("a run").path()).collect();
    runs.sort();
    let newest = runs.last().expect("a run").join("record.jsonl");
    let text = std::fs::read_to_string(newest).expect("a record");
    let lines = text.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        forget_times(&mut line);
        line
    });
    let mut cases: Vec<_> = lines.filter(|line| line["line"] == "case").collect();
    cases.sort_by_key(|case| case["index"].as_u64());
    cases
}

fn forget_times(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for name in ["token_at_us", "e2e_us", "cached_tokens"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(forget_times);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

#[test]
fn answers_do_not_depend_on_how_many_are_asked_for_at_once() {
    let sandbox = Sandbox::new();
    let control = "  control: {sampling: {seed: 9}, must_fail: [not-loop]}\n";
    let mut yaml = "version: 1\ndescription: d\nwhy: w\n\
                    sampling: {temperature: 0.8, seed: 1, max_tokens: 60}\ntests:\n"
        .to_owned();
    for (index, title) in ["Configuration", "Traits", "Traits", "Errors", "Tests"]
        .iter()
        .enumerate()
    {
        yaml += &format!("- id: t{index}\n  user: Explain {title}\n  assert: [not-loop]\n");
        yaml += if index % 2 == 0 { control } else { "" };
    }
    sandbox.write("s.yaml", &yaml);
    let alone = {
        sandbox.run(&["run", "s.yaml", "--jobs", "1"]);
        recorded(&sandbox)
    };
    assert_eq!(alone.len(), 5);
    for _ in 0..2 {
        // The folders of two runs in one second have one name but for a number.
        std::fs::remove_dir_all(sandbox.path("reports")).expect("removed");
        sandbox.run(&["run", "s.yaml", "--jobs", "8"]);
        assert_eq!(recorded(&sandbox), alone);
    }
}

#[test]
fn a_pipe_gets_plain_lines() {
    let sandbox = Sandbox::new();
    let ran = run(&sandbox, &scenario("  assert: [not-loop]\n")).expect_code(0);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'));
}

#[cfg(unix)]
#[rstest]
#[case("-INT", 130)]
#[case("-TERM", 143)]
fn an_interrupted_run_keeps_what_it_has(#[case] signal: &str, #[case] code: i32) {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};

    let sandbox = Sandbox::new();
    let first = scenario("  assert: [not-loop]\n");
    let endless = "- id: endless\n  user: Explain Building Rust programs\n  \
                   sampling: {max_tokens: 100000, ignore_eos: true}\n  assert: [not-loop]\n";
    sandbox.write("s.yaml", &format!("{first}{endless}"));
    let mut child = sandbox
        .command(&["run", "s.yaml"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("s/note") {
        line.clear();
        assert!(
            lines.read_line(&mut line).expect("a line") > 0,
            "ended early"
        );
    }
    let killed = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("the rest");
    assert_eq!(child.wait().expect("ends").code(), Some(code), "{rest}");
    assert!(rest.contains("1 passed, 1 not run"), "{rest}");
    sandbox.run(&["judge"]).expect_stdout("s/note");
}

/// A change of the file runs it again, also after one that broke it.
#[cfg(unix)]
#[test]
fn a_watched_scenario_is_run_again_when_it_changes() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let sandbox = Sandbox::new();
    sandbox.write("s.yaml", &scenario("  assert: [not-loop]\n"));
    let mut command = sandbox.command(&["run", "s.yaml", "--watch"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped"));
    let mut until = |wanted: &str| {
        let mut shown = String::new();
        while !shown.contains(wanted) {
            let read = lines.read_line(&mut shown).expect("a line");
            assert!(read > 0, "no {wanted:?} in {shown}");
        }
        shown
    };
    until("watching 1 file;");
    sandbox.write("s.yaml", &scenario("  asert: [not-loop]\n"));
    let shown = until("watching 1 file;");
    assert!(shown.contains("s.yaml changed"), "{shown}");
    assert!(shown.contains("did you mean 'assert'?"), "{shown}");
    sandbox.write("s.yaml", &scenario("  assert: [contains: no-such-word]\n"));
    until("watching 1 file;");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    // The first and the last were whole runs, and the last failed.
    assert_eq!(sandbox.runs("reports").len(), 2);
    sandbox.run(&["judge", "latest"]).expect_code(100);
}
