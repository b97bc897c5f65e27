//! What keeps a case from passing, and where its scenario asks for it.

use schemars::JsonSchema;
use serde::Serialize;
use similar::TextDiff;

use super::document::CaseResult;
use crate::assertion::TextDifference;
use crate::record::{CaseRecord, RunRecord};

/// Whose fault a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// An assertion did not hold, or a limit was exceeded.
    Assertion,
    /// The control, which must fail, did not.
    Control,
    /// The target could not answer: nothing is said about the model.
    Target,
}

/// One thing that keeps a case from passing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// Whose fault it is.
    pub kind: ProblemKind,
    /// The rule that was broken: the type of the assertion such as `not-loop`, `limits`,
    /// `control`, or `target`.
    pub rule: String,
    /// The rule with its parameters, such as `contains "tokio"`.
    pub label: String,
    /// What was expected and what was found, in one line or a few.
    pub message: String,
    /// The file to look at, if it is not the scenario's: one that the scenario extends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file to look at, counted from 1.
    pub line: usize,
    /// The column in that line, counted from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The texts around the first difference, where texts were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Difference>,
}

/// Two texts that should be the same, cut around their first difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// What was expected.
    pub expected: String,
    /// What came.
    pub actual: String,
}

impl Difference {
    fn of(diff: &TextDifference) -> Self {
        Self {
            expected: diff.expected.clone(),
            actual: diff.actual.clone(),
        }
    }

    /// Line by line, as `diff` prints it: `-` was expected, `+` came.
    pub(super) fn lines(&self) -> String {
        let diff = TextDiff::from_lines(&self.expected, &self.actual);
        let lines = diff.iter_all_changes().map(|change| {
            let line = change.value().trim_end_matches(['\n', '\r']);
            format!("{} {line}\n", change.tag())
        });
        lines.collect()
    }
}

impl Problem {
    /// The file to look at.
    pub(super) fn file<'a>(&'a self, case: &'a CaseResult) -> &'a str {
        self.file.as_deref().unwrap_or(&case.scenario)
    }
}

/// Everything that keeps `case` from passing, errors first.
pub(super) fn problems(case: &CaseRecord, locate: &dyn Fn(&str) -> String) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(error) = &case.run.error {
        found.push(target(case, error.clone()));
    }
    let control = case.control.as_ref();
    if let Some(error) = control.and_then(|control| control.run.error.as_ref()) {
        found.push(target(case, format!("the control: {error}")));
    }
    // Of an answer that did not come, or came in part, no assertion says anything.
    if case.run.error.is_none() {
        found.extend(assertions(case, &case.run, locate));
    }
    for held in control.into_iter().flat_map(|control| &control.held) {
        found.push(Problem {
            kind: ProblemKind::Control,
            rule: "control".to_owned(),
            label: format!("control must fail {held}"),
            message: format!(
                "the control must fail '{held}' and does not: this scenario cannot tell the cure \
                 from its absence"
            ),
            file: None,
            line: case.scenario_line,
            column: None,
            diff: None,
        });
    }
    found
}

fn target(case: &CaseRecord, message: String) -> Problem {
    Problem {
        kind: ProblemKind::Target,
        rule: "target".to_owned(),
        label: "target".to_owned(),
        message,
        file: None,
        line: case.scenario_line,
        column: None,
        diff: None,
    }
}

fn assertions<'a>(
    case: &'a CaseRecord,
    run: &'a RunRecord,
    locate: &'a dyn Fn(&str) -> String,
) -> impl Iterator<Item = Problem> + 'a {
    let checks = run.judgement.checks.iter().enumerate();
    checks
        .filter(|(_, check)| check.failed())
        .map(move |(at, check)| {
            // Checks stand in the order of the assertions; a limit comes behind them.
            let spec = case.assertions.get(at);
            let column = spec
                .filter(|spec| spec.line == check.line && spec.kind == check.kind)
                .map(|spec| spec.column)
                .filter(|column| *column > 0);
            Problem {
                kind: ProblemKind::Assertion,
                rule: check.kind.clone(),
                label: check.label.clone(),
                message: check.message.clone(),
                file: check.file.as_deref().map(locate),
                line: check.line,
                column,
                diff: check.diff.as_ref().map(Difference::of),
            }
        })
}
