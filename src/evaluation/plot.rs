//! The comparison as drawings: recall against false alarms, and delays.

use plotters::prelude::*;

use super::document::Planted;
use super::score::{Tally, prose_and_code};

const SIZE: (u32, u32) = (900, 560);
/// Where no false alarm was seen the logarithm has no place, so this is drawn instead.
const NONE_SEEN: f64 = 1e-4;

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Colours that are told apart, for as many contenders as there are.
fn colour(index: usize) -> HSLColor {
    HSLColor(
        (index as f64 * 0.381_966) % 1.0,
        0.75,
        if index.is_multiple_of(2) { 0.38 } else { 0.55 },
    )
}

/// Recall of exact loops against the share of prose and code with a false alarm, one line per
/// contender and one point per setting, as SVG.
///
/// # Errors
/// If the drawing cannot be made.
pub fn curves(tallies: &[Tally]) -> Drawn<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                "Exact loops found against false alarms on prose and code",
                ("sans-serif", 18),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d((NONE_SEEN..1.0).log_scale(), 0.0..1.02)?;
        chart
            .configure_mesh()
            .x_desc("share of documents with a false alarm (none seen: left edge)")
            .y_desc("share of exact loops found")
            .x_label_formatter(&|share| format!("{} %", share * 100.0))
            .draw()?;
        for (index, (name, points)) in by_name(tallies).into_iter().enumerate() {
            let style = colour(index);
            let width = if name.starts_with("loopwatch") { 3 } else { 1 };
            let line = LineSeries::new(points.clone(), style.stroke_width(width));
            chart.draw_series(line)?.label(name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 14, y)], style.stroke_width(3))
            });
            let dots = points
                .into_iter()
                .map(|point| Circle::new(point, 2 + width, style.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 10))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

fn by_name(tallies: &[Tally]) -> Vec<(&'static str, Vec<(f64, f64)>)> {
    let mut lines: Vec<(&'static str, Vec<(f64, f64)>)> = Vec::new();
    for tally in tallies {
        let wrong = tally.false_alarms_of(prose_and_code).value().max(NONE_SEEN);
        let point = (wrong, tally.recall_of(Planted::is_exact).value());
        match lines.iter_mut().find(|(name, _)| *name == tally.name) {
            Some((_, points)) => points.push(point),
            None => lines.push((tally.name, vec![point])),
        }
    }
    for (_, points) in &mut lines {
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    lines
}

/// How many of the exact loops each contender had found, by the pieces after the second copy.
///
/// # Errors
/// If the drawing cannot be made.
pub fn delays(tallies: &[Tally]) -> Drawn<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                "Exact loops found by the time after their second copy",
                ("sans-serif", 18),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d((1.0..20_000.0).log_scale(), 0.0..1.02)?;
        chart
            .configure_mesh()
            .x_desc("pieces since the second copy ended")
            .y_desc("share of exact loops found")
            .draw()?;
        for (index, tally) in tallies.iter().enumerate() {
            let all = tally.recall_of(Planted::is_exact).of.max(1) as f64;
            let exact = tally.delays.iter().filter(|(kind, _)| kind.is_exact());
            let mut times: Vec<usize> = exact.flat_map(|(_, times)| times).copied().collect();
            times.sort_unstable();
            let points = times
                .iter()
                .enumerate()
                .map(|(found, time)| ((*time as f64).max(1.0), (found + 1) as f64 / all));
            let style = colour(index);
            let width = if tally.name.starts_with("loopwatch") {
                3
            } else {
                1
            };
            // Every fourth point: the eye sees no more.
            chart
                .draw_series(LineSeries::new(
                    points.step_by(4),
                    style.stroke_width(width),
                ))?
                .label(tally.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 14, y)], style.stroke_width(3))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 10))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}
