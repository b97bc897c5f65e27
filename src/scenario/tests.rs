//! The reader against broken files: every mistake has a place and a remedy, and nothing panics.

use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const VALID: &str = "\
version: 1
description: A test
why: To see
tags: [a]
sampling: {temperature: 0, max_tokens: 9}
limits: {max_turns: 2, time_limit: 5s}
control:
  sampling: {repetition_penalty: 1.0}
  must_fail: [not-loop]
tools:
  Read:
    description: Read a file
    input_schema: {type: object, properties: {p: {type: string}}}
    mock:
      - when: {p: a}
        return: {text: A}
      - otherwise: {error: no}
tests:
  - id: one
    system: Be brief
    turns:
      - user: hi
        expect: [regex: hi]
    sampling: {seed: 3}
    assert:
      - not-loop
      - contains: x
      - {type: tool-called, value: Read, args: {p: a}}
";

fn parse(text: &str) -> Result<Scenario, YamlError> {
    Scenario::parse(Path::new("s.yaml"), text)
}

#[test]
fn a_whole_scenario_is_read() {
    let scenario = parse(VALID).expect("valid");
    let test = &scenario.tests[0];
    assert_eq!(scenario.name, "s");
    assert_eq!(scenario.model.written, DEFAULT_MODEL);
    assert_eq!(scenario.model.resolved, DEFAULT_MODEL);
    assert_eq!(test.line, 19);
    assert_eq!(test.sampling.temperature, Some(0.0));
    assert_eq!(test.sampling.seed, Some(3));
    let lines: Vec<usize> = test.assertions.iter().map(|a| a.line).collect();
    assert_eq!(lines, [23, 26, 27, 28]);
    let turns: Vec<_> = test.assertions.iter().map(|a| a.turn).collect();
    assert_eq!(turns, [Some(1), None, None, None]);
    assert_eq!(test.specs[2].value, Some("x".into()));
    assert_eq!(test.tools.specs()[0].name, "Read");
}

#[test]
fn the_starter_is_a_valid_scenario() {
    parse(starter()).expect("valid");
}

#[rstest]
#[case(
    "    assert:",
    "    asert:",
    "s.yaml:25:5: unknown key 'asert'",
    "did you mean 'assert'?"
)]
#[case(
    "version: 1",
    "version: 2",
    "s.yaml:1:10: version 2 is not known",
    "version 1"
)]
#[case(
    "version: 1\n",
    "",
    "s.yaml:17:1: the key 'version' is missing beside this one",
    ""
)]
#[case("why: To see", "why: ' '", "s.yaml:3:6: 'why' is empty", "")]
#[case(
    "seed: 3",
    "sede: 3",
    "s.yaml:24:16: unknown key 'sede'",
    "did you mean 'seed'?"
)]
#[case("max_tokens: 9", "max_tokens: many", "s.yaml:5:", "")]
#[case(
    "temperature: 0",
    "temperature: -1",
    "s.yaml:5:11: sampling: temperature is -1",
    ""
)]
#[case(
    "time_limit: 5s",
    "time_limit: 5",
    "s.yaml:6:9: limits: time_limit '5' is no duration",
    ""
)]
#[case(
    "max_turns: 2",
    "max_turns: 0",
    "s.yaml:6:9: limits: max_turns is 0",
    ""
)]
#[case(
    "repetition_penalty: 1.0",
    "repetition_penalty: 0",
    "s.yaml:8:13: control: repetition_penalty is 0",
    ""
)]
#[case("must_fail: [not-loop]", "must_fail: []", "'must_fail' is empty", "")]
#[case(
    "must_fail: [not-loop]",
    "must_fail: [not-lop]",
    "s.yaml:9:15: the control must fail 'not-lop'",
    "did you mean 'not-loop'?"
)]
#[case(
    "type: object, properties",
    "type: array, properties",
    "s.yaml:13:19: the input_schema of 'Read'",
    "type: object"
)]
#[case(
    "return: {text: A}",
    "return: {text: A, error: B}",
    "an answer is exactly one of",
    ""
)]
#[case(
    "return: {text: A}",
    "return: {file: ../a}",
    "fixture '../a': the path must stay inside",
    ""
)]
#[case(
    "return: {text: A}",
    "return: {file: a.md}",
    "fixture 'a.md': cannot read",
    ""
)]
#[case(
    "return: {text: A}",
    "return: {text: A, delay: soon}",
    "s.yaml:16:34: delay 'soon' is no duration",
    "200ms"
)]
#[case(
    "return: {text: A}",
    "return: {text: 'A {{nowhere}}'}",
    "there is no variable 'nowhere'",
    ""
)]
#[case(
    "{p: {type: string}}}",
    "{p: {type: string, pattern: '['}}}",
    "s.yaml:13:19: tool 'Read': the input_schema cannot be used",
    ""
)]
#[case(
    "- otherwise: {error: no}",
    "- when: {p: b}",
    "a rule is 'when' with 'return'",
    "otherwise"
)]
#[case(
    "- when: {p: a}\n        return: {text: A}",
    "- otherwise: {text: A}",
    "s.yaml:15:9: 'otherwise' answers every call",
    "put it last"
)]
#[case(
    "id: one",
    "id: One two",
    "s.yaml:19:9: the id 'One two' is not allowed",
    "lower-case"
)]
#[case(
    "      - user: hi",
    "      - usr: hi",
    "s.yaml:22:9: unknown key 'usr'",
    "did you mean 'user'?"
)]
#[case(
    "    turns:\n      - user: hi\n        expect: [regex: hi]\n",
    "",
    "a test needs exactly one of",
    ""
)]
#[case(
    "    system: Be brief",
    "    prompt: go on",
    "a test needs exactly one of",
    ""
)]
#[case(
    "- not-loop\n",
    "- not-lop\n",
    "s.yaml:26:9: unknown assertion type 'not-lop'",
    "did you mean 'not-loop'?"
)]
#[case(
    "- contains: x",
    "- contians: x",
    "s.yaml:27:9: unknown assertion type 'contians'",
    "did you mean 'contains'?"
)]
#[case(
    "- contains: x",
    "- contains: [x]",
    "contains: needs a 'value' that is a non-empty text",
    ""
)]
#[case(
    "expect: [regex: hi]",
    "expect: []",
    "s.yaml:23:17: 'expect' holds no assertion, so this turn could not fail",
    ""
)]
#[case(
    "expect: [regex: hi]",
    "expect: [regx: y]",
    "s.yaml:23:18: unknown assertion type 'regx'",
    "did you mean 'regex'?"
)]
#[case(
    "expect: [regex: hi]",
    "expect: [snapshot]",
    "s.yaml:23:18: snapshot: holds a whole conversation, and this is one turn of it",
    ""
)]
#[case(
    "expect: [regex: hi]",
    "expect: [regex: '{{y}}']",
    "s.yaml:23:26: there is no variable 'y'",
    ""
)]
#[case(
    "expect: [regex: hi]",
    "expect: [tool-called: Raed]",
    "s.yaml:23:31: the scenario has no tool 'Raed'",
    "did you mean 'Read'?"
)]
#[case(
    "args: {p: a}",
    "arg: {p: a}",
    "unknown key 'arg'",
    "did you mean 'args'?"
)]
fn a_mistake_is_named_with_its_place_and_remedy(
    #[case] right: &str,
    #[case] wrong: &str,
    #[case] message: &str,
    #[case] help: &str,
) {
    assert!(VALID.contains(right), "{right}");
    let error = parse(&VALID.replacen(right, wrong, 1)).expect_err("refused");
    assert!(error.to_string().contains(message), "{error}");
    let found = error.help.unwrap_or_default();
    assert!(found.contains(help), "{found:?}");
}

#[test]
fn a_test_without_assertions_could_not_fail_and_is_refused() {
    let head = VALID.split("    assert:").next().expect("the head");
    let error = parse(&format!("{head}    assert: []\n")).expect_err("refused");
    assert!(
        error.to_string().contains("there is no assertion"),
        "{error}"
    );
    let head = VALID.split("tests:").next().expect("the head");
    let error = parse(&format!("{head}tests: []\n")).expect_err("refused");
    assert!(error.to_string().contains("there is no test"), "{error}");
}

#[test]
fn ids_are_unique() {
    let second = "  - {id: one, user: hi, assert: [not-loop]}\n";
    let error = parse(&format!("{VALID}{second}")).expect_err("refused");
    assert!(
        error.to_string().contains("the id 'one' is taken"),
        "{error}"
    );
}

/// Keys of the format, each with a letter doubled or dropped.
#[test]
fn every_misspelt_key_is_refused() {
    let keys = [
        "version",
        "description",
        "why",
        "tags",
        "sampling",
        "temperature",
        "max_tokens",
        "limits",
        "max_turns",
        "time_limit",
        "control",
        "repetition_penalty",
        "must_fail",
        "tools",
        "input_schema",
        "mock",
        "when",
        "return",
        "otherwise",
        "tests",
        "system",
        "turns",
        "user",
        "expect",
        "seed",
        "assert",
        "args",
    ];
    for key in keys {
        let at = VALID.find(&format!("{key}:")).expect(key);
        for index in 0..key.len() {
            let dropped = format!("{}{}", &key[..index], &key[index + 1..]);
            let doubled = format!("{}{}", &key[..=index], &key[index..]);
            for typo in [dropped, doubled] {
                let text = format!("{}{typo}{}", &VALID[..at], &VALID[at + key.len()..]);
                let error = parse(&text).expect_err(&typo);
                assert!(error.line > 0 && error.column > 0, "{error}");
            }
        }
    }
}

#[test]
fn the_diagnostic_shows_the_line() {
    let error = parse(&VALID.replacen("seed: 3", "sede: 3", 1)).expect_err("refused");
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
    let mut shown = String::new();
    handler.render_report(&mut shown, &error).expect("renders");
    insta::assert_snapshot!(shown, @r"
      x s.yaml:24:16: unknown key 'sede'
        ,-[s.yaml:24:16]
     23 |         expect: [regex: hi]
     24 |     sampling: {sede: 3}
        :                ^^|^
        :                  `-- here
     25 |     assert:
        `----
      help: did you mean 'seed'?
    ");
}

proptest! {
    #[test]
    fn the_reader_never_panics_on_any_text(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn the_reader_never_panics_on_a_damaged_scenario(
        at in 0..VALID.len(),
        length in 0..12usize,
        insert in "[a-z0-9:{}\\[\\]\n \\-'\"&*!|>]{0,6}",
    ) {
        let end = (at + length).min(VALID.len());
        let damaged = format!("{}{insert}{}", &VALID[..at], &VALID[end..]);
        if let Err(error) = parse(&damaged) {
            prop_assert!(error.line >= 1 && error.column >= 1);
            let _ = format!("{:?}", miette::Report::new(error));
        }
    }
}
