//! The token timeline of a case: how long each token took, and where the loop is.
//!
//! It knows how to draw, small and with few points. The drawing names classes instead of colours,
//! so that the page's style sheet decides them for light, dark and paper.

use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::numbers::{copies, count, things};
use crate::metrics::Timings;
use crate::record::RunRecord;

/// Plotters has whole pixels only, so everything is drawn larger and scaled down by the page.
const SCALE: u32 = 4;
const WIDTH: u32 = 760;
const LANE_HEIGHT: u32 = 118;
/// Room for the words below the last lane.
const FOOT: u32 = 16;
/// Points per line; more would be closer together than a pixel.
const MOST_POINTS: usize = 360;
const FONT: u32 = 12;

/// Colours that stand for classes of the style sheet; see [`classes`].
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const LINE: RGBColor = RGBColor(3, 3, 3);
const FIRST: RGBColor = RGBColor(4, 4, 4);
const REPEAT: RGBColor = RGBColor(5, 5, 5);
const NOTICE: RGBColor = RGBColor(6, 6, 6);

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Option<()>;

/// One execution of a conversation, its generations behind each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lane {
    name: &'static str,
    /// All tokens.
    tokens: usize,
    /// For each generation, token index and milliseconds since the token before.
    gaps: Vec<Vec<(f64, f64)>>,
    loops: Vec<LoopSpan>,
}

#[derive(Debug, Clone, PartialEq)]
struct LoopSpan {
    first: Range<usize>,
    repeats: Range<usize>,
    detected_at: usize,
    label: String,
}

impl Lane {
    pub(super) fn of(name: &'static str, run: &RunRecord) -> Self {
        let mut lane = Self {
            name,
            tokens: 0,
            gaps: Vec::new(),
            loops: Vec::new(),
        };
        for (index, exchange) in run.conversation.exchanges.iter().enumerate() {
            let offset = lane.tokens;
            let gaps = Timings::of(&exchange.transcript).gaps_us;
            // The first token has no token before it.
            let indices = (offset + 1)..;
            let points = indices
                .zip(gaps)
                .map(|(index, us)| (index as f64, us as f64 / 1e3));
            lane.gaps.push(points.collect());
            let loops = run.judgement.loops.iter();
            for evidence in loops.filter(|evidence| evidence.exchange == index) {
                let verdict = &evidence.verdict;
                let onset = offset.saturating_add(verdict.onset);
                let second = onset.saturating_add(verdict.period);
                lane.loops.push(LoopSpan {
                    first: onset..second,
                    repeats: second..onset.saturating_add(verdict.span),
                    detected_at: offset.saturating_add(verdict.detected_at),
                    label: format!(
                        "loop, {} × {}",
                        things(verdict.period, "token"),
                        copies(verdict.copies())
                    ),
                });
            }
            lane.tokens += exchange.transcript.tokens.len();
        }
        lane
    }

    fn gap_count(&self) -> usize {
        self.gaps.iter().map(Vec::len).sum()
    }
}

/// The lanes below each other on common axes, as an SVG element; `None` if nothing was timed.
pub(super) fn timeline(lanes: &[Lane]) -> Option<String> {
    let timed: Vec<&Lane> = lanes.iter().filter(|lane| lane.gap_count() > 0).collect();
    let slowest = timed
        .iter()
        .flat_map(|lane| lane.gaps.iter().flatten())
        .fold(0.0_f64, |slowest, (_, ms)| slowest.max(*ms));
    let tokens = timed.iter().map(|lane| lane.tokens).max()?;
    // Room above the line for the words.
    let top = if slowest > 0.0 { slowest * 1.3 } else { 1.0 };
    let height = timed.len() as u32 * LANE_HEIGHT + FOOT;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH * SCALE, height * SCALE));
        let root = root.into_drawing_area();
        for (index, lane) in timed.iter().enumerate() {
            let is_last = index + 1 == timed.len();
            let upper = index as u32 * LANE_HEIGHT * SCALE;
            let foot = if is_last { FOOT } else { 0 };
            let lower = upper + (LANE_HEIGHT + foot) * SCALE;
            let panel = root
                .clone()
                .shrink((0, upper), (WIDTH * SCALE, lower - upper));
            draw(&panel, lane, tokens as f64, top, is_last)?;
        }
        root.present().ok()?;
    }
    Some(classes(&svg, &summary(&timed), height))
}

/// What the picture shows, for those who do not see it.
fn summary(lanes: &[&Lane]) -> String {
    let lanes: Vec<String> = lanes
        .iter()
        .map(|lane| {
            let loops = lane.loops.iter().map(|span| {
                let (from, to) = (span.first.start, span.repeats.end.saturating_sub(1));
                format!(
                    ", {} from token {} to {}",
                    span.label,
                    count(from),
                    count(to)
                )
            });
            format!(
                "{}: {}{}",
                lane.name,
                things(lane.tokens, "token"),
                loops.collect::<String>()
            )
        })
        .collect();
    format!(
        "Milliseconds between tokens by token index. {}.",
        lanes.join("; ")
    )
}

fn draw(panel: &Panel<'_>, lane: &Lane, tokens: f64, top: f64, is_last: bool) -> Drawn {
    let scale = SCALE as i32;
    let mut chart = ChartBuilder::on(panel)
        .margin_top(20 * scale)
        .margin_right(8 * scale)
        .x_label_area_size((if is_last { 34 } else { 18 }) * scale)
        .y_label_area_size(46 * scale)
        .build_cartesian_2d(0.0..tokens, 0.0..top)
        .ok()?;
    draw_loops(&mut chart, lane, top)?;
    let words = text(INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(SCALE / 2))
        .axis_style(GRID.stroke_width(SCALE))
        .set_all_tick_mark_size(3 * scale)
        .x_labels(9)
        .y_labels(3)
        .x_label_formatter(&|x| count(*x as usize))
        .y_label_formatter(&|y| format!("{}", (y * 100.0).round() / 100.0))
        .label_style(words.clone())
        .axis_desc_style(words.clone())
        .x_desc(match (is_last, lane.gaps.len()) {
            (false, _) => "",
            (true, 1) => "token index",
            (true, _) => "token index over all generations",
        })
        .y_desc("ms")
        .draw()
        .ok()?;
    let style = LINE.stroke_width(SCALE * 5 / 4);
    for gaps in &lane.gaps {
        chart
            .draw_series(LineSeries::new(thinned(gaps), style))
            .ok()?;
    }
    let title = format!("{}, n = {} gaps", lane.name, count(lane.gap_count()));
    let corner = (46 * scale, 4 * scale);
    panel.draw(&Text::new(title, corner, words)).ok()
}

/// Shades the loops, and says where each was detected.
fn draw_loops(chart: &mut Chart<'_, '_>, lane: &Lane, top: f64) -> Drawn {
    for span in &lane.loops {
        for (range, color) in [(&span.first, FIRST), (&span.repeats, REPEAT)] {
            let corners = [(range.start as f64, 0.0), (range.end as f64, top)];
            let shade = Rectangle::new(corners, color.filled());
            chart.draw_series([shade]).ok()?;
        }
        let at = span.detected_at as f64;
        let line = PathElement::new([(at, 0.0), (at, top)], NOTICE.stroke_width(SCALE));
        chart.draw_series([line]).ok()?;
        // The words stand on the side of the line that has more room.
        let right = at < lane.tokens as f64 * 0.6;
        let (side, shift) = if right {
            (HPos::Left, 4)
        } else {
            (HPos::Right, -4)
        };
        let style = text(NOTICE).pos(Pos::new(side, VPos::Top));
        let words = EmptyElement::at((at, top))
            + Text::new(
                format!("detected ({})", span.label),
                (shift * SCALE as i32, 3 * SCALE as i32),
                style,
            );
        chart.draw_series([words]).ok()?;
    }
    Some(())
}

fn text(color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", FONT * SCALE).into_font().color(&color)
}

/// At most [`MOST_POINTS`] points that keep every peak and valley.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let size = points.len().div_ceil(MOST_POINTS / 2);
    let mut kept = Vec::new();
    for bucket in points.chunks(size) {
        let by_time = |left: &&(f64, f64), right: &&(f64, f64)| left.1.total_cmp(&right.1);
        let mut ends = [bucket.iter().min_by(by_time), bucket.iter().max_by(by_time)];
        ends.sort_by(|left, right| {
            let index = |end: &Option<&(f64, f64)>| end.map_or(0.0, |point| point.0);
            index(left).total_cmp(&index(right))
        });
        kept.extend(ends.into_iter().flatten());
    }
    kept
}

/// Makes the drawing part of a page: its colours become classes, and it says what it shows.
fn classes(svg: &str, summary: &str, height: u32) -> String {
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let mut body = body
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "");
    for (number, class) in (1..).zip(["ink", "grid", "line", "first", "repeat", "notice"]) {
        for attribute in ["fill", "stroke"] {
            let color = format!("{attribute}=\"#{0:02X}{0:02X}{0:02X}\"", number);
            body = body.replace(&color, &format!("class=\"{attribute}-{class}\""));
        }
    }
    format!(
        "<svg class=\"plot\" role=\"img\" aria-label=\"{summary}\" viewBox=\"0 0 {} {}\">{body}",
        WIDTH * SCALE,
        height * SCALE
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn lanes() -> Vec<Lane> {
        let record = fixture::record();
        let case = &record.cases[0];
        let control = &case.control.as_ref().expect("has a control").run;
        vec![Lane::of("run", &case.run), Lane::of("control", control)]
    }

    #[test]
    fn loops_and_gaps_are_counted_over_all_generations() {
        let lanes = lanes();
        let first = lanes[1].gaps[0].len() + 1;
        let evidence = &fixture::record().cases[0]
            .control
            .clone()
            .expect("control")
            .run
            .judgement
            .loops[0];
        assert_eq!(evidence.exchange, 1);
        let span = &lanes[1].loops[0];
        assert_eq!(span.first.start, first + evidence.verdict.onset);
        assert_eq!(
            span.repeats.end,
            first + evidence.verdict.onset + evidence.verdict.span
        );
        assert_eq!(lanes[1].gaps[1][0].0, (first + 1) as f64);
        assert_eq!(lanes[1].gap_count(), lanes[1].tokens - 2);
    }

    #[test]
    fn the_drawing_has_axes_units_and_n_and_no_colours_of_its_own() {
        let svg = timeline(&lanes()).expect("drawn");
        for word in [
            "token index",
            "ms",
            "run, n = ",
            "control, n = ",
            "detected (loop, ",
        ] {
            assert!(svg.contains(word), "no {word:?}");
        }
        assert!(!svg.contains('#'), "a colour stayed");
        assert!(!svg.contains("xmlns"), "the name space is for files");
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_timed_is_no_drawing() {
        let silent = RunRecord {
            conversation: fixture::timed(&[&[5_000]]),
            ..fixture::record().cases[0].run.clone()
        };
        assert_eq!(timeline(&[Lane::of("run", &silent)]), None);
        assert_eq!(timeline(&[]), None);
    }

    #[test]
    fn thinning_keeps_the_peaks() {
        let mut points: Vec<(f64, f64)> = (0..5_000).map(|at| (f64::from(at), 1.0)).collect();
        points[3_333].1 = 90.0;
        points[4_444].1 = 0.1;
        let kept = thinned(&points);
        assert!(kept.len() <= MOST_POINTS);
        assert!(kept.contains(&(3_333.0, 90.0)) && kept.contains(&(4_444.0, 0.1)));
        assert!(kept.is_sorted_by(|left, right| left.0 <= right.0));
    }
}
