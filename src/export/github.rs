//! Workflow commands of GitHub Actions: an annotation at the line of each assertion that failed.

use super::document::{CaseResult, Document};
use super::problem::Problem;
use super::text::cut;
use super::threshold::ThresholdOutcome;

/// Annotations that GitHub shows of one kind and step; further ones are dropped without a word.
pub const MOST_ANNOTATIONS: usize = 10;
/// Most bytes of a message.
const MESSAGE_BYTES: usize = 4 << 10;

/// One command a line. If there are more problems than GitHub shows, every case that did not pass
/// gets its first one before any gets its second, and the last line says how many are left out.
#[must_use]
pub fn annotations(document: &Document) -> String {
    let mut ranked: Vec<(usize, &CaseResult, &Problem)> = Vec::new();
    for case in &document.cases {
        let problems = case.problems.iter().enumerate();
        ranked.extend(problems.map(|(rank, problem)| (rank, case, problem)));
    }
    // Stable: cases stay in the order of the plan.
    ranked.sort_by_key(|(rank, ..)| *rank);
    let shown = match ranked.len() {
        all if all <= MOST_ANNOTATIONS => all,
        _ => MOST_ANNOTATIONS - 1,
    };
    let mut lines: Vec<String> = ranked
        .iter()
        .take(shown)
        .map(|(_, case, problem)| annotation(case, problem))
        .collect();
    if ranked.len() > shown {
        let left = ranked.len() - shown;
        let message = format!("{left} more problems are in the summary and the report");
        lines.push(format!("::error title=loopwatch::{}", data(&message)));
    }
    // Thresholds say something about all, so they come first.
    let broken = document
        .thresholds
        .iter()
        .filter(|threshold| threshold.outcome == ThresholdOutcome::Broken);
    let broken = broken.map(|threshold| {
        format!(
            "::error file={},line={},col={},title={}::{}",
            property(&threshold.file),
            threshold.line,
            threshold.column,
            property(&format!("threshold {}", threshold.label)),
            data(&threshold.message),
        )
    });
    let all = broken.chain(lines);
    all.map(|line| format!("{line}\n")).collect()
}

/// Outputs of the step, for later steps: `${{ steps.ID.outputs.outcome }}` and so on.
#[must_use]
pub fn step_outputs(document: &Document) -> String {
    let totals = &document.totals;
    format!(
        "outcome={}\npassed={}\nfailed={}\nerrored={}\nnot-run={}\n",
        document.outcome.as_str(),
        totals.passed,
        totals.failed,
        totals.errored,
        totals.not_run
    )
}

fn annotation(case: &CaseResult, problem: &Problem) -> String {
    let column = problem
        .column
        .map_or_else(String::new, |column| format!(",col={column}"));
    let title = format!("{}: {}", case.id, problem.label);
    let (level, message) = match &case.excused {
        None => ("error", problem.message.clone()),
        Some(excused) => ("warning", format!("{excused}\n{}", problem.message)),
    };
    format!(
        "::{level} file={},line={}{column},title={}::{}",
        property(problem.file(case)),
        problem.line,
        property(&title),
        data(&cut(&message, MESSAGE_BYTES)),
    )
}

/// Escapes a message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes the value of a property, which a colon or a comma would end.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
