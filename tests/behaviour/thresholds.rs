//! Thresholds over groups of runs: read strictly, judged once all of a group has run, and told in
//! every output.

use rstest::rstest;
use serde_json::Value;

use crate::support::{Sandbox, repository};

/// A scenario of ten cases, of which `loops` loop, with thresholds.
fn scenario(thresholds: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 10);
    let yaml = sandbox.read("s.yaml");
    // Three of the ten loop, and nobody asks whether they do.
    let yaml = yaml.replace("assert: [not-loop]", "assert: [contains: one]");
    sandbox.write("s.yaml", &format!("{yaml}thresholds:\n{thresholds}"));
    sandbox
}

#[test]
fn a_threshold_decides_the_exit_code_and_stands_in_every_output() {
    let sandbox = scenario(
        "  loops: rate < 0.25\n  pass: [rate >= 0.95, lower95 >= 0.6]\n  tokens: max <= 400\n",
    );
    let ran = sandbox
        .run_with(
            &[("GITHUB_ACTIONS", "true")],
            &[
                "run",
                "s.yaml",
                "--junit",
                "j.xml",
                "--json",
                "r.json",
                "--markdown",
                "m.md",
                "--sarif",
                "s.json",
            ],
        )
        .expect_code(99)
        .expect_stdout("✗ loops rate < 0.25: 0.300 (3 of 10 runs)  s.yaml:18")
        .expect_stdout("✓ pass rate >= 0.95: 1.000 (10 of 10 runs)  s.yaml:19")
        .expect_stdout("✓ pass lower95 >= 0.6")
        .expect_stdout("✓ tokens max <= 400")
        .expect_stdout("10 passed");
    let annotation = "::error file=s.yaml,line=18,col=10,title=threshold loops rate < 0.25::0.300";
    assert!(ran.stdout.contains(annotation), "{}", ran.stdout);
    let document: Value = serde_json::from_str(&sandbox.read("r.json")).expect("JSON");
    assert_eq!(document["outcome"], "failed");
    assert_eq!(document["totals"]["failed"], 0);
    assert_eq!(document["thresholds"][0]["outcome"], "broken");
    assert_eq!(document["thresholds"][0]["line"], 18);
    assert_eq!(document["thresholds"][1]["outcome"], "held");
    let sarif: Value = serde_json::from_str(&sandbox.read("s.json")).expect("JSON");
    let results = sarif["runs"][0]["results"].as_array().expect("a list");
    assert_eq!(results.len(), 1, "{sarif}");
    assert_eq!(results[0]["ruleId"], "threshold");
    assert_eq!(
        results[0]["message"]["text"],
        "loops rate < 0.25: 0.300 (3 of 10 runs)"
    );
    assert_eq!(
        results[0]["locations"][0]["physicalLocation"]["region"],
        serde_json::json!({"startLine": 18, "startColumn": 10})
    );
    assert_eq!(
        results[0]["partialFingerprints"]["threshold/v1"],
        "s.yaml#loops rate < 0.25"
    );
    let page = sandbox.runs("reports").remove(0).join("index.html");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("10 of 10 cases passed, and 1 threshold does not hold"));
    assert!(page.contains("loops rate &lt; 0.25"));
    let xml = sandbox.read("j.xml");
    let junit = roxmltree::Document::parse(&xml).expect("XML");
    let of = |name: &str| {
        let mut cases = junit
            .descendants()
            .filter(|node| node.has_tag_name("testcase"));
        cases
            .find(|case| case.attribute("name") == Some(name))
            .expect("a testcase")
    };
    let broken = of("threshold loops rate < 0.25");
    let failure = broken
        .children()
        .find(|child| child.has_tag_name("failure"));
    assert_eq!(
        failure.expect("a failure").attribute("type"),
        Some("threshold")
    );
    assert!(
        of("threshold tokens max <= 400")
            .children()
            .all(|child| child.is_text())
    );
    assert!(
        sandbox
            .read("m.md")
            .contains("- ❌ `loops rate < 0.25`: 0.300 (3 of 10 runs) (s.yaml:18)")
    );
    // The record says the same.
    sandbox
        .run(&["judge"])
        .expect_code(99)
        .expect_stdout("✗ loops rate < 0.25: 0.300 (3 of 10 runs)");
    let right = sandbox.read("s.yaml").replace("rate < 0.25", "rate <= 0.3");
    sandbox.write("s.yaml", &right);
    sandbox
        .run(&["run", "s.yaml", "--report", "again"])
        .expect_code(0);
}

/// A share of passes says how many failures a group may have.
#[test]
fn failures_within_a_pass_threshold_are_tolerated_and_shown() {
    let sandbox = scenario("  pass: rate >= 0.7\n");
    let yaml = sandbox
        .read("s.yaml")
        .replace("assert: [contains: one]", "assert: [not-loop]");
    sandbox.write("s.yaml", &yaml);
    sandbox
        .run(&["run", "s.yaml", "--json", "r.json"])
        .expect_code(0)
        .expect_stdout("✓ pass rate >= 0.7: 0.700 (7 of 10 runs)")
        .expect_stdout("7 passed, 3 failed (3 within a threshold)")
        .expect_stdout("FAIL s/t2");
    let document: Value = serde_json::from_str(&sandbox.read("r.json")).expect("JSON");
    assert_eq!(document["outcome"], "passed");
    sandbox.write("s.yaml", &yaml.replace("rate >= 0.7", "rate >= 0.71"));
    sandbox
        .run(&["run", "s.yaml", "--report", "again"])
        .expect_code(100);
}

/// Part of a group is no group.
#[test]
fn a_part_of_a_group_is_not_judged_and_the_merged_whole_is() {
    let sandbox = scenario("  loops: rate < 0.25\n");
    sandbox
        .run(&["run", "s.yaml", "--filter", "t1"])
        .expect_code(0)
        .expect_stdout("not judged: loops rate < 0.25: 1 of its 10 cases have run");
    for shard in ["1/2", "2/2"] {
        sandbox
            .run(&[
                "run",
                "s.yaml",
                "--shard",
                shard,
                "--report",
                &format!("parts/{}", &shard[..1]),
            ])
            .expect_code(0)
            .expect_stdout("not judged");
    }
    let parts: Vec<String> = ["parts/1", "parts/2"]
        .iter()
        .map(|part| sandbox.runs(part)[0].to_str().expect("UTF-8").to_owned())
        .collect();
    sandbox
        .run(&["merge", &parts[0], &parts[1], "--report", "whole"])
        .expect_code(99)
        .expect_stdout("✗ loops rate < 0.25: 0.300 (3 of 10 runs)");
}

/// A group is the tests with a tag, and each of several targets has its own.
#[test]
fn a_tag_makes_a_group_and_runs_of_a_repeated_test_count_each() {
    let sandbox = Sandbox::new();
    let coin = std::fs::read_to_string(repository("tests/scenarios/coin.yaml")).expect("it");
    let shared = repository("tests/scenarios/shared/coin.yaml");
    let yaml = coin
        .replace("shared/coin.yaml", &shared)
        .replace("- id: toss\n", "- id: toss\n    tags: [toss]\n");
    let yaml = yaml.replace("thresholds:\n", "thresholds:\n  tokens{toss}: p50 < 201\n");
    sandbox.write("coin.yaml", &yaml);
    sandbox
        .run(&["run", "coin.yaml"])
        .expect_code(0)
        .expect_stdout("(24 runs)  coin.yaml:");
}

#[rstest]
#[case(
    "  lops: rate < 0.1\n",
    "s.yaml:18:9: there is no threshold on 'lops'",
    "did you mean 'loops'?"
)]
#[case(
    "  loops: rat < 0.1\n",
    "s.yaml:18:10: 'rat' is no statistic of 'loops'",
    "did you mean 'rate'?"
)]
#[case(
    "  ttft: p95 < 500\n",
    "s.yaml:18:9: '500' is not a time",
    "p95 < 500ms"
)]
#[case(
    "  ttft: p95 < 500ms\n",
    "s.yaml:18:9: 'p95 < 500ms' of 10 runs says nothing",
    "at least 59"
)]
#[case(
    "  ttft{slow}: max < 5s\n",
    "s.yaml:18:15: no test has the tag 'slow'",
    ""
)]
#[case(
    "  ttft{slow: max < 5s\n",
    "s.yaml:18:14: 'ttft{slow' names no group",
    "ttft{tag}"
)]
#[case(
    "  ttft: {max: 5s}\n",
    "s.yaml:18:9: the threshold 'ttft' is no text",
    "rate < 0.01"
)]
fn mistakes_point_at_their_place(
    #[case] threshold: &str,
    #[case] message: &str,
    #[case] help: &str,
) {
    let sandbox = scenario(threshold);
    let ran = sandbox.run(&["list", "s.yaml"]).expect_code(2);
    assert!(
        ran.stderr.contains(message) && ran.stderr.contains(help),
        "{}",
        ran.stderr
    );
}

/// A case that fails, excused until a day.
fn quarantined(until: &str, asked: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 1);
    let yaml = sandbox.read("s.yaml").replace(
        "assert: [not-loop]",
        &format!("assert: [contains: {asked}], quarantine: {{until: {until}, why: issue 7}}"),
    );
    sandbox.write("s.yaml", &yaml);
    sandbox
}

const OUTPUTS: [&str; 8] = [
    "run", "s.yaml", "--junit", "j.xml", "--json", "r.json", "--sarif", "s.json",
];

#[test]
fn a_failure_in_quarantine_is_shown_and_fails_nothing_until_its_day_is_over() {
    let github = [("GITHUB_ACTIONS", "true")];
    let sandbox = quarantined("2999-12-31", "nowhere");
    sandbox
        .run_with(&github, &OUTPUTS)
        .expect_code(0)
        .expect_stdout("in quarantine until 2999-12-31: issue 7")
        .expect_stdout("0 passed, 1 failed (1 in quarantine)")
        .expect_stdout("::warning file=s.yaml");
    let document: Value = serde_json::from_str(&sandbox.read("r.json")).expect("JSON");
    assert_eq!(document["outcome"], "passed");
    assert_eq!(document["cases"][0]["outcome"], "failed");
    let excused = "in quarantine until 2999-12-31: issue 7";
    assert_eq!(document["cases"][0]["excused"], excused);
    let junit = sandbox.read("j.xml");
    assert!(
        junit.contains("<skipped message=\"in quarantine until 2999-12-31"),
        "{junit}"
    );
    assert!(!junit.contains("<failure"), "{junit}");
    let sarif: Value = serde_json::from_str(&sandbox.read("s.json")).expect("JSON");
    let suppression = &sarif["runs"][0]["results"][0]["suppressions"][0];
    assert_eq!(suppression["justification"], excused);
    let page = sandbox.runs("reports").remove(0).join("index.html");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("1 of 1 case failed, as a threshold or a quarantine allows"));

    let sandbox = quarantined("2020-01-31", "nowhere");
    sandbox
        .run_with(&github, &OUTPUTS)
        .expect_code(100)
        .expect_stdout("its quarantine ended on 2020-01-31: issue 7")
        .expect_stdout("::error file=s.yaml");
    assert!(sandbox.read("j.xml").contains("<failure"));

    // Whoever has mended it can take the excuse away.
    let sandbox = quarantined("2999-12-31", "one");
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(0)
        .expect_stdout("its quarantine until 2999-12-31 is not needed (issue 7)");
}

#[rstest]
#[case(
    "until: soon, why: w",
    "quarantine: 'soon' is no day; write it as 2026-12-31"
)]
#[case("until: 2026-12-31", "the key 'why' is missing")]
#[case("untl: 2026-12-31, why: w", "did you mean 'until'?")]
fn a_quarantine_without_an_end_or_a_reason_is_refused(#[case] written: &str, #[case] shown: &str) {
    let sandbox = Sandbox::new();
    sandbox.many_cases("s.yaml", 1);
    let yaml = sandbox.read("s.yaml").replace(
        "assert: [not-loop]",
        &format!("assert: [not-loop], quarantine: {{{written}}}"),
    );
    sandbox.write("s.yaml", &yaml);
    sandbox
        .run(&["run", "s.yaml"])
        .expect_code(2)
        .expect_stderr(shown);
}

/// Trouble with a target is no known failure of the model.
#[test]
fn trouble_is_not_excused() {
    let sandbox = quarantined("2999-12-31", "nowhere");
    let broken = ["run", "s.yaml", "--set", "model=nowhere"];
    sandbox.run(&broken).expect_code(101);
}
