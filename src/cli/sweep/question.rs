//! What a sweep is asked: the file, with the command line laid over it, and its prompts.

use std::path::PathBuf;

use clap::Args;

use super::super::exit::Explained;
use super::super::sampling;
use super::explained;
use crate::plan::{self, Case, Filter, Overrides};
use crate::scenario::Scenario;
use crate::sweep::{Arrangement, Axis, AxisError, Definition, DefinitionError, Setting};

/// Which settings, on which prompts, and what counts as cured.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// A sweep file, or scenarios whose tests are the prompts
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// A sampling field and its values, such as penalty=1.0,1.05,1.1, or least..greatest:step,
    /// such as window=16..64:16; repeatable, and replaces an axis of the file
    #[arg(long, value_name = "NAME=V1,V2,…")]
    axis: Vec<String>,
    /// One setting with all its values, such as penalty=1.1,window=20; repeatable, and then only
    /// these are tried
    #[arg(long, value_name = "NAME=V,NAME=V,…", conflicts_with_all = ["axis", "zip", "random"])]
    point: Vec<String>,
    /// Combine the first values of all axes, then the second ones, and so on, instead of each
    /// with each
    #[arg(long)]
    zip: bool,
    /// Draw N points of the grid at random instead of trying all, no point twice
    #[arg(long, value_name = "N", conflicts_with = "zip",
          value_parser = clap::value_parser!(u32).range(1..))]
    random: Option<u32>,
    /// Decides which points are drawn [default: 1]
    #[arg(long, value_name = "SEED")]
    draw_seed: Option<u64>,
    /// Seeds of sampled answers, one answer for each [default: 1]
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        conflicts_with = "repeats"
    )]
    seeds: Vec<u64>,
    /// Short for the seeds 1 to N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: Option<u16>,
    /// End an answer once its loop is confirmed: the same loops with the same onsets in less time,
    /// but how long answers are and how much they waste is then a lower bound
    #[arg(long)]
    stop_loops: bool,
    /// Look at every setting after a quarter, a half and three quarters of the prompts, and run no
    /// more of it once its loop rate is shown to be above the target, or below it with answers as
    /// good; the looks share the error of one
    #[arg(long)]
    adaptive: bool,
    /// The loop rate that the 95 % upper bound must stay below [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    target_rate: Option<f64>,
    /// How much lower the share of answers with every other assertion passed may be
    /// [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    margin: Option<f64>,
    /// Only prompts whose id contains this; tag:NAME selects by tag, commas mean 'or'
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Override a scenario field: model, target.…, sampling.…, limits.… or template.…; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

impl Question {
    /// The file, with the command line laid over it.
    pub(super) fn definition(&self) -> anyhow::Result<Definition> {
        let mut definition = self.written()?;
        self.settings(&mut definition)?;
        if !self.seeds.is_empty() {
            definition.seeds.clone_from(&self.seeds);
        }
        if let Some(repeats) = self.repeats {
            definition.seeds = (1..=u64::from(repeats)).collect();
        }
        definition.stop_loops |= self.stop_loops;
        definition.adaptive |= self.adaptive;
        definition.target_rate = self.target_rate.unwrap_or(definition.target_rate);
        definition.margin = self.margin.unwrap_or(definition.margin);
        definition.check().map_err(explained)?;
        Ok(definition)
    }

    pub(super) fn prompts(&self, definition: &Definition) -> anyhow::Result<Vec<Case>> {
        let mut overrides = Overrides::parse(&self.set).map_err(Explained::usage)?;
        if overrides.model.is_none() {
            overrides.model.clone_from(&definition.model);
        }
        let scenarios = plan::discover(&definition.scenarios)
            .map_err(Explained::usage)?
            .iter()
            .map(|path| Scenario::load(path))
            .collect::<Result<Vec<_>, _>>()?;
        let environment = sampling::environment()?;
        let mut cases =
            plan::expand(&scenarios, &overrides, &environment).map_err(Explained::usage)?;
        if let Some(filter) = &self.filter {
            let filter = Filter::parse(filter).map_err(Explained::usage)?;
            cases.retain(|case| filter.matches(case));
        }
        Ok(cases)
    }

    /// What the paths are: a sweep file, or scenarios.
    fn written(&self) -> anyhow::Result<Definition> {
        if let Some(missing) = self.paths.iter().find(|path| !path.exists()) {
            return Err(Explained::usage(format!(
                "there is no {}",
                missing.display()
            )));
        }
        let sweeps = |path: &PathBuf| Definition::is_at(path);
        match self.paths.as_slice() {
            [path] if sweeps(path) => Definition::load(path).map_err(explained),
            paths => match paths.iter().find(|path| sweeps(path)) {
                Some(path) => Err(Explained::usage(format!(
                    "{} is a sweep file, and has to be given alone",
                    path.display()
                ))),
                None => Ok(Definition::over(paths.to_vec())),
            },
        }
    }

    /// Axes and points of the command line.
    fn settings(&self, definition: &mut Definition) -> anyhow::Result<()> {
        let flag = |flag: &'static str| {
            move |error: AxisError| Explained::usage(format!("{flag}: {error}"))
        };
        for text in &self.axis {
            let axis = Axis::parse(text).map_err(flag("--axis"))?;
            definition.set_axis(axis).map_err(explained)?;
        }
        let points = self.point.iter().map(|text| Setting::parse(text));
        let points: Vec<Setting> = points.collect::<Result<_, _>>().map_err(flag("--point"))?;
        let change = || -> Result<(), DefinitionError> {
            if !points.is_empty() {
                definition.set_points(points)?;
            }
            if self.zip {
                definition.arrange(Arrangement::Zip)?;
            }
            if let Some(points) = self.random {
                definition.draw(usize::try_from(points).unwrap_or(usize::MAX))?;
            }
            self.draw_seed
                .map_or(Ok(()), |seed| definition.set_draw_seed(seed))
        };
        change().map_err(explained)
    }
}
