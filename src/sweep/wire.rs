//! The sweep file as written. Every unknown key is an error.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::generation::SamplingSettings;

/// A sweep file, version 1.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepWire {
    /// Version of this format: 1.
    pub(super) version: Spanned<u32>,
    /// What is asked, one line.
    pub(super) description: String,
    /// The scenarios whose tests are the prompts; files or folders, relative to this file.
    pub(super) scenarios: Spanned<Vec<String>>,
    /// The model instead of the scenarios', as a scenario names it.
    pub(super) model: Option<String>,
    /// The axes by name, with their values: a list, or a range.
    pub(super) axes: Option<Spanned<IndexMap<String, Spanned<Value>>>>,
    /// Settings one by one, instead of axes.
    pub(super) points: Option<PointsWire>,
    /// How the values are combined; default: `grid`.
    pub(super) arrangement: Option<Spanned<ArrangementWire>>,
    /// How many points are drawn at random.
    pub(super) draws: Option<Spanned<usize>>,
    /// What decides which; default: 1.
    pub(super) draw_seed: Option<Spanned<u64>>,
    /// Laid over the sampling settings of every test, below the axes.
    #[serde(default)]
    pub(super) sampling: SamplingSettings,
    /// Whether answers end once their loop is confirmed; default: no.
    #[serde(default)]
    pub(super) stop_loops: bool,
    /// Whether a setting gets no more runs once it is decided; default: no.
    #[serde(default)]
    pub(super) adaptive: bool,
    /// Seeds of sampled answers; default: 1.
    pub(super) seeds: Option<Spanned<Vec<u64>>>,
    /// The loop rate that the upper bound must stay below; default 0.05.
    pub(super) target_rate: Option<Spanned<f64>>,
    /// How much lower the share of answers with all assertions passed may be; default 0.1.
    pub(super) margin: Option<Spanned<f64>>,
}

/// Each point's fields by name, with their values.
pub(super) type PointsWire = Spanned<Vec<Spanned<IndexMap<String, Value>>>>;

/// How settings are put together, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ArrangementWire {
    /// Each value of an axis with each of the others.
    Grid,
    /// The first values together, then the second ones.
    Zip,
    /// Some points of the grid.
    Random,
    /// Those under `points`.
    List,
}
