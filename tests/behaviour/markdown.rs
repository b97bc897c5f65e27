//! The step's summary and the comment on a pull request: what they say, and that they fit.

use crate::support::Sandbox;

#[test]
fn the_summary_is_appended_with_the_evidence() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write("summary.md", "before\n");
    let summary = sandbox.path("summary.md");
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_STEP_SUMMARY", summary.to_str().expect("UTF-8")),
        ("GITHUB_OUTPUT", "output.txt"),
    ];
    sandbox
        .run_with(&variables, &["run", "s.yaml", "--markdown", "comment.md"])
        .expect_code(100);
    assert_eq!(
        sandbox.read("output.txt"),
        "outcome=failed\npassed=2\nfailed=2\nerrored=0\nnot-run=0\n"
    );
    let text = sandbox.read("summary.md");
    let comment = sandbox.read("comment.md");
    assert_eq!(text, format!("before\n{comment}"));
    for part in [
        "### ❌ loopwatch failed\n\n2 passed, 2 failed; 1 of 2 controls failed as they must",
        "#### `s/loops`",
        "**not-loop** (line 12)",
        "period 5 tokens, 80.0 copies",
        "| s/cured | passed |",
        "fails as it must",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// A hundred and fifty cases fail with a message of more than two kilobytes each.
fn many_failures(sandbox: &Sandbox) {
    sandbox.gate_scenario("w");
    let long = format!("```\n<script>@nobody |{}", "x".repeat(2_500));
    let mut yaml = "version: 1\ndescription: d\nwhy: w\nmodel: script:checkpoints/stuck.yaml\n\
                    sampling: {max_tokens: 5}\ntests:\n"
        .to_owned();
    for number in 0..150 {
        yaml += &format!(
            "- id: t{number}\n  user: go\n  assert:\n  - {{type: equals, value: {}}}\n  - {{type: regex, value: '{}'}}\n",
            serde_json::to_string(&long).expect("JSON"),
            "a".repeat(2_500),
        );
    }
    sandbox.write("s.yaml", &yaml);
}

#[test]
fn both_keep_their_limits_and_count_what_they_leave_out() {
    let sandbox = Sandbox::new();
    many_failures(&sandbox);
    let summary = sandbox.path("summary.md");
    // What earlier commands of the step wrote counts.
    let before = "x".repeat(1_000_000);
    std::fs::write(&summary, &before).expect("written");
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_STEP_SUMMARY", summary.to_str().expect("UTF-8")),
    ];
    sandbox
        .run_with(&variables, &["run", "s.yaml", "--markdown", "comment.md"])
        .expect_code(100);
    let comment = sandbox.read("comment.md");
    assert!(
        comment.chars().count() < 65_536,
        "{}",
        comment.chars().count()
    );
    assert!(
        comment.chars().count() > 50_000,
        "{}",
        comment.chars().count()
    );
    assert!(comment.contains("0 passed, 150 failed"));
    assert!(comment.contains("more that did not pass are left out here"));
    let text = sandbox.read("summary.md");
    assert!(text.len() < 1 << 20, "{}", text.len());
    assert!(text.len() > before.len() + 10_000, "{}", text.len());
    // Nothing that a model or a scenario says can end the block that shows it.
    let fences = comment
        .lines()
        .filter(|line| line.starts_with("```"))
        .count();
    assert_eq!(fences % 2, 0);
    assert!(!comment.contains("<script>@nobody |") || comment.contains("```text"));
    // A summary that is full already is left alone.
    std::fs::write(&summary, "x".repeat(1 << 20)).expect("written");
    sandbox
        .run_with(&variables, &["run", "s.yaml"])
        .expect_code(100);
    assert_eq!(sandbox.read("summary.md").len(), 1 << 20);
}
