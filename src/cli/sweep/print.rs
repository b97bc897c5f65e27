//! What a person reads of a sweep on the terminal.

use std::io::Write;
use std::path::Path;

use super::super::style::{BAD, BOLD, DIM, GOOD, LOOP, RESET};
use crate::record::{ModelProvenance, Record};
use crate::report::sweep::{head, rows, spared, words};
use crate::sweep::{Analysis, Arrangement, Definition, Design, Draws, Space};

/// What will run.
pub(super) fn design(
    design: &Design,
    definition: &Definition,
    models: &[ModelProvenance],
) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let most = match &design.schedule {
        Some(_) => "at most ",
        None => "",
    };
    writeln!(
        out,
        "loopwatch {}: {} settings × {} prompts, {most}{} runs",
        env!("CARGO_PKG_VERSION"),
        design.points.len(),
        design.prompts.len(),
        design.runs.len()
    )?;
    for model in models {
        writeln!(out, "model {} ({})", model.name, model.description)?;
    }
    match &definition.space {
        Space::Axes(axes, arrangement) => {
            for axis in axes {
                let values: Vec<String> = axis.values.iter().map(ToString::to_string).collect();
                writeln!(out, "{DIM}{}{RESET} {}", axis.field, values.join(", "))?;
            }
            if let Arrangement::Random(Draws { points, seed }) = arrangement {
                writeln!(out, "{points} points drawn at random, with the seed {seed}")?;
            }
        }
        Space::Points(points) => {
            for point in points {
                writeln!(out, "{DIM}point{RESET} {point}")?;
            }
        }
    }
    if let (1.., Some((field, _))) = (design.added_off, design.scale) {
        writeln!(
            out,
            "{field} {} is tried too, because the others are compared with it",
            design.off
        )?;
    }
    writeln!(out)?;
    Ok(())
}

/// The table, the recommendation, and where the rest is.
pub(super) fn analysis(analysis: &Analysis, folder: &Path, wall_ms: u64) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let (head, rows) = (head(analysis), rows(analysis));
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row.cells[column].chars().count());
            cells
                .chain([head[column].chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        padded.collect::<Vec<_>>().join("  ")
    };
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    writeln!(out, "{DIM}{}{RESET}", line(&head))?;
    for row in &rows {
        let (style, mark) = if row.taken { (BOLD, "  ←") } else { ("", "") };
        writeln!(out, "{style}{}{mark}{RESET}", line(&row.cells))?;
    }
    let words = words(analysis);
    let colour = match words.tone {
        "good" => GOOD,
        "bad" => BAD,
        _ => LOOP,
    };
    writeln!(out, "\n{colour}{}{RESET}", words.headline)?;
    for (title, sentences) in [
        ("evidence", &words.evidence),
        ("limits", &words.limits),
        ("the usual advice, on this model", &words.advice),
    ] {
        if !sentences.is_empty() {
            writeln!(out, "\n{DIM}{title}{RESET}")?;
        }
        for sentence in sentences {
            writeln!(out, "  {sentence}")?;
        }
    }
    writeln!(
        out,
        "\n{} runs in {:.1} s{}",
        analysis.runs,
        wall_ms as f64 / 1e3,
        spared(analysis)
    )?;
    for (what, file) in [("record", "record.jsonl"), ("report", "sweep.html")] {
        writeln!(out, "{DIM}{what}{RESET} {}", folder.join(file).display())?;
    }
    Ok(())
}

/// The first of the runs that could not be answered.
pub(super) fn errors(record: &Record) -> anyhow::Result<()> {
    let failed = || {
        record
            .cases
            .iter()
            .filter_map(|case| Some((case, case.run.error.as_ref()?)))
    };
    if let Some((case, error)) = failed().next() {
        anstream::eprintln!(
            "{BAD}{} runs have no answer{RESET}; {}: {error}",
            failed().count(),
            case.id
        );
    }
    Ok(())
}
