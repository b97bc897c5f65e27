//! The loop rate along the penalty, one line with its band for each window.

use plotters::prelude::*;

use super::drawing::{Chart, DIM, Drawing, Drawn, Panel, SCALE, Scale, chart, names, series};
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
        |panel| rates(panel, &lines, target),
    )
}

fn rates(panel: &Panel<'_>, lines: &[Line], target: f64) -> Drawn {
    let scale = SCALE as i32;
    let points = || lines.iter().flat_map(|line| &line.points);
    let low = points().fold(f64::INFINITY, |low, (level, _)| low.min(*level));
    let high = points().fold(f64::NEG_INFINITY, |high, (level, _)| high.max(*level));
    let top = points().fold(target, |top, (_, rate)| top.max(rate.interval.high)) * 1.05;
    let margin = (high - low) * 0.03;
    let level = |level: &f64| format!("{}", (level * 1e3).round() / 1e3);
    let mut chart = chart(
        panel,
        Scale {
            name: "penalty",
            range: low - margin..high + margin,
            labels: 8,
            label: &level,
            lines: false,
        },
        Scale::loops(top),
    )?;
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
        let end = chart.backend_coord(&rates.next_back()?);
        ends.push((index, window_name(line.window), end));
    }
    names(panel, ends, 24)
}

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
