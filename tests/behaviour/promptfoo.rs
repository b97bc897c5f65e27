//! `import promptfoo`: what is carried over gives the verdicts of promptfoo itself, and what is not
//! is listed with its line. `tests/promptfoo/record.py` ran the real one.

use rstest::rstest;
use serde_json::Value;

use crate::support::{Sandbox, repository, timeless_cases};

/// Verdict by verdict, for every deterministic assertion that both have.
#[test]
fn an_imported_configuration_gives_the_verdicts_of_promptfoo() {
    let sandbox = Sandbox::new();
    let config = repository("tests/promptfoo/promptfooconfig.yaml");
    sandbox
        .run(&["import", "promptfoo", &config, "-o", "imported.yaml"])
        .expect_code(0)
        .expect_stderr("wrote imported.yaml: 20 tests");
    sandbox.run(&["run", "imported.yaml"]).expect_code(100);
    let cases = timeless_cases(&sandbox.runs("reports")[0]);
    let golden = std::fs::read_to_string(repository("tests/promptfoo/verdicts.json"));
    let golden: Value = serde_json::from_str(&golden.expect("goldens")).expect("JSON");
    assert_eq!(golden["promptfoo"], "0.121.20");
    let rows = golden["rows"].as_array().expect("rows");
    assert_eq!(cases.len(), rows.len());
    let mut compared = 0;
    for (case, row) in cases.iter().zip(rows) {
        let said = &case["run"]["conversation"]["exchanges"][0]["transcript"]["text"];
        assert_eq!(*said, row["output"]);
        assert_eq!(
            case["verdict"] == "passed",
            row["pass"] == true,
            "{}",
            case["id"]
        );
        compared += compare_assertions(case, row);
    }
    assert!(compared > 100, "only {compared} assertions compared");
}

/// Compares the assertions of a row one by one; returns how many there were.
fn compare_assertions(case: &Value, row: &Value) -> usize {
    let specs = case["assertions"].as_array().expect("assertions");
    let checks = case["run"]["judgement"]["checks"]
        .as_array()
        .expect("checks");
    let mut theirs = row["assertions"]
        .as_array()
        .expect("assertions")
        .iter()
        .peekable();
    // A threshold of the test makes one set of all, of which the row tells no verdict of its own.
    let is_set = specs[0]["type"] == "assert-set";
    if is_set && theirs.peek().is_some_and(|one| one["type"] != "assert-set") {
        return 0;
    }
    for (spec, check) in specs.iter().zip(checks) {
        let their = theirs.next().expect("as many assertions");
        assert_eq!(spec["type"], their["type"], "{}", case["id"]);
        let held = check["status"] == "passed";
        assert_eq!(
            held,
            their["pass"] == true,
            "{}: {}",
            case["id"],
            check["label"]
        );
        for _ in spec["assert"].as_array().into_iter().flatten() {
            theirs.next();
        }
    }
    assert!(theirs.next().is_none(), "{}", case["id"]);
    checks.len()
}

#[rstest]
#[case(
    "- {type: llm-rubric, value: nice}",
    8,
    "'llm-rubric': a model or a program judges it"
)]
#[case("- {type: javascript, value: 'true'}", 8, "'javascript'")]
#[case(
    "- {type: contains-sql}",
    8,
    "'contains-sql': there is no such type here"
)]
#[case("- {type: regex, value: 'a(?=b)'}", 8, "'regex': ")]
#[case("- {type: contains, value: file://a.txt}", 8, "its value is a file")]
#[case(
    "- {type: contains, value: '{{ x | upper }}'}",
    8,
    "'{{ x | upper }}' is more than the name"
)]
#[case(
    "- {type: contains, value: a, transform: output.x}",
    8,
    "there is no 'transform' here"
)]
#[case(
    "- {type: contains, value: a, weight: 0}",
    8,
    "with a weight of 0 it cannot fail"
)]
#[case(
    "- {type: assert-set, assert: [{type: contains, value: a}, {type: python, value: b}]}",
    8,
    "it is left out whole, because of assertion 'python'"
)]
fn an_assertion_that_cannot_be_carried_over_is_left_out_and_listed(
    #[case] assertion: &str,
    #[case] line: usize,
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    sandbox.write(
        "p.yaml",
        &format!(
            "prompts: ['say {{{{x}}}}']\nproviders: [echo]\ntests:\n- description: One\n  \
             vars: {{x: hello}}\n  assert:\n  - {{type: contains, value: hello}}\n  {assertion}\n"
        ),
    );
    let ran = sandbox
        .run(&["import", "promptfoo", "p.yaml", "-o", "s.yaml"])
        .expect_code(5)
        .expect_stderr(&format!("p.yaml:{line}: not carried over:"))
        .expect_stderr(message);
    assert_eq!(
        ran.stderr.matches("not carried over:").count(),
        1,
        "{}",
        ran.stderr
    );
    // What is left is a scenario that runs.
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(0)
        .expect_stdout("s/one");
}

#[rstest]
#[case(
    "  threshold: 0.5\n",
    "its threshold counts an assertion that is not carried over"
)]
#[case("  provider: openai:x\n", "there is no 'provider' here")]
#[case(
    "  options: {transform: output.x}\n",
    "there is no 'options.transform' here"
)]
#[case("  vars: {x: file://a.txt}\n", "variable 'x': its value is a file")]
#[case("  vars: {x: '{{y}}'}\n", "variable 'x': a template in a value")]
fn a_test_that_would_say_something_else_is_left_out_whole(
    #[case] keys: &str,
    #[case] message: &str,
) {
    let sandbox = Sandbox::new();
    sandbox.write(
        "p.yaml",
        &format!(
            "prompts: [hello]\nproviders: [echo]\ntests:\n- assert: [{{type: contains, value: hello}}]\n\
             - assert:\n  - {{type: contains, value: hello}}\n  - {{type: python, value: x}}\n{keys}"
        ),
    );
    let ran = sandbox
        .run(&["import", "promptfoo", "p.yaml"])
        .expect_code(5)
        .expect_stderr("test 2 is left out")
        .expect_stderr(message);
    assert!(ran.stdout.contains("- id: test-1") && !ran.stdout.contains("test-2"));
}

#[test]
fn providers_become_targets_and_sampling_parameters() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "p.yaml",
        "prompts:\n- 'first {{x}}'\n- '[{\"role\": \"system\", \"content\": \"s\"}, \
         {\"role\": \"user\", \"content\": \"{{x}}\"}]'\n\
         providers:\n- id: openai:chat:gpt-x\n  config: {apiBaseUrl: 'http://127.0.0.1:9/v1', \
         temperature: 0.5, max_tokens: 20, logit_bias: {}}\n\
         - anthropic:messages:claude-x\n- bedrock:x\n\
         evaluateOptions: {repeat: 3}\n\
         tests:\n- vars: {x: [a, b]}\n  assert: [{type: icontains, value: '{{x}}'}]\n",
    );
    sandbox
        .run(&["import", "promptfoo", "p.yaml", "-o", "s.yaml"])
        .expect_code(5)
        .expect_stderr("p.yaml:6: not carried over: 'logit_bias' of provider")
        .expect_stderr("--target 'anthropic:https://api.anthropic.com'")
        .expect_stderr("provider 'bedrock:x'");
    let scenario = sandbox.read("s.yaml");
    assert!(
        scenario.contains("sampling: {temperature: 0.5, max_tokens: 20}"),
        "{scenario}"
    );
    assert!(scenario.contains("repeat: 3"), "{scenario}");
    let ran = sandbox
        .run(&["list", "s.yaml"])
        .expect_code(0)
        .expect_stdout("openai:http://127.0.0.1:9/v1");
    for id in ["s/test-1-prompt-1+a", "s/test-1-prompt-2+b"] {
        assert!(ran.stdout.contains(id), "{}", ran.stdout);
    }
}

#[test]
fn what_cannot_be_read_and_what_leaves_no_test_have_codes_of_their_own() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.yaml", "prompts: [\n");
    sandbox.write("list.yaml", "- a\n");
    sandbox.write(
        "judged.yaml",
        "prompts: [hi]\nproviders: [echo]\ntests:\n- assert: [{type: llm-rubric, value: x}]\n",
    );
    let import = |file: &str| sandbox.run(&["import", "promptfoo", file, "-o", "s.yaml"]);
    import("bad.yaml").expect_code(2).expect_stderr("bad.yaml:");
    import("list.yaml")
        .expect_code(2)
        .expect_stderr("no configuration of promptfoo");
    import("nowhere.yaml").expect_code(2);
    import("judged.yaml")
        .expect_code(4)
        .expect_stderr("test 1 is left out: no assertion is left");
    assert!(!sandbox.path("s.yaml").exists());
    sandbox.write("s.yaml", "mine");
    let good = repository("tests/promptfoo/promptfooconfig.yaml");
    import(&good)
        .expect_code(2)
        .expect_stderr("s.yaml exists already");
    assert_eq!(sandbox.read("s.yaml"), "mine");
}

/// The echo is there for trying assertions, so it says what was said last.
#[test]
fn the_echo_says_the_last_message_and_refuses_what_needs_tokens() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "s.yaml",
        "version: 1\ndescription: d\nwhy: w\ntarget: echo\ntests:\n\
         - {id: turns, turns: [{user: one}, {user: two}], assert: [equals: two]}\n\
         - {id: prompt, prompt: three, assert: [equals: three]}\n",
    );
    sandbox.run(&["run", "s.yaml"]).expect_code(0);
    sandbox.write(
        "tokens.yaml",
        "version: 1\ndescription: d\nwhy: w\ntarget: echo\ntests:\n\
         - {id: likely, user: one, assert: [{type: perplexity, threshold: 5}]}\n",
    );
    sandbox
        .run(&["run", "tokens.yaml"])
        .expect_code(101)
        .expect_stdout("needs the log-probability of every token");
}
