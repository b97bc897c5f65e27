//! The detectors that are compared: a name, a scale of settings, and where each first raises an
//! alarm in a document.
//!
//! The rules of other projects are written anew from their published constants. Where a project's
//! code does more than its rule on repeated text (retries, messages, other channels), that is left
//! out. Settings other than the default scale the number of copies a rule asks for, or the threshold
//! it has instead.

mod chunks;
mod counts;
mod tail;
mod whole;

use super::document::Document;
use crate::loops::{Change, LoopKind, LoopState, PromptRequest};

/// Settings of the curves, as factors on a rule's copies or threshold; the default is 1.
pub const SCALE: &[f64] = &[1.0, 0.5, 0.75, 1.5, 2.0, 3.0, 5.0];

/// An alarm: the piece at which it is raised, and what the detector says about the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The piece that was read last.
    pub at: usize,
    /// Where the loop begins, from detectors that say so.
    pub onset: Option<usize>,
    /// The earliest piece at which its own rule could have been met, likewise.
    pub earliest: Option<usize>,
    /// What kind of loop, likewise.
    pub kind: Option<LoopKind>,
}

impl Alarm {
    fn at(at: usize) -> Self {
        Self {
            at,
            onset: None,
            earliest: None,
            kind: None,
        }
    }
}

/// One detector of the comparison.
pub struct Contender {
    /// The name in tables.
    pub name: &'static str,
    /// Where the rule comes from, and what it says.
    pub rule: &'static str,
    /// Whether other settings than the default make sense.
    pub scales: bool,
    /// Whether it stops reading at its first alarm.
    pub stops: bool,
    first: First,
}

/// The first alarm in a document at a setting.
type First = fn(&Document, f64) -> Option<Alarm>;

impl Contender {
    /// The first alarm, at a setting of [`SCALE`].
    #[must_use]
    pub fn first_alarm(&self, document: &Document, scale: f64) -> Option<Alarm> {
        (self.first)(document, scale)
    }
}

/// All contenders: ours first.
#[must_use]
pub fn contenders() -> Vec<Contender> {
    let contender = |name, rule, scales, first| Contender {
        name,
        rule,
        scales,
        stops: scales,
        first,
    };
    let mut all = vec![
        contender(
            "loopwatch confirmed",
            "exact repetition, graded by period and context",
            false,
            confirmed as First,
        ),
        contender(
            "loopwatch suspected",
            "all detectors, the level of warnings",
            false,
            suspected,
        ),
        contender(
            "loopwatch confirmed, prompt known",
            "the same, less what the prompt asks for",
            false,
            confirmed_unasked,
        ),
    ];
    let others: [(&str, &str, bool, First); 18] = [
        (
            "vLLM 1–20 × 3",
            "the last p tokens equal each of the 2 blocks before, p from 1 to 20",
            true,
            |d, s| tail::repeats(d, 1, 20, 3.0 * s, 0, 1),
        ),
        (
            "vLLM 1–8 × 4",
            "the same, p from 1 to 8, 4 copies",
            true,
            |d, s| tail::repeats(d, 1, 8, 4.0 * s, 0, 1),
        ),
        (
            "vLLM 4–128 × 4",
            "the same, p from 4 to 128, every 16 tokens",
            true,
            |d, s| tail::repeats(d, 4, 128, 4.0 * s, 0, 16),
        ),
        (
            "llama.cpp 16–1024 × 4",
            "proposal 26039: p from 16 to 1,024, 4 copies",
            true,
            |d, s| tail::repeats(d, 16, 1_024, 4.0 * s, 0, 1),
        ),
        (
            "Rapid-MLX 6 × 72",
            "6 copies and 72 tokens, every 8 tokens, p to 128",
            true,
            |d, s| tail::repeats(d, 1, 128, 6.0 * s, (72.0 * s) as usize, 8),
        ),
        (
            "mlx-serve tiers",
            "p to 8 × 16, p to 64 × 10, or few different tokens and 4-grams among 1,024",
            true,
            counts::mlx_serve,
        ),
        (
            "Ollama 30",
            "one token more than 30 times in a row; blanks look alike",
            true,
            |d, s| tail::same_chunk(d, (30.0 * s) as usize),
        ),
        ("Ollama 100", "the same, 100 times", true, |d, s| {
            tail::same_chunk(d, (100.0 * s) as usize)
        }),
        (
            "SGLang 300 × 15",
            "proposal 27778: a 300-gram 15 times in 8,300 tokens, after 16,384",
            true,
            |d, s| counts::gram_in_window(d, 300, 15.0 * s, 8_300, 16_384),
        ),
        ("30-gram × 20", "any 30-gram 20 times", true, |d, s| {
            counts::gram_in_window(d, 30, 20.0 * s, usize::MAX, 0)
        }),
        (
            "MiMo-Code",
            "copies by period in characters: 300, 80, 40, 16, 8, 5; every 256 of 8,192 characters",
            true,
            chunks::mimo,
        ),
        (
            "oh-my-pi exact",
            "unit to 60 characters × 4 and 180 characters, longer × 3 and 1,024; every 128 of 4,096",
            true,
            chunks::oh_my_pi,
        ),
        (
            "gemini-cli, token deltas",
            "a 50-character chunk 10 times within 250 characters each; deltas of one token",
            true,
            |d, s| chunks::gemini(d, s, 0),
        ),
        (
            "gemini-cli, 64-char deltas",
            "the same; deltas of 64 characters",
            true,
            |d, s| chunks::gemini(d, s, 64),
        ),
        (
            "Holtzman end",
            "period 1 to 90 at the very end, twice; 3 tokens or 50 copies",
            true,
            whole::holtzman,
        ),
        (
            "compression > 2.4",
            "bytes by their zlib size, of the last 4,000 characters",
            true,
            whole::compression,
        ),
        (
            "distinct-4 < 0.5",
            "different 4-grams among 512 tokens",
            true,
            |d, s| counts::distinct(d, 4, 512, 0.5 / s),
        ),
        (
            "distinct-6 < 0.2",
            "different 6-grams among 512 tokens",
            true,
            |d, s| counts::distinct(d, 6, 512, 0.209 / s),
        ),
    ];
    all.extend(others.map(|(name, rule, scales, first)| contender(name, rule, scales, first)));
    all
}

/// Runs a watch over the document and returns the first change that `wanted` accepts.
fn watched(document: &Document, wanted: impl Fn(&Change) -> bool) -> Option<Alarm> {
    let mut found: Option<Alarm> = None;
    let watch = super::watch(document, |change| {
        if found.is_none() && wanted(&change) {
            found = Some(Alarm {
                at: change.at,
                onset: Some(change.onset),
                earliest: None,
                kind: Some(change.kind),
            });
        }
    });
    let mut alarm = found?;
    alarm.earliest = watch
        .verdict()
        .filter(|verdict| verdict.detected_at == alarm.at)
        .map(|verdict| verdict.earliest_possible);
    Some(alarm)
}

fn confirmed(document: &Document, _: f64) -> Option<Alarm> {
    watched(document, |change| change.state == LoopState::Confirmed)
}

fn suspected(document: &Document, _: f64) -> Option<Alarm> {
    watched(document, |change| {
        matches!(change.state, LoopState::Suspected | LoopState::Confirmed)
    })
}

/// Confirmed, unless the prompt covers the copies there are in the end.
fn confirmed_unasked(document: &Document, scale: f64) -> Option<Alarm> {
    let alarm = confirmed(document, scale)?;
    let Some(prompt) = &document.prompt else {
        return Some(alarm);
    };
    let verdict = super::watch(document, |_| ()).verdict()?;
    let range = verdict.onset..verdict.onset + verdict.period;
    let start = document.pieces.get(range.start)?.bytes.start;
    let end = document.pieces.get(range.end - 1)?.bytes.end;
    let fragment = document.text.get(start..end).unwrap_or_default();
    let requested = PromptRequest::read(prompt).about(fragment);
    (!requested.covers(verdict.copies())).then_some(alarm)
}
