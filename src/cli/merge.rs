//! `loopwatch merge`: the records of shards as one run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Explained};
use super::outputs::Outputs;
use super::screen::Screen;
use super::table::Table;
use super::{paths, resume, run, summary};
use crate::gate::Gate;
use crate::record::{ModelProvenance, PlanProvenance, Provenance, Record, RecordWriter, Summary};
use crate::report;

/// Join the records of shards into one run with one report.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Merge {
    /// Folders or record files of the shards
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Where the folder of the whole run is made
    #[arg(long, value_name = "DIR", default_value = "reports")]
    report: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
}

const EXAMPLES: &str = "\
The records must be of one plan. Ends like 'run'; with 5 if nothing failed but a shard is missing or
unfinished.

Examples:
  loopwatch run --shard 1/2 --report shards/one
  loopwatch run --shard 2/2 --report shards/two
  loopwatch merge shards/*/* --junit results.xml";

/// A shard's record and where it was.
struct Part {
    path: PathBuf,
    record: Record,
    plan: PlanProvenance,
}

impl Merge {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let parts = self
            .runs
            .iter()
            .map(|path| Part::read(path.clone()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let missing = check(&parts)?;
        let provenance = whole(&parts)?;
        self.outputs.prepare()?;
        let total = provenance.plan.as_ref().map_or(0, |plan| plan.total);
        let folder = paths::new_run_folder(&self.report)?;
        let mut writer = RecordWriter::create(&folder, &provenance)?;
        let mut cases: Vec<_> = parts.iter().flat_map(|part| &part.record.cases).collect();
        cases.sort_by_key(|case| case.index);
        for case in &cases {
            writer.append(case).map_err(Explained::usage)?;
        }
        writer.finish(&totals(&parts, total))?;

        let screen = Screen::Stdout;
        let record = Record::read(&folder)?;
        let table = Table::new(record.cases.iter().map(|case| case.id.as_str()));
        screen.line(&table.head());
        for case in &record.cases {
            screen.line(&table.row(case));
        }
        for shard in missing {
            screen.line(&format!("shard {shard} is missing"));
        }
        std::fs::write(folder.join("index.html"), report::html(&record))?;
        let totals = record.summary.unwrap_or_default();
        summary::print(&record, &totals, &folder, &[], &[], screen)?;
        self.outputs.write(&record, screen)?;
        Ok(run::exit(&totals, None, &Gate::of(&record)))
    }
}

impl Part {
    fn read(path: PathBuf) -> anyhow::Result<Self> {
        let record = Record::read(&path).map_err(Explained::usage)?;
        let Some(plan) = record.provenance.plan.clone() else {
            return Err(Explained::usage(format!(
                "{} does not say what was to be run; run it again with this version",
                path.display()
            )));
        };
        Ok(Self { path, record, plan })
    }
}

/// Refuses records that are not parts of one plan; returns the shards that are missing.
fn check(parts: &[Part]) -> anyhow::Result<Vec<String>> {
    let Some(first) = parts.first() else {
        return Ok(Vec::new());
    };
    let count = |part: &Part| part.plan.shard.map_or(1, |shard| shard.count);
    let mut places: BTreeMap<usize, &Part> = BTreeMap::new();
    for part in parts {
        let differs = |what: &str| {
            Explained::usage(format!(
                "{} and {} cannot be merged: {what}",
                first.path.display(),
                part.path.display()
            ))
        };
        if part.record.provenance.tool != first.record.provenance.tool {
            return Err(differs("they were made by different versions of loopwatch"));
        }
        if part.plan.sha256 != first.plan.sha256 {
            return Err(differs("they were made from different plans"));
        }
        if count(part) != count(first) {
            return Err(differs("they are of a different number of shards"));
        }
        let place = part.plan.shard.map_or(1, |shard| shard.index);
        if let Some(other) = places.insert(place, part) {
            return Err(Explained::usage(format!(
                "{} and {} are the same shard",
                other.path.display(),
                part.path.display()
            )));
        }
    }
    let all = count(first);
    let missing = (1..=all).filter(|place| !places.contains_key(place));
    Ok(missing.map(|place| format!("{place}/{all}")).collect())
}

/// What is true of all parts together.
fn whole(parts: &[Part]) -> anyhow::Result<Provenance> {
    let Some(first) = parts.first() else {
        return Err(Explained::usage("there is nothing to merge"));
    };
    let of = |part: &Part| part.record.provenance.clone();
    let all: Vec<Provenance> = parts.iter().map(of).collect();
    let distinct = |field: &dyn Fn(&Provenance) -> String| {
        let mut values: Vec<String> = all.iter().map(field).collect();
        values.sort();
        values.dedup();
        values.join(" and ")
    };
    let most = |field: &dyn Fn(&Provenance) -> usize| all.iter().map(field).max().unwrap_or(1);
    let mut selected: Vec<_> = parts.iter().flat_map(|p| p.plan.selected.clone()).collect();
    selected.sort_by_key(|case| case.index);
    let started_at = all.iter().map(|one| one.started_at.clone()).min();
    Ok(Provenance {
        command: std::env::args().collect(),
        started_at: started_at.unwrap_or_default(),
        platform: distinct(&|one| one.platform.clone()),
        processor: distinct(&|one| one.processor.clone()),
        threads: most(&|one| one.threads),
        jobs: most(&|one| one.jobs),
        models: models(&all)?,
        plan: Some(PlanProvenance {
            shard: None,
            selected,
            ..first.plan.clone()
        }),
        ..of(first)
    })
}

/// The models of all parts. One name must mean the same weights everywhere.
fn models(all: &[Provenance]) -> anyhow::Result<Vec<ModelProvenance>> {
    let mut models: Vec<ModelProvenance> = Vec::new();
    for model in all.iter().flat_map(|one| &one.models) {
        match models.iter().find(|known| known.name == model.name) {
            Some(known) if known.weights_sha256 != model.weights_sha256 => {
                return Err(Explained::usage(format!(
                    "cannot merge: the model {} had different weights in two shards",
                    model.name
                )));
            }
            Some(_) => {}
            None => models.push(model.clone()),
        }
    }
    Ok(models)
}

/// Shards run side by side, so the longest of them is the time of the whole.
fn totals(parts: &[Part], total: usize) -> Summary {
    let sum = parts.iter().fold(Summary::default(), |sum, part| {
        let one = resume::totals(&part.record);
        Summary {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
            errored: sum.errored + one.errored,
            not_run: 0,
            wall_ms: sum.wall_ms.max(one.wall_ms),
        }
    });
    Summary {
        not_run: total.saturating_sub(sum.passed + sum.failed + sum.errored),
        ..sum
    }
}
