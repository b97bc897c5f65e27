//! What a scenario expects of single turns, from the file to the exit code.

use rstest::rstest;

use crate::support::Sandbox;

/// A model that calls a tool, reads its result, and repeats itself without a penalty; asked twice.
fn write(sandbox: &Sandbox, first: &str, second: &str, rest: &str) {
    sandbox.write(
        "checkpoints/m.yaml",
        "version: 1\ndescription: d\nstart: look\nafter_tool: stuck\nstates:\n  \
         look: {call: {name: Read, arguments: {path: a}}, next: eos}\n  stuck:\n    \
         loop: [\"one \", \"two \", \"three \", \"four \", \"five \"]\n    \
         escape: {to: eos, breaks_above: 1.031}\n",
    );
    sandbox.write(
        "s.yaml",
        &format!(
            "version: 1\ndescription: d\nwhy: w\nmodel: script:checkpoints/m.yaml\n\
             sampling: {{max_tokens: 300}}\nvars: {{word: one}}\n\
             tools:\n  Read:\n    description: r\n    \
             input_schema: {{type: object, properties: {{path: {{type: string}}}}}}\n    \
             mock: [{{otherwise: {{text: A}}}}]\n\
             tests:\n- id: a\n  turns:\n  - user: go\n    expect: {first}\n  - user: again\n    \
             expect: {second}\n{rest}"
        ),
    );
}

#[test]
fn a_turn_that_does_not_hold_is_named_and_pointed_at() {
    let sandbox = Sandbox::new();
    write(
        &sandbox,
        "[tool-called: Read, contains: '{{word}}', not-loop]",
        "\n    - not-loop\n    - contains: nowhere",
        "",
    );
    let arguments = ["run", "s.yaml", "--junit", "j.xml", "--sarif", "s.json"];
    let github = [("GITHUB_ACTIONS", "true")];
    let ran = sandbox.run_with(&github, &arguments).expect_code(100);
    let ran = ran
        .expect_stdout("✗ turn 2: contains \"nowhere\"  s.yaml:20")
        .expect_stdout("::error file=s.yaml,line=20,col=7,title=s/a%3A turn 2%3A contains");
    assert_eq!(ran.stdout.matches("✗ turn").count(), 1, "{}", ran.stdout);
    assert!(sandbox.read("j.xml").contains("turn 2: contains"));
    let sarif: serde_json::Value = serde_json::from_str(&sandbox.read("s.json")).expect("JSON");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "contains");
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 20);
    // A record knows the turns too.
    sandbox
        .run(&["judge"])
        .expect_code(100)
        .expect_stdout("turn 2: contains \"nowhere\"");
}

/// The control loops in each turn, and `must_fail` asks for it.
#[test]
fn a_control_breaks_what_a_turn_expects() {
    let sandbox = Sandbox::new();
    let control =
        "  control: {sampling: {repetition_penalty: 1.0}, must_fail: [not-loop, finish-reason]}\n";
    let expected = "[not-loop, finish-reason: stop]";
    write(&sandbox, expected, expected, control);
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(0)
        .expect_stdout("fails as it must (confirmed");
}

/// A control that ends before the turn has not shown that the cure matters there.
#[rstest]
#[case(2, "control must fail not-contains")]
#[case(4, "✗ turn 2: not-contains \"one\"")]
fn a_turn_that_was_not_reached_proves_no_control(#[case] max_turns: usize, #[case] shown: &str) {
    let sandbox = Sandbox::new();
    let rest = format!(
        "  limits: {{max_turns: {max_turns}}}\n  \
         control: {{sampling: {{repetition_penalty: 1.0}}, must_fail: [not-contains]}}\n"
    );
    write(&sandbox, "[not-loop]", "[not-contains: one]", &rest);
    let github = [("GITHUB_ACTIONS", "true")];
    let ran = sandbox.run_with(&github, &["run", "s.yaml"]);
    let ran = ran.expect_code(100).expect_stdout(shown);
    let proved = ran.stdout.contains("control must fail");
    assert_eq!(proved, max_turns == 2, "{}", ran.stdout);
}
