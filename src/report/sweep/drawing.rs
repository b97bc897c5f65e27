//! A drawing as SVG, alone in a file or part of a page.
//!
//! It knows colours and how to hand a canvas to plotters. What is drawn is not its business.
//! Plotters writes colours that stand for classes; style rules decide them for light and dark.
//! Series have the colours of Okabe and Ito ("Color Universal Design", 2008), which people with
//! any colour vision tell apart, and a shape each besides.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::words::percent;

/// Plotters has whole pixels only, so everything is drawn larger and scaled down.
pub(super) const SCALE: u32 = 4;
const FONT: u32 = 13;

/// Colours that stand for classes.
pub(super) const INK: RGBColor = RGBColor(1, 1, 1);
pub(super) const DIM: RGBColor = RGBColor(2, 2, 2);
pub(super) const GRID: RGBColor = RGBColor(3, 3, 3);
pub(super) const HEAT: RGBColor = RGBColor(4, 4, 4);
const SERIES: [RGBColor; 6] = [
    RGBColor(10, 10, 10),
    RGBColor(11, 11, 11),
    RGBColor(12, 12, 12),
    RGBColor(13, 13, 13),
    RGBColor(14, 14, 14),
    RGBColor(15, 15, 15),
];

/// The classes, what stands for each, and its colours on light and on dark ground.
const CLASSES: [(RGBColor, &str, &str, &str); 10] = [
    (INK, "ink", "#1d2125", "#e5e8eb"),
    (DIM, "dim", "#5b646d", "#9ba5ae"),
    (GRID, "grid", "#dde1e6", "#343b42"),
    (HEAT, "heat", "#D55E00", "#D55E00"),
    (SERIES[0], "a", "#0072B2", "#56B4E9"),
    (SERIES[1], "b", "#D55E00", "#E69F00"),
    (SERIES[2], "c", "#009E73", "#009E73"),
    (SERIES[3], "d", "#CC79A7", "#CC79A7"),
    (SERIES[4], "e", "#56B4E9", "#0072B2"),
    (SERIES[5], "f", "#E69F00", "#F0E442"),
];

pub(super) type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// `None` if plotters cannot draw, which a text cannot cause.
pub(super) type Drawn = Option<()>;

/// The colour of a series.
pub(super) fn series(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()]
}

/// Text of the usual size.
pub(super) fn text(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", FONT * SCALE).into_font().color(&colour)
}

/// A chart of two numbers.
pub(super) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// One axis of a chart.
pub(super) struct Scale<'a> {
    pub(super) name: &'a str,
    pub(super) range: Range<f64>,
    /// Labels, at most.
    pub(super) labels: usize,
    pub(super) label: &'a dyn Fn(&f64) -> String,
    /// Whether each label has a line across.
    pub(super) lines: bool,
}

impl Scale<'static> {
    /// The share of runs that loop, up to `top`.
    pub(super) fn loops(top: f64) -> Self {
        Self {
            name: "runs that loop",
            range: 0.0..top,
            labels: 6,
            label: &|rate| percent(*rate),
            lines: true,
        }
    }
}

/// An empty chart, with room for names on its right.
pub(super) fn chart<'a, 'b>(
    panel: &'a Panel<'b>,
    across: Scale<'_>,
    up: Scale<'_>,
) -> Option<Chart<'a, 'b>> {
    let scale = SCALE as i32;
    let mut chart = ChartBuilder::on(panel)
        .margin_top(16 * scale)
        .margin_right(118 * scale)
        .x_label_area_size(44 * scale)
        .y_label_area_size(62 * scale)
        .build_cartesian_2d(across.range, up.range)
        .ok()?;
    let mut mesh = chart.configure_mesh();
    if !across.lines {
        mesh.disable_x_mesh();
    }
    if !up.lines {
        mesh.disable_y_mesh();
    }
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(SCALE / 2))
        .axis_style(DIM.stroke_width(SCALE))
        .x_labels(across.labels)
        .y_labels(up.labels)
        .x_label_formatter(&across.label)
        .y_label_formatter(&up.label)
        .x_desc(across.name)
        .y_desc(up.name)
        .label_style(text(DIM))
        .axis_desc_style(text(INK))
        .draw()
        .ok()?;
    Some(chart)
}

/// Names of series, so far behind the ends of their lines that they do not cover them.
pub(super) fn names(
    panel: &Panel<'_>,
    ends: Vec<(usize, String, (i32, i32))>,
    behind: i32,
) -> Drawn {
    let scale = SCALE as i32;
    let heights: Vec<i32> = ends.iter().map(|(.., (_, y))| *y).collect();
    let heights = spread(&heights, 10 * scale);
    for ((index, name, (x, _)), y) in ends.into_iter().zip(heights) {
        let style = text(series(index)).pos(Pos::new(HPos::Left, VPos::Center));
        let place = (x + behind * scale, y);
        panel.draw(&Text::new(name, place, style)).ok()?;
    }
    Some(())
}

/// Moves heights apart, so that names at them do not cover each other: up where there is room
/// above `top`, else down. In the order of the heights given.
fn spread(heights: &[i32], top: i32) -> Vec<i32> {
    let room = (FONT + 4) as i32 * SCALE as i32;
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|index| heights[*index]);
    let mut moved = heights.to_vec();
    let mut free = i32::MAX;
    for index in order.iter().rev() {
        moved[*index] = moved[*index].min(free);
        free = moved[*index] - room;
    }
    let mut taken = top;
    for index in order {
        moved[index] = moved[index].max(taken);
        taken = moved[index] + room;
    }
    moved
}

/// One drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// The name of its file, without the ending.
    pub name: &'static str,
    /// What it shows, one line.
    pub title: String,
    /// How to read it, and for those who do not see it, what is to be seen.
    pub caption: String,
    size: (u32, u32),
    body: String,
}

impl Drawing {
    /// Draws on an empty canvas of this size in pixels.
    pub(super) fn new(
        name: &'static str,
        title: impl Into<String>,
        caption: impl Into<String>,
        size: (u32, u32),
        draw: impl FnOnce(&Panel<'_>) -> Drawn,
    ) -> Option<Self> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (size.0 * SCALE, size.1 * SCALE));
            let root = root.into_drawing_area();
            draw(&root)?;
            root.present().ok()?;
        }
        let (_, body) = svg.split_once('>')?;
        Some(Self {
            name,
            title: title.into(),
            caption: caption.into(),
            size,
            body: classes(body),
        })
    }

    /// As part of a page, whose style rules colour it.
    #[must_use]
    pub fn inline(&self) -> String {
        self.element("class=\"plot\" ", "")
    }

    /// As a file of its own.
    #[must_use]
    pub fn file(&self) -> String {
        let (width, height) = self.size;
        let attributes =
            format!("xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" ");
        let ground = "svg { background: #ffffff; } @media (prefers-color-scheme: dark) { svg { background: #14171a; } }";
        self.element(&attributes, &format!("<style>{}{ground}</style>", rules()))
    }

    fn element(&self, attributes: &str, style: &str) -> String {
        let (width, height) = self.size;
        format!(
            "<svg {attributes}role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {} {}\">{style}{}",
            escaped(&self.title),
            width * SCALE,
            height * SCALE,
            self.body
        )
    }
}

/// The style rules that colour drawings.
pub(super) fn rules() -> String {
    let set = |pick: fn(&(RGBColor, &'static str, &'static str, &'static str)) -> &'static str| {
        let each = CLASSES.iter().map(|class| {
            let (name, colour) = (class.1, pick(class));
            format!(".fill-{name}{{fill:{colour}}}.stroke-{name}{{stroke:{colour}}}")
        });
        each.collect::<String>()
    };
    format!(
        "text{{font-family:system-ui,sans-serif}}{}@media screen and (prefers-color-scheme: dark){{{}}}",
        set(|class| class.2),
        set(|class| class.3)
    )
}

fn classes(svg: &str) -> String {
    let mut body = svg
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "");
    for (RGBColor(level, ..), name, ..) in CLASSES {
        for attribute in ["fill", "stroke"] {
            let colour = format!("{attribute}=\"#{level:02X}{level:02X}{level:02X}\"");
            body = body.replace(&colour, &format!("class=\"{attribute}-{name}\""));
        }
    }
    body
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
