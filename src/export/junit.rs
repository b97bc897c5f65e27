//! JUnit XML as Jenkins and GitLab read it: a suite per scenario file, a testcase per case.
//!
//! Trouble with a target is an `<error>`; an assertion that does not hold, and a control that
//! does not fail, is a `<failure>`; a case that did not run is `<skipped>`. The library removes
//! what XML cannot hold: escape codes and control characters.

use std::time::Duration;

use indexmap::IndexMap;
use quick_junit::{
    NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite, XmlString,
};

use super::document::{CaseResult, Document, LoopResult, NotRun, Outcome};
use super::problem::ProblemKind;
use super::text::{cut, first_line};
use super::threshold::{ThresholdOutcome, ThresholdResult};

/// Most bytes of a message, which servers show in a list.
const MESSAGE_BYTES: usize = 500;
/// Most bytes of a body.
const BODY_BYTES: usize = 32 << 10;

/// The document as JUnit XML.
///
/// # Errors
/// If the library cannot write it.
pub fn junit(document: &Document) -> Result<String, SerializeError> {
    let mut report = Report::new("loopwatch");
    report.timestamp = document.started_at.parse().ok();
    report.time = document.totals.wall_ms.map(Duration::from_millis);
    let mut suites: IndexMap<&str, TestSuite> = IndexMap::new();
    for case in &document.cases {
        let suite = suite(&mut suites, &case.scenario);
        suite.time = suite.time.map(|time| time + duration(case));
        suite.add_test_case(test_case(case));
    }
    for threshold in &document.thresholds {
        suite(&mut suites, &threshold.scenario).add_test_case(threshold_case(threshold));
    }
    for case in &document.not_run {
        suite(&mut suites, &case.scenario).add_test_case(skipped(case));
    }
    for suite in suites.values_mut() {
        suite.timestamp = report.timestamp;
    }
    report.add_test_suites(suites.into_values());
    report.to_string()
}

/// The suite of a scenario file.
fn suite<'a, 'b>(suites: &'a mut IndexMap<&'b str, TestSuite>, name: &'b str) -> &'a mut TestSuite {
    suites.entry(name).or_insert_with(|| {
        let mut suite = TestSuite::new(legal(name));
        suite.time = Some(Duration::ZERO);
        suite
    })
}

fn duration(case: &CaseResult) -> Duration {
    Duration::from_secs_f64((case.duration_ms / 1e3).max(0.0))
}

fn test_case(case: &CaseResult) -> TestCase {
    let mut test = TestCase::new(case.test(), status(case));
    test.set_classname(legal(&case.scenario));
    test.set_time(duration(case));
    test.set_assertions(case.assertions);
    place(&mut test, &case.scenario, case.line);
    test.add_property(("model", legal(&case.model).as_str()));
    if let Some(target) = &case.target {
        test.add_property(("target", legal(target).as_str()));
    }
    if let Some(seed) = case.seed {
        test.add_property(("seed", seed.to_string().as_str()));
    }
    if let Some(repeats) = &case.repeats {
        let passed = format!("{}/{}", repeats.passed, repeats.runs);
        test.add_property(("repeats_passed", passed.as_str()));
        test.add_property(("reduce", repeats.reduce.as_str()));
    }
    test.add_property(("output_tokens", case.output_tokens.to_string().as_str()));
    if let Some(ttft) = case.ttft_ms {
        test.add_property(("ttft_ms", format!("{ttft:.3}").as_str()));
    }
    if case.retries > 0 {
        test.add_property(("retries", case.retries.to_string().as_str()));
    }
    if let Some(found) = case.loops.first() {
        test.add_property(("loop", loop_line(found).as_str()));
    }
    if let Some(control) = &case.control {
        let word = match control.outcome {
            Outcome::Passed => "failed as it must",
            Outcome::Errored => "could not run",
            Outcome::Failed | Outcome::Incomplete => "did not fail",
        };
        let must_fail = control.must_fail.join(", ");
        test.add_property(("control", format!("{word} ({must_fail})").as_str()));
    }
    test
}

/// A threshold is a testcase of its own: it says something that no case says.
fn threshold_case(threshold: &ThresholdResult) -> TestCase {
    let mut status = match threshold.outcome {
        ThresholdOutcome::Held => TestCaseStatus::success(),
        ThresholdOutcome::Broken => TestCaseStatus::non_success(NonSuccessKind::Failure),
        ThresholdOutcome::NotJudged => TestCaseStatus::skipped(),
    };
    if threshold.outcome != ThresholdOutcome::Held {
        status.set_message(legal(&threshold.message));
    }
    if threshold.outcome == ThresholdOutcome::Broken {
        status.set_type("threshold");
        let body = format!(
            "{} at {}:{}: {}",
            threshold.label, threshold.file, threshold.line, threshold.message
        );
        status.set_description(legal(&body));
    }
    let mut test = TestCase::new(legal(&format!("threshold {}", threshold.label)), status);
    test.set_classname(legal(&threshold.scenario));
    place(&mut test, &threshold.file, threshold.line);
    test
}

fn place(test: &mut TestCase, scenario: &str, line: usize) {
    let mut extra = |name: &str, value: &str| {
        test.extra
            .insert(XmlString::new(name), XmlString::new(value));
    };
    extra("file", &legal(scenario));
    extra("line", &line.to_string());
}

fn skipped(case: &NotRun) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_message("not run: the run ended before it");
    let name = case
        .id
        .split_once('/')
        .map_or(case.id.as_str(), |(_, test)| test);
    let mut test = TestCase::new(name, status);
    test.set_classname(legal(&case.scenario));
    place(&mut test, &case.scenario, case.line);
    test
}

/// One status says everything: a list that shows one message shows the worst, and how many more.
fn status(case: &CaseResult) -> TestCaseStatus {
    let Some(first) = case.problems.first() else {
        return TestCaseStatus::success();
    };
    if let Some(excused) = &case.excused {
        // A failure here would fail jobs that look at this file alone.
        let mut status = TestCaseStatus::skipped();
        let message = format!(
            "{excused} ({}: {})",
            first.label,
            first_line(&first.message)
        );
        status.set_message(legal(&cut(&message, MESSAGE_BYTES)));
        return status;
    }
    let mut status = TestCaseStatus::non_success(match first.kind {
        ProblemKind::Target => NonSuccessKind::Error,
        ProblemKind::Assertion | ProblemKind::Control => NonSuccessKind::Failure,
    });
    let more = match case.problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let message = format!("{}: {}", first.label, first_line(&first.message));
    status.set_type(first.rule.as_str());
    status.set_message(legal(&cut(&message, MESSAGE_BYTES)) + &more);
    status.set_description(legal(&cut(&body(case), BODY_BYTES)));
    status
}

/// Without the two characters that XML forbids and the library leaves (XML 1.0, production 2).
fn legal(text: &str) -> String {
    text.replace(['\u{FFFE}', '\u{FFFF}'], "")
}

/// Every problem with its place, and the loops.
fn body(case: &CaseResult) -> String {
    let mut lines = Vec::new();
    for problem in &case.problems {
        lines.push(format!(
            "{} at {}:{}",
            problem.label,
            problem.file(case),
            problem.line
        ));
        lines.extend(problem.message.lines().map(|line| format!("  {line}")));
        if let Some(diff) = &problem.diff {
            lines.extend(diff.lines().lines().map(|line| format!("  {line}")));
        }
    }
    for found in &case.loops {
        lines.push(format!(
            "loop in generation {}: {}",
            found.generation,
            loop_line(found)
        ));
        lines.push(format!("  fragment: \"{}\"", found.fragment));
    }
    lines.push(format!("why: {}", case.why.trim()));
    lines.join("\n")
}

fn loop_line(found: &LoopResult) -> String {
    format!(
        "{} {}, period {}, {:.1} copies, onset {}",
        found.kind, found.state, found.period, found.copies, found.onset
    )
}
