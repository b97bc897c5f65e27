//! A sweep as Markdown, for pull requests and issues.

use std::fmt::Write;

use super::table::{head, rows};
use super::words::{Words, words};
use crate::record::Provenance;
use crate::sweep::Analysis;

/// The page. The drawings are named as files beside it.
#[must_use]
pub fn markdown(analysis: &Analysis, provenance: &Provenance) -> String {
    let Words {
        headline,
        evidence,
        limits,
        advice,
        ..
    } = words(analysis);
    let mut page = format!("# {headline}\n\n");
    if !analysis.description.is_empty() {
        page.push_str(&format!("{}\n\n", analysis.description));
    }
    let head = head(analysis);
    page.push_str(&format!(
        "| {} |\n|{}\n",
        head.join(" | "),
        "---|".repeat(head.len())
    ));
    for row in rows(analysis) {
        let cells = row.cells.into_iter().map(|cell| match row.taken {
            true => format!("**{cell}**"),
            false => cell,
        });
        let cells: Vec<String> = cells.collect();
        page.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    for (title, sentences) in [
        ("Evidence", evidence),
        ("Limits", limits),
        ("The usual advice, on this model", advice),
    ] {
        if sentences.is_empty() {
            continue;
        }
        page.push_str(&format!("\n## {title}\n\n"));
        for sentence in sentences {
            page.push_str(&format!("- {sentence}\n"));
        }
    }
    for drawing in super::drawings(analysis) {
        let (title, name, caption) = (&drawing.title, drawing.name, &drawing.caption);
        page.push_str(&format!(
            "\n## {title}\n\n![{title}]({name}.svg)\n\n{caption}\n"
        ));
    }
    // Writing to a text cannot fail.
    let _ = write!(
        page,
        "\n---\n{}, {}\n",
        provenance.tool, provenance.started_at
    );
    for model in &provenance.models {
        let _ = writeln!(
            page,
            "{} ({}, weights {})",
            model.name, model.description, model.weights_sha256
        );
    }
    page
}
