//! The part of the page on generations of a model: what was said about them, by penalty, and what
//! stopping them would have saved and cost.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::document::{Document, Half};
use crate::loops::{LoopState, Shadow};
use crate::statistics::Share;

/// What was found in the generations of one half at one penalty.
#[derive(Default)]
struct Found {
    loops_confirmed: Share,
    loops_suspected: Share,
    healthy_confirmed: Share,
    healthy_suspected: Share,
}

/// Right and wrong alarms by the repetition penalty, which the name of a generation ends with.
pub(super) fn by_penalty(out: &mut String, generated: &[Document]) -> std::fmt::Result {
    if generated.is_empty() {
        return Ok(());
    }
    let mut rows: BTreeMap<(Half, String), Found> = BTreeMap::new();
    for document in generated {
        let penalty = document.name.rsplit("/p").next().unwrap_or_default();
        let (mut suspected, mut confirmed) = (false, false);
        super::watch(document, |change| {
            confirmed |= change.state == LoopState::Confirmed;
            suspected |= matches!(change.state, LoopState::Suspected | LoopState::Confirmed);
        });
        let row = rows
            .entry((document.half(), penalty.to_owned()))
            .or_default();
        if document.label.is_some() {
            row.loops_confirmed.count(confirmed);
            row.loops_suspected.count(suspected);
        } else {
            row.healthy_confirmed.count(confirmed);
            row.healthy_suspected.count(suspected);
        }
    }
    writeln!(
        out,
        "*loopwatch* by repetition penalty (1 is none), anywhere in a generation:\n"
    )?;
    writeln!(
        out,
        "| half | penalty | loops | confirmed | suspected at least | healthy | confirmed | suspected at least |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for ((half, penalty), found) in rows {
        let half = match half {
            Half::Tune => "tuning",
            Half::Test => "test",
        };
        writeln!(
            out,
            "| {half} | {penalty} | {} | {} | {} | {} | {} | {} |",
            found.loops_confirmed.of,
            found.loops_confirmed.hits,
            found.loops_suspected.hits,
            found.healthy_confirmed.of,
            found.healthy_confirmed.hits,
            found.healthy_suspected.hits,
        )?;
    }
    writeln!(out)
}

/// What stopping at confirmed loops would have saved and cost on the generations.
pub(super) fn shadow(out: &mut String, generated: &[Document]) -> std::fmt::Result {
    let watched: Vec<_> = generated
        .iter()
        .map(|document| {
            let label = document.label.as_ref();
            let cut_off = label.is_some_and(|label| label.bytes.end == document.text.len());
            (
                super::watch(document, |_| ()).verdict(),
                document.pieces.len(),
                !cut_off,
            )
        })
        .collect();
    if watched.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "Stopping at confirmed loops, as it would have gone in both halves (nothing was stopped). A generation is lost if it was going to end by itself.\n"
    )?;
    writeln!(
        out,
        "| grace, tokens | generations | stopped | tokens saved | generations lost |\n|---:|---:|---:|---:|---:|"
    )?;
    for grace in [0, 64, 256] {
        let mut shadow = Shadow::default();
        for (verdict, tokens, ended_itself) in &watched {
            shadow.count(verdict.as_ref(), grace, *tokens, *ended_itself);
        }
        writeln!(
            out,
            "| {grace} | {} | {} | {} | {} |",
            shadow.generations, shadow.stopped, shadow.tokens_saved, shadow.answers_lost
        )?;
    }
    writeln!(out)
}
