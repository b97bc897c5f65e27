//! `--junit`: what a CI server shows of a run, and that every XML reader takes it.

use std::collections::BTreeSet;
use std::path::Path;

use roxmltree::{Document, Node};

use crate::junit_schema::{ADDITIONS, validate};
use crate::support::Sandbox;

fn named<'a>(document: &'a Document<'a>, name: &str) -> Vec<Node<'a, 'a>> {
    let all = document.descendants();
    all.filter(|node| node.has_tag_name(name)).collect()
}

/// Holds a file against the schema, and its counts against its elements.
#[track_caller]
fn check_document(document: &Document<'_>) -> BTreeSet<&'static str> {
    let found = validate(document);
    assert!(found.problems.is_empty(), "{}", found.problems.join("\n"));
    found.additions
}

fn case<'a>(document: &'a Document<'a>, name: &str) -> Node<'a, 'a> {
    let cases = named(document, "testcase");
    let found = cases
        .iter()
        .find(|case| case.attribute("name") == Some(name));
    *found.unwrap_or_else(|| panic!("no case {name}"))
}

fn property<'a>(case: Node<'a, 'a>, name: &str) -> Option<&'a str> {
    case.descendants()
        .find(|node| node.has_tag_name("property") && node.attribute("name") == Some(name))?
        .attribute("value")
}

fn child<'a>(case: Node<'a, 'a>, name: &str) -> Node<'a, 'a> {
    let found = case.children().find(|node| node.has_tag_name(name));
    found.unwrap_or_else(|| panic!("no <{name}> in {:?}", case.attribute("name")))
}

#[test]
fn a_failure_shows_its_assertion_its_place_and_the_loop() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox
        .run(&["run", "s.yaml", "--junit", "out/r.xml"])
        .expect_code(100);
    let xml = sandbox.read("out/r.xml");
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    assert_eq!(named(&document, "testcase").len(), 4);

    let loops = case(&document, "loops");
    assert_eq!(loops.attribute("classname"), Some("s.yaml"));
    assert_eq!(loops.attribute("file"), Some("s.yaml"));
    assert_eq!(loops.attribute("line"), Some("7"));
    assert_eq!(loops.attribute("assertions"), Some("3"));
    assert!(
        loops
            .attribute("time")
            .expect("a time")
            .parse::<f64>()
            .expect("seconds")
            > 0.0
    );
    assert_eq!(
        property(loops, "model"),
        Some("script:checkpoints/stuck.yaml")
    );
    assert_eq!(property(loops, "seed"), Some("5"));
    assert_eq!(property(loops, "output_tokens"), Some("400"));
    let failure = child(loops, "failure");
    assert_eq!(failure.attribute("type"), Some("not-loop"));
    let message = failure.attribute("message").expect("a message");
    assert!(message.starts_with("not-loop: loop confirmed"), "{message}");
    assert!(message.ends_with("(and 1 more)"), "{message}");
    let body = failure.text().expect("a body");
    for part in [
        "not-loop at s.yaml:12",
        "contains \"nowhere\" at s.yaml:13",
        "the answer begins: \"one two",
        "period 5, 80.0 copies, onset 0",
        "fragment: \"one two three four five \"",
    ] {
        assert!(body.contains(part), "no {part:?} in {body}");
    }
}

#[test]
fn a_text_that_differs_is_shown_as_a_diff() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let yaml = sandbox.read("s.yaml");
    let other = "- id: fine\n  user: go\n  assert: [equals: \"one two 3 four five\"]\n";
    let at = yaml.find("- id: fine").expect("the case");
    sandbox.write("s.yaml", &format!("{}{other}", &yaml[..at]));
    let arguments = [
        "run",
        "s.yaml",
        "--junit",
        "r.xml",
        "--markdown",
        "c.md",
        "--filter",
        "fine",
    ];
    sandbox.run(&arguments).expect_code(100);
    let xml = sandbox.read("r.xml");
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    let body = child(case(&document, "fine"), "failure")
        .text()
        .expect("a body");
    let diff = "  - one two 3 four five\n  + one two three four five\n";
    assert!(body.contains(diff), "{body}");
    let comment = sandbox.read("c.md");
    assert!(comment.contains("```diff\n- one two 3 four five\n+ one two three four five\n```"));
}

/// The message of `not-loop` has the loop too; here nobody asked about loops.
#[test]
fn a_loop_is_shown_where_another_assertion_failed() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let yaml = sandbox.read("s.yaml");
    let other = "- id: fine\n  user: go\n  sampling: {repetition_penalty: 1.0}\n  \
                 assert: [contains: nowhere]\n";
    let at = yaml.find("- id: fine").expect("the case");
    sandbox.write("s.yaml", &format!("{}{other}", &yaml[..at]));
    let arguments = ["run", "s.yaml", "--junit", "r.xml", "--filter", "fine"];
    sandbox.run(&arguments).expect_code(100);
    let xml = sandbox.read("r.xml");
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    let failure = child(case(&document, "fine"), "failure");
    assert_eq!(failure.attribute("type"), Some("contains"));
    let body = failure.text().expect("a body");
    for part in [
        "period 5, 80.0 copies, onset 0",
        "fragment: \"one two three four five \"",
    ] {
        assert!(body.contains(part), "no {part:?} in {body}");
    }
}

#[test]
fn controls_are_told_as_what_they_are() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox
        .run(&["run", "s.yaml", "--junit", "r.xml"])
        .expect_code(100);
    let xml = sandbox.read("r.xml");
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    // A control that fails as it must is no failure.
    let cured = case(&document, "cured");
    assert!(!cured.children().any(|node| node.has_tag_name("failure")));
    assert_eq!(
        property(cured, "control"),
        Some("failed as it must (not-loop)")
    );
    let toothless = case(&document, "toothless");
    assert_eq!(
        property(toothless, "control"),
        Some("did not fail (not-loop)")
    );
    let failure = child(toothless, "failure");
    assert_eq!(failure.attribute("type"), Some("control"));
    let message = failure.attribute("message").expect("a message");
    assert!(
        message.contains("cannot tell the cure from its absence"),
        "{message}"
    );
    assert_eq!(named(&document, "failure").len(), 2);
}

#[test]
fn trouble_with_a_target_is_an_error_and_no_failure() {
    let sandbox = Sandbox::new();
    sandbox.scenario_of_a_broken_server();
    sandbox
        .run(&["run", "down.yaml", "--junit", "r.xml"])
        .expect_code(101);
    let xml = sandbox.read("r.xml");
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    let error = child(case(&document, "a"), "error");
    assert_eq!(error.attribute("type"), Some("target"));
    assert!(
        error
            .attribute("message")
            .expect("a message")
            .contains("HTTP 500")
    );
    assert_eq!(named(&document, "failure").len(), 0);
}

#[test]
fn a_model_that_cannot_be_loaded_is_an_error_of_every_case() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    let arguments = [
        "run",
        "s.yaml",
        "--junit",
        "r.xml",
        "--set",
        "model=nowhere",
    ];
    sandbox.run(&arguments).expect_code(101);
    let xml = sandbox.read("r.xml");
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    let errors = named(&document, "error");
    assert_eq!(errors.len(), 4);
    for error in errors {
        let message = error.attribute("message").expect("a message");
        assert!(message.contains("cannot find model 'nowhere'"), "{message}");
    }
}

#[test]
fn what_xml_cannot_hold_does_no_harm() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario(
        "\"bad \\u0001\\u0008\\u001b[31mred\\u001b[0m\\uFFFE ]]> & <failure> \\\" 'text' 🙂\"",
    );
    sandbox
        .run(&["run", "s.yaml", "--junit", "r.xml"])
        .expect_code(100);
    let xml = sandbox.read("r.xml");
    assert!(
        xml.chars()
            .all(|c| matches!(c, '\n' | '\t' | '\r') || c >= ' ')
    );
    assert!(!xml.contains('\u{FFFE}'));
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    let body = child(case(&document, "loops"), "failure")
        .text()
        .expect("a body");
    assert!(body.contains("red ]]> & <failure> \" 'text' 🙂"), "{body}");
}

#[test]
fn cases_that_did_not_run_are_skipped_and_old_results_are_not_left_lying() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write("r.xml", "of an earlier run");
    let arguments = [
        "run",
        "s.yaml",
        "--junit",
        "r.xml",
        "--fail-fast",
        "--jobs",
        "1",
    ];
    sandbox.run(&arguments).expect_code(100);
    let xml = sandbox.read("r.xml");
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    assert_eq!(named(&document, "skipped").len(), 3);
    sandbox.write("r.xml", "of an earlier run");
    sandbox
        .run(&["run", "s.yaml", "--junit", "r.xml", "--resume", "nowhere"])
        .expect_code(2);
    assert!(!Path::new(&sandbox.path("r.xml")).exists());
}

#[test]
fn a_file_that_cannot_be_written_is_found_out_before_anything_runs() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.write("file", "");
    sandbox
        .run(&["run", "s.yaml", "--junit", "file/r.xml"])
        .expect_code(2)
        .expect_stderr("cannot write file/r.xml");
    assert!(!sandbox.path("reports").exists());
}

/// Passes, failures, errors, skipped cases, controls, several files and several targets at once.
#[test]
fn a_file_with_everything_is_valid_and_adds_what_we_say_it_adds() {
    let sandbox = Sandbox::new();
    sandbox.gate_scenario("w");
    sandbox.scenario_of_a_broken_server();
    let run = |more: &[&str], code: i32| {
        let all = [&["run", "s.yaml", "down.yaml", "--junit", "r.xml"], more].concat();
        sandbox.run(&all).expect_code(code);
        sandbox.read("r.xml")
    };
    let xml = run(&[], 101);
    let document = Document::parse(&xml).expect("XML");
    let additions = check_document(&document);
    let said: BTreeSet<&str> = ADDITIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(additions, said);
    let count = |name| named(&document, name).len();
    let counts = ["testsuite", "testcase", "failure", "error", "skipped"].map(count);
    assert_eq!(counts, [2, 5, 2, 1, 0]);
    let seconds = |node: Node<'_, '_>| -> f64 {
        node.attribute("time")
            .expect("a time")
            .parse()
            .expect("seconds")
    };
    for suite in named(&document, "testsuite") {
        let cases = suite
            .children()
            .filter(|node| node.has_tag_name("testcase"));
        let sum: f64 = cases.map(seconds).sum();
        // Each is rounded to a millisecond.
        assert!((seconds(suite) - sum).abs() < 0.005, "{sum}");
    }

    let xml = run(&["--fail-fast", "--jobs", "1"], 100);
    let document = Document::parse(&xml).expect("XML");
    check_document(&document);
    let count = |name| named(&document, name).len();
    assert_eq!(["testcase", "failure", "skipped"].map(count), [5, 1, 4]);
}
