//! SARIF 2.1.0, for code scanning: a rule per type of assertion, a result per problem, at the
//! line of the scenario that asks for it.
//!
//! Trouble with a target is no result about the model; it is a notification of the invocation.
//! The format: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.

use serde_json::{Value, json};

use super::document::{CaseResult, Document, Outcome};
use super::problem::{Problem, ProblemKind};
use super::text::cut;

/// Results beyond this number are not shown by GitHub.
const MOST_RESULTS: usize = 5_000;
/// Most bytes of a message.
const MESSAGE_BYTES: usize = 4 << 10;

/// The document as SARIF, with a line break at its end.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn sarif(document: &Document) -> Result<String, serde_json::Error> {
    let mut rules: Vec<String> = Vec::new();
    let mut results = Vec::new();
    let mut notifications = Vec::new();
    for (case, problem) in problems(document) {
        if problem.kind == ProblemKind::Target {
            notifications.push(notification(case, problem));
        } else if results.len() < MOST_RESULTS {
            let index = match rules.iter().position(|rule| *rule == problem.rule) {
                Some(index) => index,
                None => {
                    rules.push(problem.rule.clone());
                    rules.len() - 1
                }
            };
            results.push(result(case, problem, index));
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
                "rules": rules.iter().map(|rule| self::rule(rule)).collect::<Vec<_>>(),
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

fn problems(document: &Document) -> impl Iterator<Item = (&CaseResult, &Problem)> {
    let cases = document.cases.iter();
    cases.flat_map(|case| case.problems.iter().map(move |problem| (case, problem)))
}

fn rule(rule: &str) -> Value {
    let text = match rule {
        "control" => "A control, the run without its cure, must fail.".to_owned(),
        "limits" => "A conversation must keep the scenario's limits.".to_owned(),
        kind => format!("The assertion '{kind}' of a scenario must hold."),
    };
    json!({
        "id": rule,
        "shortDescription": {"text": text},
        "defaultConfiguration": {"level": "error"},
    })
}

fn result(case: &CaseResult, problem: &Problem, rule: usize) -> Value {
    json!({
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
    let mut region = json!({"startLine": problem.line.max(1)});
    if let Some(column) = problem.column {
        region["startColumn"] = column.into();
    }
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(problem.file(case))},
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
