//! What a setting costs against what it brings: loop rate over distortion of healthy text.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::drawing::{Drawing, Drawn, INK, Panel, SCALE, Scale, chart, series, text};
use super::loop_rate::marker;
use super::words::{focus, percent, window_name};
use crate::statistics::Interval;
use crate::sweep::Analysis;

struct Dot {
    series: usize,
    /// Only for those that no other one beats.
    label: Option<String>,
    flips: (f64, Interval),
    loops: (f64, Interval),
}

pub(super) fn draw(analysis: &Analysis) -> Option<Drawing> {
    let mut windows: Vec<usize> = analysis
        .settings
        .iter()
        .filter_map(|outcome| outcome.treatment?.window)
        .collect();
    windows.sort_unstable();
    windows.dedup();
    let mut dots: Vec<Dot> = Vec::new();
    let mut steps = 0;
    for outcome in &analysis.settings {
        let (Some(treatment), Some(distortion)) = (outcome.treatment, outcome.distortion) else {
            continue;
        };
        steps = distortion.flips.of;
        let of_window = |window| windows.iter().position(|other| *other == window);
        dots.push(Dot {
            // No penalty is the start of every window.
            series: treatment
                .window
                .and_then(of_window)
                .unwrap_or(windows.len().max(1)),
            label: Some(outcome.label.clone()),
            flips: (distortion.flips.value(), distortion.flips_interval),
            loops: (outcome.loops.share.value(), outcome.loops.interval),
        });
    }
    if dots.len() < 2 {
        return None;
    }
    let beaten: Vec<bool> = dots
        .iter()
        .map(|dot| {
            dots.iter().any(|other| {
                (other.flips.0 < dot.flips.0 && other.loops.0 <= dot.loops.0)
                    || (other.flips.0 <= dot.flips.0 && other.loops.0 < dot.loops.0)
            })
        })
        .collect();
    for (dot, beaten) in dots.iter_mut().zip(beaten) {
        dot.label = dot.label.take().filter(|_| !beaten);
    }
    let caption = format!(
        "Lower and further left is better. Distortion is the share of steps of healthy text at \
         which the penalty makes another token the likeliest (n = {steps} steps); loops are those \
         of {} runs{}. Bars are 95 % intervals. Named are the settings that no other one beats in \
         both.",
        analysis.settings.first()?.loops.share.of,
        focus(analysis)
    );
    Drawing::new(
        "pareto",
        "Loop rate against distortion",
        caption,
        (760, 380),
        |panel| scatter(panel, &dots, &windows),
    )
}

fn scatter(panel: &Panel<'_>, dots: &[Dot], windows: &[usize]) -> Drawn {
    let scale = SCALE as i32;
    let top = dots
        .iter()
        .fold(0.05, |top: f64, dot| top.max(dot.loops.1.high))
        * 1.05;
    let right = dots
        .iter()
        .fold(0.01, |right: f64, dot| right.max(dot.flips.1.high))
        * 1.05;
    let mut chart = chart(
        panel,
        Scale {
            name: "steps of healthy text with another first choice",
            range: -right * 0.02..right,
            labels: 7,
            label: &|share| percent(share.max(0.0)),
            lines: true,
        },
        Scale::loops(top),
    )?;
    for dot in dots {
        let (x, y) = (dot.flips.0, dot.loops.0);
        let bars = [
            [(x, dot.loops.1.low), (x, dot.loops.1.high)],
            [(dot.flips.1.low, y), (dot.flips.1.high, y)],
        ];
        let style = series(dot.series).mix(0.35).stroke_width(SCALE);
        chart
            .draw_series(bars.map(|bar| PathElement::new(bar, style)))
            .ok()?;
    }
    for dot in dots {
        let at = (dot.flips.0, dot.loops.0);
        marker(&mut chart, dot.series, at)?;
        if let Some(label) = &dot.label {
            let style = text(INK).pos(Pos::new(HPos::Left, VPos::Bottom));
            let words =
                EmptyElement::at(at) + Text::new(label.clone(), (7 * scale, -5 * scale), style);
            chart.draw_series([words]).ok()?;
        }
    }
    legend(panel, windows)
}

fn legend(panel: &Panel<'_>, windows: &[usize]) -> Drawn {
    let scale = SCALE as i32;
    for (index, window) in windows.iter().enumerate() {
        let style = text(series(index)).pos(Pos::new(HPos::Left, VPos::Center));
        let place = (656 * scale, (30 + 18 * index as i32) * scale);
        panel
            .draw(&Text::new(window_name(Some(*window)), place, style))
            .ok()?;
    }
    Some(())
}
