//! What a person asks for: which scenarios, over which axes, how often, and what counts as cured.
//!
//! It reads the sweep file. It does not read scenarios, and does not combine the axes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_saphyr::Location;
use thiserror::Error;

use super::axis::{Axis, AxisError};
use super::wire::SweepWire;
use crate::generation::SamplingSettings;
use crate::yaml::{self, Source, YamlError};

/// The version of sweep files that this program reads.
const VERSION: u32 = 1;
/// Most bytes of a sweep file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// More seeds than this are a mistake.
const MOST_SEEDS: usize = 1000;

/// The loop rate that a setting has to stay below if nobody asks for another one.
pub const TARGET_RATE: f64 = 0.05;
/// By how much the share of good answers may fall if nobody says.
pub const MARGIN: f64 = 0.1;

/// How the values of several axes are combined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrangement {
    /// Every value of each axis with every value of the others.
    #[default]
    Grid,
    /// The first values together, then the second ones, and so on.
    Zip,
}

/// A sweep that cannot be read or made.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// The file.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// An axis of the command line.
    #[error("--axis: {0}")]
    Axis(#[from] AxisError),
    /// Anything else that was asked for.
    #[error("{0}")]
    Asked(String),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// One line.
    pub description: String,
    /// Scenario files and folders.
    pub scenarios: Vec<PathBuf>,
    /// The model instead of the scenarios'.
    pub model: Option<String>,
    /// At least one after [`check`](Self::check).
    pub axes: Vec<Axis>,
    /// How the axes are combined.
    pub arrangement: Arrangement,
    /// Laid over the settings of every test, below the axes.
    pub sampling: SamplingSettings,
    /// Seeds of sampled answers, at least one.
    pub seeds: Vec<u64>,
    /// The loop rate that the upper bound must stay below.
    pub target_rate: f64,
    /// How much lower the share of good answers may be.
    pub margin: f64,
}

impl Definition {
    /// A sweep over scenarios, without axes yet.
    #[must_use]
    pub fn over(scenarios: Vec<PathBuf>) -> Self {
        Self {
            description: String::new(),
            scenarios,
            model: None,
            axes: Vec::new(),
            arrangement: Arrangement::default(),
            sampling: SamplingSettings::default(),
            seeds: vec![1],
            target_rate: TARGET_RATE,
            margin: MARGIN,
        }
    }

    /// Whether a text is a sweep, and not a scenario: it has axes.
    fn is_sweep(text: &str) -> bool {
        text.lines().any(|line| line.starts_with("axes:"))
    }

    /// Whether there is a sweep at a path. What cannot be read is none, and whoever reads it next
    /// says why.
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        yaml::read_text(path, MAX_FILE_BYTES, "").is_ok_and(|text| Self::is_sweep(&text))
    }

    /// Reads a sweep file.
    ///
    /// # Errors
    /// If it cannot be read, or anything in it is not understood; with its place.
    pub fn load(path: &Path) -> Result<Self, DefinitionError> {
        let help = "give a sweep file; scenarios/sweeps/README.md has the format";
        let text = yaml::read_text(path, MAX_FILE_BYTES, help)?;
        Self::parse(path, &text)
    }

    /// Reads a sweep file from its text. Its paths are relative to the folder of `path`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str) -> Result<Self, DefinitionError> {
        let source = Source { path, text };
        let wire: SweepWire = yaml::read(source)?;
        let at = |place: &Location, message: String| source.error(place, message);
        if wire.version.value != VERSION {
            let message = format!("version {} is not known", wire.version.value);
            let error = at(&wire.version.referenced, message);
            return Err(error
                .with_help(format!("this program reads version {VERSION}"))
                .into());
        }
        if wire.scenarios.value.is_empty() {
            return Err(at(
                &wire.scenarios.referenced,
                "there is no scenario".to_owned(),
            )
            .into());
        }
        let mut axes = Vec::new();
        for (name, values) in &wire.axes.value {
            let axis = Axis::new(name, values.value.clone());
            axes.push(axis.map_err(|error| at(&values.referenced, error.0))?);
        }
        if axes.is_empty() {
            return Err(at(&wire.axes.referenced, "there is no axis".to_owned()).into());
        }
        let base = path.parent().unwrap_or(Path::new(""));
        let mut sweep = Self::over(wire.scenarios.value.iter().map(|s| base.join(s)).collect());
        sweep.description = wire.description.trim().to_owned();
        sweep.model = wire.model;
        sweep.axes = axes;
        sweep.arrangement = wire.arrangement;
        sweep.sampling = wire.sampling;
        if let Some(seeds) = wire.seeds {
            check_seeds(&seeds.value).map_err(|problem| at(&seeds.referenced, problem))?;
            sweep.seeds = seeds.value;
        }
        if let Some(rate) = wire.target_rate {
            check_share("target_rate", rate.value)
                .map_err(|problem| at(&rate.referenced, problem))?;
            sweep.target_rate = rate.value;
        }
        if let Some(margin) = wire.margin {
            check_share("margin", margin.value)
                .map_err(|problem| at(&margin.referenced, problem))?;
            sweep.margin = margin.value;
        }
        Ok(sweep)
    }

    /// Lays an axis of the command line over the file's: it replaces one of the same field.
    pub fn set_axis(&mut self, axis: Axis) {
        match self.axes.iter_mut().find(|other| other.field == axis.field) {
            Some(other) => *other = axis,
            None => self.axes.push(axis),
        }
    }

    /// Whether everything that a sweep needs is there.
    ///
    /// # Errors
    /// What is missing or out of range.
    pub fn check(&self) -> Result<(), DefinitionError> {
        if self.axes.is_empty() {
            return Err(DefinitionError::Asked(
                "there is nothing to sweep; give --axis penalty=1.0,1.05,1.1 or a sweep file"
                    .to_owned(),
            ));
        }
        check_seeds(&self.seeds).map_err(DefinitionError::Asked)?;
        check_share("target_rate", self.target_rate).map_err(DefinitionError::Asked)?;
        check_share("margin", self.margin).map_err(DefinitionError::Asked)
    }
}

fn check_seeds(seeds: &[u64]) -> Result<(), String> {
    if seeds.is_empty() || seeds.len() > MOST_SEEDS {
        return Err(format!(
            "there must be 1 to {MOST_SEEDS} seeds, not {}",
            seeds.len()
        ));
    }
    match (1..seeds.len()).find(|at| seeds[..*at].contains(&seeds[*at])) {
        Some(at) => Err(format!("the seed {} stands there twice", seeds[at])),
        None => Ok(()),
    }
}

fn check_share(name: &str, share: f64) -> Result<(), String> {
    if share > 0.0 && share < 1.0 {
        return Ok(());
    }
    Err(format!(
        "{name} is {share}, but must be above 0 and below 1"
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const FILE: &str = "\
version: 1
description: Which penalty?
scenarios: [prompts.yaml]
axes:
  penalty: [1.0, 1.1]
  window: [20]
seeds: [1, 2]
target_rate: 0.1
";

    fn parse(text: &str) -> Result<Definition, String> {
        Definition::parse(Path::new("sweeps/a.yaml"), text).map_err(|error| match error {
            DefinitionError::Yaml(error) => error.in_one_line(),
            other => other.to_string(),
        })
    }

    #[test]
    fn a_file_becomes_a_definition() {
        assert!(Definition::is_sweep(FILE) && !Definition::is_sweep("tests: []\n"));
        let mut sweep = parse(FILE).expect("a sweep");
        assert_eq!(sweep.scenarios, [PathBuf::from("sweeps/prompts.yaml")]);
        assert_eq!(
            (sweep.seeds.as_slice(), sweep.target_rate),
            ([1, 2].as_slice(), 0.1)
        );
        sweep.set_axis(Axis::parse("window=10,64").expect("an axis"));
        sweep.set_axis(Axis::parse("temperature=0,0.7").expect("an axis"));
        let sizes: Vec<usize> = sweep.axes.iter().map(|axis| axis.values.len()).collect();
        assert_eq!(sizes, [2, 2, 2]);
    }

    #[rstest]
    #[case(
        "penalty:",
        "penality:",
        "a.yaml:5:13: there is no axis 'penality'; did you mean 'penalty'?"
    )]
    #[case("[1.0, 1.1]", "[]", "the axis penalty has no values")]
    #[case("seeds: [1, 2]", "seeds: [1, 1]", "the seed 1 stands there twice")]
    #[case(
        "target_rate: 0.1",
        "target_rate: 5",
        "target_rate is 5, but must be above 0 and below 1"
    )]
    #[case(
        "version: 1",
        "version: 2",
        "version 2 is not known; this program reads version 1"
    )]
    #[case("seeds:", "sedes:", "unknown key 'sedes'; did you mean 'seeds'?")]
    fn mistakes_have_a_place_and_a_remedy(
        #[case] from: &str,
        #[case] to: &str,
        #[case] message: &str,
    ) {
        let error = parse(&FILE.replacen(from, to, 1)).expect_err("refused");
        assert!(error.contains(message), "{error}");
    }
}
