//! The sweep file as written. Every unknown key is an error.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::definition::Arrangement;
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
    /// The axes by name, with their values.
    pub(super) axes: Spanned<IndexMap<String, Spanned<Vec<Value>>>>,
    /// How the values are combined; default: `grid`.
    #[serde(default)]
    pub(super) arrangement: Arrangement,
    /// Laid over the sampling settings of every test, below the axes.
    #[serde(default)]
    pub(super) sampling: SamplingSettings,
    /// Seeds of sampled answers; default: 1.
    pub(super) seeds: Option<Spanned<Vec<u64>>>,
    /// The loop rate that the upper bound must stay below; default 0.05.
    pub(super) target_rate: Option<Spanned<f64>>,
    /// How much lower the share of answers with all assertions passed may be; default 0.1.
    pub(super) margin: Option<Spanned<f64>>,
}
