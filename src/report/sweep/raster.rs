//! Every run as a line as long as its answer, with the loop marked from where it begins.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::drawing::{DIM, Drawing, Drawn, GRID, INK, Panel, SCALE, series, text};
use super::words::compared_settings;
use crate::sweep::{Analysis, RunMark};

const LEFT: i32 = 16;
const HEAD: i32 = 26;
const FOOT: i32 = 40;
const WIDTH: i32 = 372;
const GAP: i32 = 24;
/// Height of a run, and of all of them at most.
const ROW: i32 = 4;
const MOST_ROWS: usize = 120;

pub(super) fn draw(analysis: &Analysis) -> Option<Drawing> {
    let shown = compared_settings(analysis);
    let longest = shown
        .iter()
        .flat_map(|outcome| &outcome.runs)
        .map(|run| run.tokens)
        .max()?;
    let rows = shown
        .iter()
        .map(|outcome| outcome.runs.len().min(MOST_ROWS))
        .max()?;
    let panels: Vec<(String, &[RunMark])> = shown
        .iter()
        .map(|outcome| {
            let share = outcome.loops.share;
            let title = format!(
                "{}: {} of {} runs loop",
                outcome.label, share.hits, share.of
            );
            (title, &outcome.runs[..outcome.runs.len().min(MOST_ROWS)])
        })
        .collect();
    let left_out = shown
        .iter()
        .map(|o| o.runs.len().saturating_sub(MOST_ROWS))
        .max()?;
    let more = match left_out {
        0 => String::new(),
        more => format!(" {more} more runs of each are not drawn."),
    };
    let caption = format!(
        "One line for each run, as long as its answer; runs of one prompt are neighbours, and the \
         same run has the same height in both. The thick part is the loop, from the first token of \
         its first copy.{more}"
    );
    let height = HEAD + FOOT + ROW * rows as i32;
    let width = 2 * (LEFT + WIDTH) + GAP - LEFT;
    Drawing::new(
        "onsets",
        "Where loops begin",
        caption,
        (width as u32, height as u32),
        |panel| {
            for (index, (title, runs)) in panels.iter().enumerate() {
                one(
                    panel,
                    LEFT + index as i32 * (WIDTH + GAP),
                    title,
                    runs,
                    longest,
                    rows,
                )?;
            }
            Some(())
        },
    )
}

fn one(
    panel: &Panel<'_>,
    left: i32,
    title: &str,
    runs: &[RunMark],
    longest: usize,
    rows: usize,
) -> Drawn {
    let scale = SCALE as i32;
    let x = |token: usize| {
        left * scale
            + (token as f64 / longest.max(1) as f64 * f64::from((WIDTH - LEFT) * scale)) as i32
    };
    let bottom = HEAD + ROW * rows as i32;
    let heading = text(INK).pos(Pos::new(HPos::Left, VPos::Center));
    panel
        .draw(&Text::new(
            title.to_owned(),
            (x(0), HEAD / 2 * scale),
            heading,
        ))
        .ok()?;
    for tick in 0..=4 {
        let token = longest * tick / 4;
        let line = [(x(token), HEAD * scale), (x(token), bottom * scale)];
        panel
            .draw(&PathElement::new(line, GRID.stroke_width(SCALE / 2)))
            .ok()?;
        let style = text(DIM).pos(Pos::new(HPos::Center, VPos::Center));
        let place = (x(token), (bottom + 12) * scale);
        panel
            .draw(&Text::new(token.to_string(), place, style))
            .ok()?;
    }
    let style = text(INK).pos(Pos::new(HPos::Center, VPos::Center));
    let foot = (x(longest / 2), (bottom + 29) * scale);
    panel
        .draw(&Text::new("tokens of the answer", foot, style))
        .ok()?;
    for (row, run) in runs.iter().enumerate() {
        let y = HEAD * scale + row as i32 * ROW * scale;
        let healthy = run.loop_at.map_or(run.tokens, |(onset, _)| onset);
        let corners = [(x(0), y + scale), (x(healthy), y + 3 * scale)];
        panel
            .draw(&Rectangle::new(corners, series(0).filled()))
            .ok()?;
        if let Some((onset, _)) = run.loop_at {
            let corners = [(x(onset), y), (x(run.tokens), y + ROW * scale)];
            panel
                .draw(&Rectangle::new(corners, series(1).filled()))
                .ok()?;
        }
    }
    Some(())
}
