//! The loop rate along the penalty, one line with its band for each window.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::drawing::{DIM, Drawing, Drawn, GRID, INK, Panel, SCALE, series, spread, text};
use super::words::{focus, percent, window_name};
use crate::sweep::{Analysis, Rate};

/// A window and its rates along the penalty.
pub(super) struct Line {
    pub(super) window: Option<usize>,
    pub(super) points: Vec<(f64, Rate)>,
}

/// The lines of a sweep: no penalty belongs to all of them.
pub(super) fn lines(analysis: &Analysis) -> Vec<Line> {
    let settings = || {
        analysis
            .settings
            .iter()
            .filter_map(|o| Some((o.treatment?, o.loops)))
    };
    let mut windows: Vec<Option<usize>> = settings().map(|(setting, _)| setting.window).collect();
    windows.sort_unstable();
    windows.dedup();
    if windows.len() > 1 {
        windows.retain(Option::is_some);
    }
    let line = |window: Option<usize>| Line {
        window,
        points: settings()
            .filter(|(setting, _)| setting.window.is_none() || setting.window == window)
            .map(|(setting, rate)| (setting.level, rate))
            .collect(),
    };
    windows.into_iter().map(line).collect()
}

pub(super) fn draw(analysis: &Analysis) -> Option<Drawing> {
    let lines = lines(analysis);
    if lines.iter().all(|line| line.points.len() < 2) {
        return None;
    }
    let runs = lines.first()?.points.first()?.1.share.of;
    let target = analysis.recommendation.target_rate;
    let caption = format!(
        "Confirmed loops among {runs} runs of {} prompts at each setting{}. Bands are 95 % intervals \
         (Wilson, over the number of runs of different prompts that these are worth). The dashed \
         line is the target, {}.",
        analysis.prompts.len(),
        focus(analysis),
        percent(target)
    );
    Drawing::new(
        "loop-rate",
        "Loop rate against penalty",
        caption,
        (760, 380),
        |panel| chart(panel, &lines, target),
    )
}

fn chart(panel: &Panel<'_>, lines: &[Line], target: f64) -> Drawn {
    let scale = SCALE as i32;
    let points = || lines.iter().flat_map(|line| &line.points);
    let low = points().fold(f64::INFINITY, |low, (level, _)| low.min(*level));
    let high = points().fold(f64::NEG_INFINITY, |high, (level, _)| high.max(*level));
    let top = points().fold(target, |top, (_, rate)| top.max(rate.interval.high)) * 1.05;
    let margin = (high - low) * 0.03;
    let mut chart = ChartBuilder::on(panel)
        .margin_top(16 * scale)
        .margin_right(118 * scale)
        .x_label_area_size(44 * scale)
        .y_label_area_size(62 * scale)
        .build_cartesian_2d(low - margin..high + margin, 0.0..top)
        .ok()?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(SCALE / 2))
        .axis_style(DIM.stroke_width(SCALE))
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|level| format!("{}", (level * 1e3).round() / 1e3))
        .y_label_formatter(&|rate| percent(*rate))
        .x_desc("penalty")
        .y_desc("runs that loop")
        .label_style(text(DIM))
        .axis_desc_style(text(INK))
        .draw()
        .ok()?;
    let dashes = DashedLineSeries::new(
        [(low - margin, target), (high + margin, target)],
        6 * scale,
        5 * scale,
        DIM.stroke_width(SCALE),
    );
    chart.draw_series(dashes).ok()?;
    let mut ends = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let colour = series(index);
        let upper = line
            .points
            .iter()
            .map(|(level, rate)| (*level, rate.interval.high));
        let lower = line
            .points
            .iter()
            .rev()
            .map(|(level, rate)| (*level, rate.interval.low));
        for edge in [upper.clone().collect::<Vec<_>>(), lower.clone().collect()] {
            let stroke = colour.mix(0.45).stroke_width(SCALE / 2);
            chart.draw_series(LineSeries::new(edge, stroke)).ok()?;
        }
        let band = Polygon::new(
            upper.chain(lower).collect::<Vec<_>>(),
            colour.mix(0.09).filled(),
        );
        chart.draw_series([band]).ok()?;
    }
    for (index, line) in lines.iter().enumerate() {
        let colour = series(index);
        let mut rates = line
            .points
            .iter()
            .map(|(level, rate)| (*level, rate.share.value()));
        let stroke = colour.stroke_width(SCALE * 2);
        chart
            .draw_series(LineSeries::new(rates.clone(), stroke))
            .ok()?;
        for at in rates.clone() {
            marker(&mut chart, index, at)?;
        }
        ends.push((index, line.window, rates.next_back()?));
    }
    names(panel, &chart, ends)
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// A shape for each series, for those who do not tell its colour.
pub(super) fn marker(chart: &mut Chart<'_, '_>, index: usize, at: (f64, f64)) -> Drawn {
    let (colour, size) = (series(index).filled(), 4 * SCALE as i32);
    match index % 3 {
        0 => chart.draw_series([Circle::new(at, size, colour)]).ok()?,
        1 => chart
            .draw_series([TriangleMarker::new(at, size * 5 / 4, colour)])
            .ok()?,
        _ => chart
            .draw_series([EmptyElement::at(at)
                + Rectangle::new(
                    [(-size * 4 / 5, -size * 4 / 5), (size * 4 / 5, size * 4 / 5)],
                    colour,
                )])
            .ok()?,
    };
    Some(())
}

/// Names at the ends of the lines.
fn names(
    panel: &Panel<'_>,
    chart: &Chart<'_, '_>,
    ends: Vec<(usize, Option<usize>, (f64, f64))>,
) -> Drawn {
    let scale = SCALE as i32;
    let places = ends.iter().map(|(.., end)| chart.backend_coord(end));
    let places: Vec<(i32, i32)> = places.collect();
    let heights: Vec<i32> = places.iter().map(|(_, y)| *y).collect();
    let heights = spread(&heights, 10 * scale);
    for (((index, window, _), (x, _)), y) in ends.into_iter().zip(places).zip(heights) {
        let style = text(series(index)).pos(Pos::new(HPos::Left, VPos::Center));
        let place = (x + 24 * scale, y);
        panel
            .draw(&Text::new(window_name(window), place, style))
            .ok()?;
    }
    Some(())
}
