//! One generation as a ribbon: a cell for each token, coloured by the gap before it, with the copies
//! of a loop bracketed below.
//!
//! It knows times, channels and loops of one generation. It does not know colours: cells name
//! classes, and the style sheet decides them.

use std::fmt::Write;
use std::ops::Range;

use serde::Serialize;

use super::numbers::{micros, things};
use crate::generation::{Channel, Transcript};
use crate::loops::LoopVerdict;
use crate::metrics::Timings;

/// Cells of a ribbon. A longer generation has several tokens in one cell, the slowest of which
/// gives the colour.
const MOST_CELLS: usize = 160;
/// Brackets below a ribbon; more would be a bar.
const MOST_BRACKETS: usize = 40;
/// Gaps up to so many times the middle one, in the shades of the first classes; the last class has
/// what is longer.
const SHADES: [u64; 3] = [2, 4, 8];
/// The width of a cell, and the heights of a lane and of the brackets, in units of the drawing.
const CELL: usize = 4;
const LANE: usize = 10;
const BRACKET: usize = 5;

/// One ribbon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Ribbon {
    /// Which generation, and what it shows, for those who do not see it.
    pub(super) label: String,
    /// An SVG element.
    pub(super) svg: String,
}

/// What is drawn of one token, or of one piece of text without tokens.
struct Cell {
    gap_us: Option<u64>,
    channel: Channel,
}

/// The ribbon of generation `number`, from 1; `None` if it has no two tokens.
pub(super) fn ribbon(
    number: usize,
    transcript: &Transcript,
    found: Option<&LoopVerdict>,
) -> Option<Ribbon> {
    let cells = cells(transcript);
    if cells.len() < 2 {
        return None;
    }
    let mut gaps: Vec<u64> = cells.iter().filter_map(|cell| cell.gap_us).collect();
    gaps.sort_unstable();
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(0);
    let slowest = gaps.last().copied().unwrap_or(0);
    let per_cell = cells.len().div_ceil(MOST_CELLS);
    let columns = cells.len().div_ceil(per_cell);
    let lanes = lanes(&cells);
    // Positions of loops in text without tokens count pieces of another size.
    let found = found.filter(|_| transcript.pieces.is_empty());
    let below = if found.is_some() { BRACKET } else { 0 };
    let height = lanes.len() * LANE + below;
    let mut svg = String::new();
    let what = match transcript.pieces.is_empty() {
        true => "token",
        false => "piece",
    };
    let label = format!(
        "generation {number}: {}{}, median gap {}, longest {}",
        things(cells.len(), what),
        in_lanes(&lanes),
        micros(Some(middle)),
        micros(Some(slowest))
    );
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg class=\"ribbon\" role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {} {height}\" preserveAspectRatio=\"none\" style=\"height:{height}px\">",
        columns * CELL
    );
    for shade in 0..=SHADES.len() {
        let mut path = String::new();
        for (row, lane) in lanes.iter().enumerate() {
            let columns = cells
                .chunks(per_cell)
                .map(|column| shade_in(column, *lane, middle));
            outline(&mut path, row, columns.map(|column| column == Some(shade)));
        }
        if !path.is_empty() {
            let _ = write!(svg, "<path class=\"gap-{shade}\" d=\"{path}\"/>");
        }
    }
    if let Some(verdict) = found {
        brackets(&mut svg, verdict, per_cell, lanes.len() * LANE);
    }
    svg.push_str("</svg>");
    Some(Ribbon { label, svg })
}

fn cells(transcript: &Transcript) -> Vec<Cell> {
    let gaps = Timings::of(transcript).gaps_us;
    let gap_at = |at: usize| at.checked_sub(1).and_then(|at| gaps.get(at).copied());
    if transcript.pieces.is_empty() {
        let of_tokens = transcript.token_channels();
        let channel = |at: usize| of_tokens.as_ref().and_then(|of| of.get(at)).copied();
        let tokens = 0..transcript.tokens.len();
        return tokens
            .map(|at| Cell {
                gap_us: gap_at(at),
                channel: channel(at).unwrap_or(Channel::Content),
            })
            .collect();
    }
    let pieces = transcript.pieces.iter().enumerate();
    pieces
        .map(|(at, piece)| Cell {
            gap_us: at
                .checked_sub(1)
                .map(|before| piece.at_us.saturating_sub(transcript.pieces[before].at_us)),
            channel: piece.of.channel,
        })
        .collect()
}

/// The channels that said something, in the order in which a reader expects them.
fn lanes(cells: &[Cell]) -> Vec<Channel> {
    let mut lanes = vec![Channel::Reasoning, Channel::Content, Channel::ToolCall];
    lanes.retain(|lane| cells.iter().any(|cell| cell.channel == *lane));
    lanes
}

/// The names of the lanes, if there are several.
fn in_lanes(lanes: &[Channel]) -> String {
    let name = |lane: &Channel| match lane {
        Channel::Reasoning => "reasoning",
        Channel::Content => "content",
        Channel::ToolCall => "tool calls",
    };
    match lanes {
        [_] | [] => String::new(),
        lanes => {
            let names: Vec<&str> = lanes.iter().map(name).collect();
            format!(" in lanes for {}", names.join(", "))
        }
    }
}

/// The shade of the slowest of these cells in a lane; `None` if none is in it.
fn shade_in(cells: &[Cell], lane: Channel, middle: u64) -> Option<usize> {
    let own = cells.iter().filter(|cell| cell.channel == lane);
    own.map(|cell| shade_of(cell.gap_us.unwrap_or(0), middle))
        .max()
}

/// Adds a box around each stretch of columns that is to have one colour.
fn outline(path: &mut String, row: usize, columns: impl Iterator<Item = bool>) {
    for range in stretches(columns) {
        let (x, width) = (range.start * CELL, range.len() * CELL);
        let _ = write!(path, "M{x} {}h{width}v{}h-{width}z", row * LANE, LANE - 1);
    }
}

fn shade_of(gap_us: u64, middle: u64) -> usize {
    let slower = |times: &u64| gap_us > middle.max(1).saturating_mul(*times);
    SHADES.iter().filter(|times| slower(times)).count()
}

/// The stretches of neighbours that are all true.
fn stretches(flags: impl Iterator<Item = bool>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, flag) in flags.enumerate() {
        match found.last_mut() {
            Some(last) if flag && last.end == at => last.end = at + 1,
            _ if flag => found.push(at..at + 1),
            _ => {}
        }
    }
    found
}

/// A bracket below each copy, or a bar below all repeats if they are too many.
fn brackets(svg: &mut String, verdict: &LoopVerdict, per_cell: usize, top: usize) {
    let x = |token: usize| (token * CELL) as f64 / per_cell as f64;
    let end = verdict.onset + verdict.span;
    let mut bar = |class: &str, from: usize, to: usize| {
        let (from, width) = (x(from), x(to) - x(from));
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\"/>",
            top + 1,
            BRACKET - 1
        );
    };
    let second = (verdict.onset + verdict.period).min(end);
    bar("fill-first", verdict.onset, second);
    if verdict.copies() > MOST_BRACKETS as f64 {
        bar("fill-repeat", second, end);
        return;
    }
    let copies = (second..end).step_by(verdict.period.max(1));
    for (index, from) in copies.enumerate() {
        let class = ["fill-repeat", "fill-repeat-odd"][index % 2];
        bar(class, from, (from + verdict.period).min(end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::FinishReason;
    use crate::loops::{Thresholds, detect};
    use crate::report::fixture::generation;

    #[test]
    fn a_stall_has_a_shade_of_its_own() {
        let mut transcript = generation("one two three four five six", FinishReason::Stop, 10);
        let count = transcript.token_at_us.len() as u64;
        transcript.token_at_us = (0..count).map(|at| at * 1_000).collect();
        let even = ribbon(1, &transcript, None).expect("a ribbon");
        assert_eq!(even.svg.matches("<path").count(), 1, "{}", even.svg);
        assert!(even.svg.contains("gap-0"));
        transcript
            .token_at_us
            .iter_mut()
            .skip(4)
            .for_each(|at| *at += 20_000);
        let stalled = ribbon(2, &transcript, None).expect("a ribbon");
        let stall = format!("<path class=\"gap-3\" d=\"M{} 0h4v9h-4z\"/>", 4 * CELL);
        assert!(stalled.svg.contains(&stall), "{}", stalled.svg);
        assert_eq!(
            stalled.label,
            "generation 2: 11 tokens, median gap 1.00 ms, longest 21.0 ms"
        );
    }

    #[test]
    fn each_copy_of_a_loop_is_bracketed() {
        let text = format!("Well. {}", "The `Buffer`\n".repeat(40));
        let transcript = generation(&text, FinishReason::Length, 10);
        let found = detect(&transcript.token_ids(), &Thresholds::default()).expect("a loop");
        let drawn = ribbon(1, &transcript, Some(&found)).expect("a ribbon").svg;
        assert_eq!(drawn.matches("fill-first").count(), 1);
        let repeats = drawn.matches("fill-repeat").count();
        assert_eq!(repeats, found.copies().ceil() as usize - 1);
        assert!(drawn.len() < 8_000, "{} bytes", drawn.len());
    }

    #[test]
    fn thoughts_and_calls_have_lanes_of_their_own() {
        let text = "<think>Hm, let me see.</think>I look. <call>read</call>";
        let mut transcript = generation(text, FinishReason::ToolCalls, 10);
        let count = transcript.token_at_us.len();
        transcript.token_at_us = (0..count as u64).map(|at| at * 1_000).collect();
        transcript.reasoning = Some("Hm, let me see.".to_owned());
        transcript.content = Some("I look. ".to_owned());
        transcript.tool_calls = vec![crate::generation::ToolCall {
            id: None,
            name: "read".to_owned(),
            arguments: Default::default(),
        }];
        let drawn = ribbon(1, &transcript, None).expect("a ribbon");
        let tokens_until = |byte: usize| {
            let before = transcript.text_ends.iter().filter(|end| **end <= byte);
            before.count() * CELL
        };
        let said = tokens_until(text.find("</think>").expect("a mark"));
        let called = tokens_until(text.find("<call>").expect("a mark"));
        let end = count * CELL;
        // One box in each lane, and together they are the generation.
        let boxes = format!(
            "M0 0h{said}v9h-{said}zM{said} 10h{0}v9h-{0}zM{called} 20h{1}v9h-{1}z",
            called - said,
            end - called
        );
        assert!(drawn.svg.contains(&boxes), "{} {boxes}", drawn.svg);
        assert!(
            drawn
                .label
                .contains(" in lanes for reasoning, content, tool calls,"),
            "{}",
            drawn.label
        );
    }

    #[test]
    fn one_token_is_no_ribbon() {
        let one = generation("one", FinishReason::Stop, 10);
        assert_eq!(ribbon(1, &one, None), None);
    }
}
