//! A sweep as one page of HTML, which holds its drawings.

use serde::Serialize;

use super::drawing::{Drawing, rules};
use super::matrix::Matrix;
use super::table::{Row, head, rows};
use super::words::{Words, spared, words};
use crate::record::Provenance;
use crate::report::numbers::{command, moment};
use crate::report::render;
use crate::sweep::Analysis;

#[derive(Serialize)]
struct Page<'a> {
    words: Words,
    icon: &'static str,
    description: &'a str,
    head: Vec<&'static str>,
    adaptive: bool,
    rows: Vec<Row>,
    matrix: Option<Matrix>,
    kinds: Vec<(String, Vec<(String, usize)>)>,
    drawings: Vec<Figure>,
    plot_rules: String,
    prompts: &'a [String],
    command: String,
    facts: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Figure {
    name: &'static str,
    title: String,
    caption: String,
    svg: String,
}

/// The page.
#[must_use]
pub fn html(analysis: &Analysis, provenance: &Provenance) -> String {
    let words = words(analysis);
    let figure = |drawing: Drawing| Figure {
        name: drawing.name,
        svg: drawing.inline(),
        title: drawing.title,
        caption: drawing.caption,
    };
    let models = provenance.models.iter();
    let models: Vec<String> = models
        .map(|model| format!("{}, {}", model.name, model.description))
        .collect();
    let weights: Vec<&str> = provenance
        .models
        .iter()
        .map(|model| model.weights_sha256.as_str())
        .collect();
    let page = Page {
        icon: match words.tone {
            "good" => "✓",
            "bad" => "✗",
            _ => "!",
        },
        words,
        description: &analysis.description,
        head: head(analysis),
        adaptive: analysis.adaptive.is_some(),
        rows: rows(analysis),
        matrix: Matrix::of(analysis),
        kinds: (analysis.settings.iter())
            .filter(|outcome| !outcome.kinds.is_empty())
            .map(|outcome| {
                (
                    outcome.label.clone(),
                    outcome.kinds.clone().into_iter().collect(),
                )
            })
            .collect(),
        drawings: super::drawings(analysis).into_iter().map(figure).collect(),
        plot_rules: rules(),
        prompts: &analysis.prompts,
        command: command(&provenance.command),
        facts: vec![
            ("Model", models.join("; ")),
            ("Weights, SHA-256", weights.join("; ")),
            (
                "Runs",
                format!(
                    "{} runs of {} prompts{}",
                    analysis.runs,
                    analysis.prompts.len(),
                    spared(analysis)
                ),
            ),
            ("Started", moment(&provenance.started_at)),
            (
                "Machine",
                format!(
                    "{}, {}, {} threads",
                    provenance.platform, provenance.processor, provenance.threads
                ),
            ),
            ("Made by", provenance.tool.clone()),
        ],
    };
    render("sweep.html", &page)
}
