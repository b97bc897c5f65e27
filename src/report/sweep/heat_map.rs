//! Penalty × window, each cell shaded by its loop rate.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::drawing::{DIM, Drawing, Drawn, GRID, HEAT, INK, Panel, SCALE, text};
use super::words::{focus, percent, window_name};
use crate::sweep::{Analysis, Rate};

const LEFT: i32 = 110;
const TOP: i32 = 34;
const CELL: (i32, i32) = (96, 52);

pub(super) fn draw(analysis: &Analysis) -> Option<Drawing> {
    let settings = || {
        analysis
            .settings
            .iter()
            .filter_map(|o| Some((o.treatment?, o.loops)))
    };
    let mut levels: Vec<f64> = settings().map(|(setting, _)| setting.level).collect();
    levels.dedup();
    let mut windows: Vec<usize> = settings()
        .filter_map(|(setting, _)| setting.window)
        .collect();
    windows.sort_unstable();
    windows.dedup();
    if levels.len() < 2 || windows.len() < 2 {
        return None;
    }
    let of = |level: f64, window: usize| -> Option<Rate> {
        let found = settings().find(|(setting, _)| {
            setting.level == level && setting.window.is_none_or(|other| other == window)
        });
        found.map(|(_, rate)| rate)
    };
    let most = settings().fold(0.0, |most: f64, (_, rate)| most.max(rate.share.value()));
    let caption = format!(
        "Each cell: the loop rate, and below it its 95 % interval; n = {} runs of {} prompts in \
         each{}. The stronger the colour, the more loops. Without a penalty the window has no effect.",
        settings().next()?.1.share.of,
        analysis.prompts.len(),
        focus(analysis)
    );
    let size = (
        LEFT as u32 + 20 + levels.len() as u32 * CELL.0 as u32,
        TOP as u32 + 10 + windows.len() as u32 * CELL.1 as u32,
    );
    Drawing::new(
        "heat-map",
        "Loop rate by penalty and window",
        caption,
        size,
        |panel| {
            for (column, level) in levels.iter().enumerate() {
                let middle = (LEFT + column as i32 * CELL.0 + CELL.0 / 2, TOP / 2);
                words(panel, format!("{level}"), middle, DIM, HPos::Center)?;
                for (row, window) in windows.iter().enumerate() {
                    if let Some(rate) = of(*level, *window) {
                        cell(panel, (column as i32, row as i32), rate, most)?;
                    }
                }
            }
            for (row, window) in windows.iter().enumerate() {
                let place = (LEFT - 12, TOP + row as i32 * CELL.1 + CELL.1 / 2);
                words(panel, window_name(Some(*window)), place, DIM, HPos::Right)?;
            }
            words(
                panel,
                "penalty".to_owned(),
                (LEFT - 12, TOP / 2),
                INK,
                HPos::Right,
            )
        },
    )
}

/// Shaded by its rate beside the greatest one.
fn cell(panel: &Panel<'_>, (column, row): (i32, i32), rate: Rate, most: f64) -> Drawn {
    let scale = SCALE as i32;
    let (left, top) = (LEFT + column * CELL.0, TOP + row * CELL.1);
    let corners = |gap: i32| {
        [
            ((left + gap) * scale, (top + gap) * scale),
            ((left + CELL.0 - gap) * scale, (top + CELL.1 - gap) * scale),
        ]
    };
    let shade = HEAT.mix(rate.share.value() / most.max(1e-9) * 0.7).filled();
    panel.draw(&Rectangle::new(corners(1), shade)).ok()?;
    panel
        .draw(&Rectangle::new(corners(1), GRID.stroke_width(SCALE)))
        .ok()?;
    let middle = left + CELL.0 / 2;
    words(
        panel,
        percent(rate.share.value()),
        (middle, top + 18),
        INK,
        HPos::Center,
    )?;
    let interval = format!(
        "{}–{}",
        percent(rate.interval.low),
        percent(rate.interval.high)
    );
    words(panel, interval, (middle, top + 36), DIM, HPos::Center)
}

fn words(
    panel: &Panel<'_>,
    words: String,
    (x, y): (i32, i32),
    colour: RGBColor,
    side: HPos,
) -> Drawn {
    let style = text(colour).pos(Pos::new(side, VPos::Center));
    let place = (x * SCALE as i32, y * SCALE as i32);
    panel.draw(&Text::new(words, place, style)).ok()
}
