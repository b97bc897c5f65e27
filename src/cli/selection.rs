//! Which cases a command is about: paths and flags that `run` and `list` have in common, and the
//! plan they come to. Runs nothing and loads no model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::exit::Explained;
use super::screen::Screen;
use super::{sampling, shard};
use crate::endpoint::TargetWire;
use crate::generation::Semantics;
use crate::plan::{self, Case, Filter, Overrides};
use crate::record::{PlanProvenance, PlannedCase, PlannedThreshold, ShardProvenance};
use crate::scenario::Scenario;

/// Which cases, and what is laid over them.
#[derive(Debug, Clone, Args)]
pub(super) struct Selection {
    /// Scenario files, or folders that hold some
    #[arg(value_name = "PATH", default_value = "scenarios")]
    paths: Vec<PathBuf>,
    /// Only cases whose id contains this; tag:NAME selects by tag, commas mean 'or'
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Who answers instead of the scenarios' targets: engine, openai:URL, anthropic:URL or
    /// spawn:COMMAND; repeatable, and then each answers every case
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Override a scenario field: model, target.…, sampling.…, limits.… or template.…; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Sampling of every scenario: loopwatch, mlx-lm-0.28.3, mlx-lm-0.31.3 or mlx-lm-0.32.2;
    /// short for --set sampling.semantics=PROFILE
    #[arg(long, value_name = "PROFILE")]
    semantics: Option<Semantics>,
    /// Take one part of the cases: I/N, or 'auto' or auto/N to take the place that GitLab,
    /// CircleCI, Buildkite, Kubernetes or Slurm gave this job
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
}

/// What a selection comes to.
pub(super) struct Planned {
    /// The cases of the shard.
    pub(super) cases: Vec<Case>,
    /// What is to be done with them.
    pub(super) plan: PlanProvenance,
    /// The tests of every scenario that want a snapshot, whether or not they are selected.
    pub(super) with_snapshot: BTreeMap<String, Vec<String>>,
}

impl Selection {
    /// The cases and what is to be done with them, those of the shard alone; nothing, and people
    /// are told so, if no case matches.
    pub(super) fn plan(&self, screen: Screen) -> anyhow::Result<Option<Planned>> {
        let mut cases = self.cases()?;
        let thresholds = thresholds(&cases);
        let with_snapshot = with_snapshot(&cases);
        if let Some(text) = &self.filter {
            let filter = Filter::parse(text).map_err(Explained::usage)?;
            cases.retain(|case| filter.matches(case));
        }
        if cases.is_empty() {
            let filter = self.filter.as_deref().unwrap_or_default();
            anstream::eprintln!("nothing to run: no case matches '{filter}'");
            return Ok(None);
        }
        let sha256 = plan::fingerprint(&cases);
        let total = cases.len();
        let shard = match &self.shard {
            Some(text) => Some(shard::find(text, &|name| std::env::var(name).ok())?),
            None => None,
        };
        if let Some((shard, found)) = &shard {
            shard.select(&mut cases);
            let from = found
                .as_ref()
                .map_or_else(String::new, |found| format!(", from {found}"));
            screen.line(&format!(
                "shard {shard}{from}: {} of {total} cases",
                cases.len()
            ));
        }
        let planned = |case: &Case| PlannedCase {
            id: case.id.clone(),
            index: case.index,
            scenario: case.scenario.clone(),
            line: case.line,
        };
        let plan = PlanProvenance {
            sha256,
            total,
            shard: shard.map(|(shard, _)| ShardProvenance {
                index: shard.index(),
                count: shard.count(),
            }),
            selected: cases.iter().map(planned).collect(),
            thresholds,
        };
        Ok(Some(Planned {
            cases,
            plan,
            with_snapshot,
        }))
    }

    /// The scenario files, and the folders of some.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The same cases, answered by each of the targets alone.
    pub(super) fn by_target(&self) -> Vec<Self> {
        let alone = |target: &String| Self {
            target: vec![target.clone()],
            ..self.clone()
        };
        self.target.iter().map(alone).collect()
    }

    /// What is laid over every scenario, in the form of `--set`.
    pub(super) fn overrides(&self) -> Vec<String> {
        let semantics = self
            .semantics
            .map(|name| format!("sampling.semantics={name}"));
        self.set.iter().cloned().chain(semantics).collect()
    }

    /// Overrides as the record has them, targets too.
    pub(super) fn told(&self) -> Vec<String> {
        let targets = self.target.iter();
        let mut told = self.overrides();
        told.extend(targets.map(|target| format!("--target={target}")));
        told
    }

    /// The cases of all scenarios.
    fn cases(&self) -> anyhow::Result<Vec<Case>> {
        let environment = sampling::environment()?;
        let targets = self.target.iter().map(|text| TargetWire::parse(text));
        let overrides = Overrides {
            targets: targets
                .collect::<Result<_, _>>()
                .map_err(|problem| Explained::usage(format!("--target: {problem}")))?,
            ..Overrides::parse(&self.overrides()).map_err(Explained::usage)?
        };
        let scenarios = plan::discover(&self.paths)
            .map_err(Explained::usage)?
            .iter()
            .map(|path| Scenario::load(path))
            .collect::<Result<Vec<_>, _>>()?;
        plan::expand(&scenarios, &overrides, &environment).map_err(Explained::usage)
    }
}

/// The tests that want a snapshot, by scenario; of a scenario without any, an empty list.
fn with_snapshot(cases: &[Case]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in cases {
        let (scenario, test) = plan::scenario_and_test(&case.id);
        let tests = found.entry(scenario.to_owned()).or_default();
        if case.assertions.iter().any(|one| one.kind == "snapshot") {
            tests.push(test.to_owned());
        }
    }
    found
}

/// The thresholds of all scenarios, each with the cases of its group: those of each target apart,
/// where there are several.
fn thresholds(cases: &[Case]) -> Vec<PlannedThreshold> {
    let target = |id: &str| id.split_once('@').map(|(_, target)| target.to_owned());
    let mut found: Vec<(Option<String>, PlannedThreshold)> = Vec::new();
    for case in cases {
        for group in &case.thresholds {
            let of = target(&case.id);
            let planned = PlannedThreshold {
                metric: group.threshold.metric.as_str().to_owned(),
                expression: group.threshold.to_string(),
                tag: group.tag.clone(),
                scenario: case.scenario.clone(),
                file: group.file.clone(),
                line: group.line,
                column: group.column,
                cases: Vec::new(),
            };
            let same = |(other, one): &&mut (Option<String>, PlannedThreshold)| {
                let apart = PlannedThreshold {
                    cases: Vec::new(),
                    ..one.clone()
                };
                *other == of && apart == planned
            };
            match found.iter_mut().find(same) {
                Some((_, one)) => one.cases.push(case.id.clone()),
                None => {
                    let cases = vec![case.id.clone()];
                    found.push((of, PlannedThreshold { cases, ..planned }));
                }
            }
        }
    }
    found.into_iter().map(|(_, threshold)| threshold).collect()
}
