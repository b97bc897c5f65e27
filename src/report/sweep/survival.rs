//! How many answers are still without a loop after so many tokens, one curve for each penalty.

use plotters::prelude::*;

use super::drawing::{Drawing, Drawn, Panel, SCALE, Scale, chart, names, series};
use super::words::{focus, percent, shown_window, window_name};
use crate::sweep::{Analysis, TreatmentOutcome};

/// More curves than this cannot be told apart.
const MOST: usize = 6;

pub(super) fn draw(analysis: &Analysis) -> Option<Drawing> {
    let window = shown_window(analysis);
    let of_window = |outcome: &&TreatmentOutcome| {
        let treatment = outcome.treatment;
        treatment.is_some_and(|t| t.window.is_none() || t.window == window)
    };
    let mut shown: Vec<&TreatmentOutcome> = analysis.settings.iter().filter(of_window).collect();
    shown.truncate(MOST);
    let longest = shown
        .iter()
        .flat_map(|outcome| &outcome.runs)
        .map(|run| run.tokens)
        .max()?;
    if shown.iter().all(|outcome| outcome.survival.is_empty()) {
        return None;
    }
    let caption = format!(
        "Kaplan-Meier: answers that ended or reached max_tokens without a loop count until then, so \
         this is how long answers would last if all went on. n = {} runs each{}{}. The band is the \
         95 % interval of the first curve (Greenwood, log-log).",
        shown.first()?.loops.share.of,
        focus(analysis),
        window.map_or(String::new(), |window| format!(
            ", {}",
            window_name(Some(window))
        )),
    );
    Drawing::new(
        "survival",
        "Tokens until a loop begins",
        caption,
        (760, 380),
        |panel| curves(panel, &shown, longest as f64),
    )
}

fn curves(panel: &Panel<'_>, shown: &[&TreatmentOutcome], longest: f64) -> Drawn {
    let lowest = shown.iter().flat_map(|outcome| &outcome.survival);
    let lowest = lowest.fold(1.0, |low: f64, step| low.min(step.interval.low));
    let bottom = ((lowest * 10.0).floor() / 10.0).max(0.0);
    let mut chart = chart(
        panel,
        Scale {
            name: "tokens of the answer",
            range: 0.0..longest,
            labels: 8,
            label: &|tokens| format!("{tokens:.0}"),
            lines: false,
        },
        Scale {
            name: "without a loop",
            range: bottom..1.005,
            labels: 6,
            label: &|share| percent(*share),
            lines: true,
        },
    )?;
    if let Some(first) = shown.first() {
        let upper = stairs(first, longest, |step| step.interval.high);
        let lower = stairs(first, longest, |step| step.interval.low);
        let band = upper
            .into_iter()
            .chain(lower.into_iter().rev())
            .collect::<Vec<_>>();
        chart
            .draw_series([Polygon::new(band, series(0).mix(0.13).filled())])
            .ok()?;
    }
    let mut ends = Vec::new();
    for (index, outcome) in shown.iter().enumerate() {
        let curve = stairs(outcome, longest, |step| step.share);
        let end = chart.backend_coord(curve.last()?);
        ends.push((index, outcome.label.clone(), end));
        let style = series(index).stroke_width(SCALE * 2);
        chart.draw_series(LineSeries::new(curve, style)).ok()?;
    }
    names(panel, ends, 8)
}

/// A curve that stays level until the next event.
fn stairs(
    outcome: &TreatmentOutcome,
    longest: f64,
    height: impl Fn(&crate::statistics::Survival) -> f64,
) -> Vec<(f64, f64)> {
    let mut points = vec![(0.0, 1.0)];
    let mut level = 1.0;
    for step in &outcome.survival {
        points.push((step.time as f64, level));
        level = height(step);
        points.push((step.time as f64, level));
    }
    points.push((longest, level));
    points
}
