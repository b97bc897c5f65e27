//! SARIF 2.1.0, for code scanning: a rule per type of assertion and one for thresholds, a result per
//! problem and per threshold that does not hold, at the line of the scenario that asks for it.
//!
//! Trouble with a target is no result about the model; it is a notification of the invocation.
//! The format: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.

use serde_json::{Value, json};

use super::document::{CaseResult, Document, Outcome};
use super::problem::{Problem, ProblemKind};
use super::text::cut;
use super::threshold::{ThresholdOutcome, ThresholdResult};

/// Results beyond this number are not shown by GitHub.
const MOST_RESULTS: usize = 5_000;
/// The rule of thresholds.
const THRESHOLD: &str = "threshold";
/// Most bytes of a message.
const MESSAGE_BYTES: usize = 4 << 10;

/// The document as SARIF, with a line break at its end.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn sarif(document: &Document) -> Result<String, serde_json::Error> {
    let mut rules = Rules::default();
    let mut results = Vec::new();
    let mut notifications = Vec::new();
    // A group says more than a case, and there are few: they come before what may be cut.
    let thresholds = document.thresholds.iter();
    let broken = thresholds.filter(|one| one.outcome == ThresholdOutcome::Broken);
    results.extend(broken.map(|one| broken_threshold(one, rules.index(THRESHOLD))));
    for (case, problem) in problems(document) {
        if problem.kind == ProblemKind::Target {
            notifications.push(notification(case, problem));
        } else if results.len() < MOST_RESULTS {
            results.push(result(case, problem, rules.index(&problem.rule)));
        }
    }
    let version = document
        .tool
        .rsplit_once(' ')
        .map_or("", |(_, version)| version);
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "loopwatch",
                "version": version,
                "rules": rules.0.iter().map(|rule| self::rule(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": notifications.is_empty()
                    && document.outcome != Outcome::Incomplete,
                "startTimeUtc": document.started_at,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    Ok(serde_json::to_string_pretty(&log)? + "\n")
}

/// The rules that some result names, in the order in which they were first named.
#[derive(Default)]
struct Rules(Vec<String>);

impl Rules {
    fn index(&mut self, rule: &str) -> usize {
        let known = self.0.iter().position(|other| other == rule);
        known.unwrap_or_else(|| {
            self.0.push(rule.to_owned());
            self.0.len() - 1
        })
    }
}

fn problems(document: &Document) -> impl Iterator<Item = (&CaseResult, &Problem)> {
    let cases = document.cases.iter();
    cases.flat_map(|case| case.problems.iter().map(move |problem| (case, problem)))
}

fn rule(rule: &str) -> Value {
    let text = match rule {
        "control" => "A control, the run without its cure, must fail.".to_owned(),
        "limits" => "A conversation must keep the scenario's limits.".to_owned(),
        THRESHOLD => "What a scenario asks of a group of runs must hold.".to_owned(),
        kind => format!("The assertion '{kind}' of a scenario must hold."),
    };
    json!({
        "id": rule,
        "shortDescription": {"text": text},
        "defaultConfiguration": {"level": "error"},
    })
}

fn result(case: &CaseResult, problem: &Problem, rule: usize) -> Value {
    let excused = case.excused.iter();
    let suppressions = excused.map(|why| json!({"kind": "external", "justification": why}));
    json!({
        "suppressions": suppressions.collect::<Vec<_>>(),
        "ruleId": problem.rule,
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": message(case, problem)},
        "locations": [location(case, problem)],
        // Neither lines nor messages: a problem is the same one when the file around it changes.
        "partialFingerprints": {
            "case/v1": format!("{}#{}", case.id, problem.label),
        },
        "properties": {"case": case.id, "model": case.model},
    })
}

fn broken_threshold(threshold: &ThresholdResult, rule: usize) -> Value {
    let text = format!("{}: {}", threshold.label, threshold.message);
    json!({
        "ruleId": THRESHOLD,
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": cut(&text, MESSAGE_BYTES)},
        "locations": [place(&threshold.file, threshold.line, Some(threshold.column))],
        "partialFingerprints": {
            "threshold/v1": format!("{}#{}", threshold.scenario, threshold.label),
        },
    })
}

fn notification(case: &CaseResult, problem: &Problem) -> Value {
    json!({
        "level": "error",
        "message": {"text": message(case, problem)},
        "locations": [location(case, problem)],
    })
}

fn message(case: &CaseResult, problem: &Problem) -> String {
    let text = format!("{}: {}: {}", case.id, problem.label, problem.message);
    cut(&text, MESSAGE_BYTES)
}

fn location(case: &CaseResult, problem: &Problem) -> Value {
    place(problem.file(case), problem.line, problem.column)
}

fn place(file: &str, line: usize, column: Option<usize>) -> Value {
    let mut region = json!({"startLine": line.max(1)});
    if let Some(column) = column {
        region["startColumn"] = column.into();
    }
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(file)},
        "region": region,
    }})
}

/// A path as a URI reference: RFC 3986 leaves these bytes as they are, and a slash between them.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.replace('\\', "/").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            other => uri += &format!("%{other:02X}"),
        }
    }
    uri
}
