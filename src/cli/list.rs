//! `loopwatch list`: what `run` would do with the same arguments. Loads no model.

use std::collections::BTreeSet;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::screen::Screen;
use super::selection::{Planned, Selection};
use super::style::{BOLD, DIM, RESET};
use crate::plan::Case;
use crate::record::{PlanProvenance, ShardProvenance};

/// Version of the document that `list --json` prints.
const SCHEMA_VERSION: u32 = 1;

/// List the cases that run would run, and run nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct List {
    #[command(flatten)]
    selection: Selection,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Ids are those of run, its record and its JUnit file. No model is loaded and no server asked. Ends
with 0, 2 for a broken scenario, 4 if nothing is selected.

Examples:
  loopwatch list
  loopwatch list scenarios --filter tag:agent
  loopwatch list --shard 2/4
  loopwatch list --json | jq -r '.cases[].id'";

impl List {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let screen = match self.json {
            true => Screen::Stderr,
            false => Screen::Stdout,
        };
        let Some(Planned { cases, plan, .. }) = self.selection.plan(screen)? else {
            return Ok(Exit::NothingSelected);
        };
        match self.json {
            true => print_json(&cases, &plan)?,
            false => print(&cases)?,
        }
        Ok(Exit::Passed)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    /// One plan has one number; the same as in the record.
    plan_sha256: &'a str,
    /// Cases before the shard takes its part.
    planned: usize,
    shard: Option<ShardProvenance>,
    cases: Vec<Row<'a>>,
    totals: Totals,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    index: usize,
    scenario: &'a str,
    line: usize,
    description: &'a str,
    tags: &'a [String],
    target: String,
    model: &'a str,
    /// Runs with the cure removed.
    controls: usize,
    /// What must fail in them.
    must_fail: &'a [String],
    assertions: usize,
}

#[derive(Serialize)]
struct Totals {
    cases: usize,
    files: usize,
    controls: usize,
    assertions: usize,
}

impl<'a> Row<'a> {
    fn of(case: &'a Case) -> Self {
        let must_fail = case.control.as_ref().map(|control| &control.must_fail);
        Self {
            id: &case.id,
            index: case.index,
            scenario: &case.scenario,
            line: case.line,
            description: &case.description,
            tags: &case.tags,
            target: case.target.to_string(),
            // Servers name their models themselves where the target says which.
            model: case
                .target
                .options()
                .and_then(|options| options.model.as_deref())
                .unwrap_or(&case.model.written),
            controls: usize::from(case.control.is_some()),
            must_fail: must_fail.map_or(&[], Vec::as_slice),
            assertions: case.assertions.len(),
        }
    }
}

impl Totals {
    fn of(rows: &[Row<'_>]) -> Self {
        let files: BTreeSet<&str> = rows.iter().map(|row| row.scenario).collect();
        Self {
            cases: rows.len(),
            files: files.len(),
            controls: rows.iter().map(|row| row.controls).sum(),
            assertions: rows.iter().map(|row| row.assertions).sum(),
        }
    }
}

fn print_json(cases: &[Case], plan: &PlanProvenance) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = cases.iter().map(Row::of).collect();
    let document = Document {
        schema_version: SCHEMA_VERSION,
        plan_sha256: &plan.sha256,
        planned: plan.total,
        shard: plan.shard,
        totals: Totals::of(&rows),
        cases: rows,
    };
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
    Ok(())
}

/// The table, and totals at its end.
pub(super) fn print(cases: &[Case]) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = cases.iter().map(Row::of).collect();
    let place = |row: &Row<'_>| format!("{}:{}", row.scenario, row.line);
    let widest = |head: &str, width: &dyn Fn(&Row<'_>) -> usize| {
        rows.iter().map(width).fold(head.len(), usize::max)
    };
    let ids = widest("case", &|row| row.id.chars().count());
    let places = widest("place", &|row| place(row).chars().count());
    let targets = widest("target", &|row| row.target.chars().count());
    let models = widest("model", &|row| row.model.chars().count());
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{BOLD}{:<ids$}  {:<places$}  controls  {:<targets$}  {:<models$}  tags{RESET}",
        "case", "place", "target", "model"
    )?;
    for row in &rows {
        writeln!(
            out,
            "{:<ids$}  {DIM}{:<places$}{RESET}  {:>8}  {:<targets$}  {:<models$}  {}",
            row.id,
            place(row),
            row.controls,
            row.target,
            row.model,
            match row.tags {
                [] => "–".to_owned(),
                tags => tags.join(", "),
            },
        )?;
    }
    let totals = Totals::of(&rows);
    writeln!(
        out,
        "\n{} cases in {} files, {} controls, {} assertions",
        totals.cases, totals.files, totals.controls, totals.assertions
    )?;
    Ok(())
}
