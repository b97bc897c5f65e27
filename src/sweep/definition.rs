//! What a person asks for: which scenarios, over which axes, how often, and what counts as cured.
//!
//! It reads the sweep file. It does not read scenarios, and does not combine the axes.

use std::path::{Path, PathBuf};

use serde_saphyr::Location;
use thiserror::Error;

use super::axis::{Axis, AxisError};
use super::lower;
use super::space::{Arrangement, DRAW_SEED, Draws, Setting, Space};
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

/// A sweep that cannot be read or made.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// The file.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// An axis or a point.
    #[error(transparent)]
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
    /// The settings that are tried; at least one after [`check`](Self::check).
    pub space: Space,
    /// Laid over the settings of every test, below the axes and points.
    pub sampling: SamplingSettings,
    /// Whether answers end once their loop is confirmed.
    pub stop_loops: bool,
    /// Whether a setting gets no more runs once it is decided.
    pub adaptive: bool,
    /// Seeds of sampled answers, at least one.
    pub seeds: Vec<u64>,
    /// The loop rate that the upper bound must stay below.
    pub target_rate: f64,
    /// How much lower the share of good answers may be.
    pub margin: f64,
}

impl Definition {
    /// A sweep over scenarios, without settings yet.
    #[must_use]
    pub fn over(scenarios: Vec<PathBuf>) -> Self {
        Self {
            description: String::new(),
            scenarios,
            model: None,
            space: Space::Axes(Vec::new(), Arrangement::default()),
            sampling: SamplingSettings::default(),
            stop_loops: false,
            adaptive: false,
            seeds: vec![1],
            target_rate: TARGET_RATE,
            margin: MARGIN,
        }
    }

    /// Whether a text is a sweep, and not a scenario: it has axes or points.
    fn is_sweep(text: &str) -> bool {
        let is_key = |line: &str| line.starts_with("axes:") || line.starts_with("points:");
        text.lines().any(is_key)
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
        let base = path.parent().unwrap_or(Path::new(""));
        let mut sweep = Self::over(wire.scenarios.value.iter().map(|s| base.join(s)).collect());
        sweep.description = wire.description.trim().to_owned();
        sweep.space = lower::space(source, &wire)?;
        sweep.model = wire.model;
        sweep.sampling = wire.sampling;
        sweep.stop_loops = wire.stop_loops;
        sweep.adaptive = wire.adaptive;
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
    ///
    /// # Errors
    /// If the file lists points, which have no axes.
    pub fn set_axis(&mut self, axis: Axis) -> Result<(), DefinitionError> {
        let axes = self.axes()?.0;
        match axes.iter_mut().find(|other| other.field == axis.field) {
            Some(other) => *other = axis,
            None => axes.push(axis),
        }
        Ok(())
    }

    /// Lists the points of the command line, instead of what the file says.
    ///
    /// # Errors
    /// If one stands there twice.
    pub fn set_points(&mut self, points: Vec<Setting>) -> Result<(), DefinitionError> {
        let space = Space::listed(points);
        self.space = space.map_err(|(_, problem)| DefinitionError::Asked(problem))?;
        Ok(())
    }

    /// Combines the axes as the command line says.
    ///
    /// # Errors
    /// If the file lists points.
    pub fn arrange(&mut self, wanted: Arrangement) -> Result<(), DefinitionError> {
        *self.axes()?.1 = wanted;
        Ok(())
    }

    /// Draws so many points of the grid, with the file's seed if it has one.
    ///
    /// # Errors
    /// If the file lists points.
    pub fn draw(&mut self, points: usize) -> Result<(), DefinitionError> {
        let (_, arrangement) = self.axes()?;
        let seed = match arrangement {
            Arrangement::Random(draws) => draws.seed,
            Arrangement::Grid | Arrangement::Zip => DRAW_SEED,
        };
        *arrangement = Arrangement::Random(Draws { points, seed });
        Ok(())
    }

    /// Draws with another seed.
    ///
    /// # Errors
    /// If nothing is drawn.
    pub fn set_draw_seed(&mut self, wanted: u64) -> Result<(), DefinitionError> {
        match &mut self.space {
            Space::Axes(_, Arrangement::Random(Draws { seed, .. })) => {
                *seed = wanted;
                Ok(())
            }
            _ => Err(DefinitionError::Asked(
                "--draw-seed says which points are drawn, but none are; give --random N too"
                    .to_owned(),
            )),
        }
    }

    fn axes(&mut self) -> Result<(&mut Vec<Axis>, &mut Arrangement), DefinitionError> {
        match &mut self.space {
            Space::Axes(axes, arrangement) => Ok((axes, arrangement)),
            Space::Points(_) => Err(DefinitionError::Asked(
                "the sweep file lists points, which are not combined; give --point \
                 penalty=1.1,window=20 to try others, or scenarios instead of the file"
                    .to_owned(),
            )),
        }
    }

    /// Whether everything that a sweep needs is there.
    ///
    /// # Errors
    /// What is missing or out of range.
    pub fn check(&self) -> Result<(), DefinitionError> {
        if self.space.fields().is_empty() {
            return Err(DefinitionError::Asked(
                "there is nothing to sweep; give --axis penalty=1.0,1.05,1.1, --point \
                 penalty=1.1,window=20 or a sweep file"
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
        for axis in ["window=10,64", "temperature=0,0.7"] {
            let axis = Axis::parse(axis).expect("an axis");
            sweep.set_axis(axis).expect("has axes");
        }
        let Space::Axes(axes, Arrangement::Grid) = sweep.space else {
            panic!("no grid: {:?}", sweep.space);
        };
        let sizes: Vec<usize> = axes.iter().map(|axis| axis.values.len()).collect();
        assert_eq!(sizes, [2, 2, 2]);
    }

    const LISTED: &str = "\
version: 1
description: Which of these?
scenarios: [prompts.yaml]
points:
  - {penalty: 1.1, window: 20}
  - penalty: 1.2
    window: 64
";

    #[test]
    fn a_file_lists_points_or_has_them_drawn() {
        assert!(Definition::is_sweep(LISTED));
        let mut sweep = parse(LISTED).expect("a sweep");
        let Space::Points(points) = &sweep.space else {
            panic!("no list: {:?}", sweep.space);
        };
        let told: Vec<String> = points.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "repetition_penalty 1.1, repetition_context_size 20",
                "repetition_penalty 1.2, repetition_context_size 64"
            ]
        );
        assert!(sweep.arrange(Arrangement::Zip).is_err());
        assert!(sweep.set_draw_seed(3).is_err());
        let drawn = "seeds: [1]\narrangement: random\ndraws: 3\ndraw_seed: 9\n";
        let range = FILE
            .replacen("[1.0, 1.1]", "{min: 1, max: 1.2, step: 0.1}", 1)
            .replacen("seeds: [1, 2]\n", drawn, 1);
        let sweep = parse(&range).expect("a sweep");
        let Space::Axes(axes, Arrangement::Random(Draws { points: 3, seed: 9 })) = sweep.space
        else {
            panic!("nothing drawn: {:?}", sweep.space);
        };
        assert_eq!(axes[0].values, [1.0, 1.1, 1.2]);
    }

    #[rstest]
    #[case(
        "{penalty:",
        "{penality:",
        "a.yaml:5:5: there is no field 'penality'; did you mean 'penalty'?"
    )]
    #[case(
        "window: 20}",
        "window: wide}",
        "a.yaml:5:5: the point's repetition_context_size: wide is not a value of it"
    )]
    #[case(
        "window: 64",
        "window: 64\n  - {window: 20, penalty: 1.10}",
        "a.yaml:8:5: the point repetition_context_size 20, repetition_penalty 1.1 stands there twice"
    )]
    #[case(
        "points:",
        "axes: {top_k: [1, 2]}\npoints:",
        "there are axes and points; leave one of them out"
    )]
    #[case(
        "points:",
        "arrangement: zip\npoints:",
        "a.yaml:4:14: points are not combined; leave 'arrangement' out"
    )]
    #[case(
        "points:",
        "draws: 3\npoints:",
        "a.yaml:4:8: nothing is drawn; say 'arrangement: random' too"
    )]
    #[case("points:", "point:", "unknown key 'point'; did you mean 'points'?")]
    fn mistakes_in_lists_have_a_place_and_a_remedy(
        #[case] from: &str,
        #[case] to: &str,
        #[case] message: &str,
    ) {
        let error = parse(&LISTED.replacen(from, to, 1)).expect_err("refused");
        assert!(error.contains(message), "{error}");
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
    #[case(
        "seeds: [1, 2]",
        "arrangement: random",
        "a.yaml:7:14: 'arrangement: random' needs 'draws', the number of points"
    )]
    #[case(
        "seeds: [1, 2]",
        "arrangement: radnom",
        "unknown value 'radnom'; did you mean 'random'?"
    )]
    #[case(
        "seeds: [1, 2]",
        "arrangement: list",
        "a.yaml:7:14: there are no points to list; write them under 'points'"
    )]
    #[case(
        "seeds: [1, 2]",
        "arrangement: random\ndraws: 0",
        "a.yaml:8:8: at least one point has to be drawn"
    )]
    #[case(
        "[1.0, 1.1]",
        "{min: 1, max: 2}",
        "missing field `step`; write a range as"
    )]
    #[case("[1.0, 1.1]", "1.1", "1.1 is neither a list of values")]
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
