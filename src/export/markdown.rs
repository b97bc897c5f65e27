//! Markdown for GitHub: the summary of a step and the comment on a pull request.
//!
//! Both have limits, and more than the limit is not shown at all; so the most important comes
//! first, and what does not fit is counted.

use std::fmt::Write;

use super::document::{CaseResult, Document, Outcome};
use super::text::cut;
use super::threshold::ThresholdOutcome;

/// Bytes of a step's summary, beyond which GitHub drops the whole of it.
pub const SUMMARY_LIMIT: usize = 1 << 20;
/// Characters of a comment, beyond which GitHub refuses it. Counted as bytes, which are no fewer.
pub const COMMENT_LIMIT: usize = 65_536;
/// Most bytes of one message.
const MESSAGE_BYTES: usize = 4 << 10;
/// What a later comment of the same job looks for, to replace an earlier one.
const MARKER: &str = "<!-- loopwatch -->\n";
/// Room that is kept for the sentence on what is left out.
const RESERVE: usize = 200;

/// The document in fewer than `limit` bytes; an empty text if that is less than its headline.
#[must_use]
pub fn markdown(document: &Document, limit: usize) -> String {
    let mut text = MARKER.to_owned() + &headline(document) + &thresholds(document);
    if text.len() + RESERVE >= limit {
        return String::new();
    }
    let bad: Vec<&CaseResult> = document
        .cases
        .iter()
        .filter(|case| case.outcome != Outcome::Passed)
        .collect();
    let mut left = 0;
    for case in &bad {
        let section = section(case);
        if text.len() + section.len() + RESERVE < limit {
            text += &section;
        } else {
            left += 1;
        }
    }
    if left > 0 {
        let _ = writeln!(
            text,
            "\n{left} more that did not pass are left out here, for want of room; the report has all."
        );
    }
    let table = table(document);
    if text.len() + table.len() < limit {
        text += &table;
    }
    text
}

fn headline(document: &Document) -> String {
    let totals = &document.totals;
    let (sign, word) = match document.outcome {
        Outcome::Passed => ("✅", "passed"),
        Outcome::Failed => ("❌", "failed"),
        Outcome::Errored => ("⚠️", "could not run everything"),
        Outcome::Incomplete => ("⏸️", "passed so far, some left"),
    };
    let mut line = format!("### {sign} loopwatch {word}\n\n{} passed", totals.passed);
    for (count, word) in [
        (totals.failed, "failed"),
        (totals.errored, "could not run"),
        (totals.not_run, "not run"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {word}");
        }
    }
    if let Some(shard) = &document.shard {
        let _ = write!(line, ", in shard {shard}");
    }
    let controls: Vec<_> = document
        .cases
        .iter()
        .filter_map(|case| case.control.as_ref())
        .collect();
    let worked = controls
        .iter()
        .filter(|control| control.outcome == Outcome::Passed);
    let _ = write!(
        line,
        "; {} of {} controls failed as they must",
        worked.count(),
        controls.len()
    );
    if let Some(ms) = totals.wall_ms {
        let _ = write!(line, "; {:.1} s", ms as f64 / 1e3);
    }
    line + "\n"
}

/// The thresholds, each with what was measured.
fn thresholds(document: &Document) -> String {
    let mut text = String::new();
    for threshold in &document.thresholds {
        let sign = match threshold.outcome {
            ThresholdOutcome::Held => "✅",
            ThresholdOutcome::Broken => "❌",
            ThresholdOutcome::NotJudged => "⏸️ not judged:",
        };
        let _ = write!(
            text,
            "\n- {sign} `{}`: {} ({}:{})",
            code(&threshold.label),
            prose(&threshold.message),
            prose(&threshold.file),
            threshold.line
        );
    }
    match text.is_empty() {
        true => text,
        false => text + "\n",
    }
}

/// One case that did not pass, with its evidence.
fn section(case: &CaseResult) -> String {
    let mut text = format!(
        "\n#### `{}`\n\n{} · {}:{}\n",
        code(&case.id),
        prose(&case.description),
        prose(&case.scenario),
        case.line
    );
    if let Some(excused) = &case.excused {
        let _ = writeln!(text, "\n_{}_", prose(excused));
    }
    for problem in &case.problems {
        let file = match &problem.file {
            Some(file) => format!("{}:", prose(file)),
            None => "line ".to_owned(),
        };
        let _ = writeln!(
            text,
            "\n**{}** ({file}{})\n",
            prose(&problem.label),
            problem.line
        );
        text += &block("text", &cut(&problem.message, MESSAGE_BYTES));
        if let Some(diff) = &problem.diff {
            text.push('\n');
            text += &block("diff", &cut(&diff.lines(), MESSAGE_BYTES));
        }
    }
    text
}

/// All cases, folded.
fn table(document: &Document) -> String {
    let mut text = format!(
        "\n<details><summary>All cases: {}</summary>\n\n\
         | case | outcome | tokens | TTFT | loop | control |\n|---|---|--:|--:|---|---|\n",
        document.cases.len()
    );
    for case in &document.cases {
        let ttft = case
            .ttft_ms
            .map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"));
        let found = case.loops.first().map_or_else(
            || "–".to_owned(),
            |found| format!("{}, {} × {:.1}", found.state, found.period, found.copies),
        );
        let control = case
            .control
            .as_ref()
            .map_or("none", |control| match control.outcome {
                Outcome::Passed => "fails as it must",
                Outcome::Errored => "could not run",
                Outcome::Failed | Outcome::Incomplete => "does not fail",
            });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {ttft} | {} | {control} |",
            prose(&case.id),
            case.outcome.as_str(),
            case.output_tokens,
            prose(&found),
        );
    }
    text + "\n</details>\n"
}

/// A block of code in a language.
fn block(language: &str, text: &str) -> String {
    let fence = fence(text);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// A fence that `text` cannot close.
fn fence(text: &str) -> String {
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

/// Text between single backticks.
fn code(text: &str) -> String {
    text.replace('`', "'").replace(['\n', '\r'], " ")
}

/// Text that Markdown, HTML and mentions make nothing of.
fn prose(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            // A mention is a letter behind an at-sign.
            '@' => safe += "@\u{200b}",
            '\n' | '\r' => safe.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                safe.push('\\');
                safe.push(character);
            }
            other => safe.push(other),
        }
    }
    safe
}
