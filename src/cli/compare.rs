//! `loopwatch compare`: what changed from one run to another.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Explained};
use super::paths;
use super::style::{BAD, BOLD, DIM, GOOD, LOOP, RESET};
use crate::compare::{
    CaseChange, Comparison, Divergence, Gate, LatencyChange, LatencyVerdict, Severity, Work,
    compare,
};
use crate::record::Record;

/// Compare two recorded runs, case by case.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compare {
    /// The run before: its folder or record file, or 'latest'
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The run after
    #[arg(value_name = "B", default_value = "latest")]
    after: PathBuf,
    /// Where 'latest' looks
    #[arg(long, value_name = "DIR", default_value = "reports")]
    reports: PathBuf,
    /// End with 100 if any answer changed, even if every case still passes
    #[arg(long)]
    fail_on_change: bool,
    /// End with 99 if answers certainly take longer by more than this, such as 10%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_slowdown: Option<f64>,
    /// End with 3 if --max-slowdown can neither be called kept nor broken
    #[arg(long, requires = "max_slowdown")]
    fail_on_inconclusive: bool,
    /// End with 99 if the same answers take more tokens through the model than before, by more than
    /// this, such as 0%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_extra_work: Option<f64>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Ends with 100 if a case that passed does not pass any more, or is gone; with 99 if it is slower than
--max-slowdown allows, or takes more work than --max-extra-work; with 3 if that is inconclusive and
--fail-on-inconclusive is given.

Times are compared pair by pair, over cases that said the same tokens in both runs. A limit is what
is allowed: 2% finds a slowdown of 10 % with 16 pairs. Two runs that were not made in turn on one
machine also differ by what else the machine did; docs/ci.md shows how to make pairs.

Examples:
  loopwatch compare baseline/record.jsonl latest
  loopwatch compare baseline/record.jsonl latest --max-extra-work 0%
  loopwatch compare reports/a reports/b --max-slowdown 2% --json";

pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    match number {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number / 100.0),
        _ => Err("write it as 10%".to_owned()),
    }
}

impl Compare {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let read = |path: &PathBuf| -> anyhow::Result<Record> {
            let path = paths::find_run(path, &self.reports)?;
            Record::read(&path).map_err(Explained::usage)
        };
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        let comparison = compare(&before, &after, self.max_slowdown);
        let mut out = anstream::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&comparison)?)?;
        } else {
            print(&mut out, &comparison)?;
        }
        let exit = exit(&comparison, self.fail_on_change, self.fail_on_inconclusive);
        let extra = self.max_extra_work;
        let extra = extra.is_some_and(|most| comparison.work.grew_by_more_than(most));
        if extra && !self.json {
            writeln!(out, "{BAD}more work than allowed{RESET}")?;
        }
        Ok(match exit {
            Exit::Passed | Exit::Inconclusive if extra => Exit::Regressed,
            other => other,
        })
    }
}

/// The more serious outcome wins.
pub(super) fn exit(comparison: &Comparison, on_change: bool, on_inconclusive: bool) -> Exit {
    let changes = comparison.changes.iter();
    let worst = changes.clone().map(|change| change.severity).max();
    let changed = changes.clone().any(CaseChange::answer_changed);
    match (worst, comparison.gate) {
        (Some(Severity::Errored), _) => Exit::Target,
        (Some(Severity::Worse), _) => Exit::Failed,
        _ if changed && on_change => Exit::Failed,
        (_, Some(Gate::Regressed)) => Exit::Regressed,
        (_, Some(Gate::Inconclusive)) if on_inconclusive => Exit::Inconclusive,
        _ => Exit::Passed,
    }
}

pub(super) fn print(out: &mut impl Write, comparison: &Comparison) -> std::io::Result<()> {
    for change in &comparison.changes {
        print_change(out, change)?;
    }
    if !comparison.changes.is_empty() {
        writeln!(out)?;
    }
    writeln!(
        out,
        "{BOLD}{} of {} cases changed{RESET}",
        comparison.changes.len(),
        comparison.changes.len() + comparison.unchanged
    )?;
    for latency in &comparison.latency {
        print_latency(out, latency)?;
    }
    print_work(out, &comparison.work)?;
    for note in &comparison.notes {
        writeln!(out, "{DIM}note{RESET} {note}")?;
    }
    match comparison.gate {
        None => Ok(()),
        Some(Gate::Passed) => writeln!(out, "{GOOD}not slower than allowed{RESET}"),
        Some(Gate::Regressed) => writeln!(out, "{BAD}slower than allowed{RESET}"),
        Some(Gate::Inconclusive) => writeln!(
            out,
            "{LOOP}inconclusive: the intervals hold values on both sides of the limit{RESET}"
        ),
    }
}

fn print_change(out: &mut impl Write, change: &CaseChange) -> std::io::Result<()> {
    let colour = match change.severity {
        Severity::Errored | Severity::Worse => BAD,
        Severity::Better => GOOD,
        Severity::Different | Severity::New => LOOP,
    };
    writeln!(
        out,
        "{colour}{}{RESET} {BOLD}{}{RESET}  {DIM}{}:{}{RESET}",
        change.headline(),
        change.id,
        change.scenario,
        change.line
    )?;
    for input in &change.inputs {
        writeln!(out, "  {}: {} -> {}", input.name, input.before, input.after)?;
    }
    if let Some(divergence) = &change.divergence {
        print_divergence(out, divergence)?;
    }
    for problem in &change.problems {
        for line in problem.lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

fn print_divergence(out: &mut impl Write, divergence: &Divergence) -> std::io::Result<()> {
    let run = match divergence.run {
        Some(run) => format!(" of run {run}"),
        None => String::new(),
    };
    let generation = format!("{}{run}", divergence.generation);
    match &divergence.token {
        Some(token) => {
            let id = |id: Option<u32>| id.map_or_else(|| "the end".to_owned(), |id| id.to_string());
            let margin = token
                .margin
                .map_or_else(String::new, |margin| format!(" (margin {margin:.4})"));
            writeln!(
                out,
                "  first different token is {} of generation {generation}: {} -> {}{margin}",
                token.index,
                id(token.before),
                id(token.after),
            )?;
        }
        None => writeln!(
            out,
            "  text of generation {generation} differs from byte {}",
            divergence.byte
        )?,
    }
    writeln!(out, "  - {:?}", divergence.before)?;
    writeln!(out, "  + {:?}", divergence.after)
}

fn print_work(out: &mut impl Write, work: &Work) -> std::io::Result<()> {
    let Work {
        pairs,
        before,
        after,
    } = work;
    if *pairs == 0 {
        return writeln!(out, "{:<22} no pairs", "work");
    }
    if before == after {
        let computed = before.computed_tokens;
        return writeln!(
            out,
            "{:<22} the same over {pairs} pairs: {computed} input tokens computed, {} cached",
            "work", before.cached_tokens
        );
    }
    writeln!(
        out,
        "{:<22} input tokens computed {} -> {}, cached {} -> {}, generated {} -> {} over {pairs} pairs",
        "work",
        before.computed_tokens,
        after.computed_tokens,
        before.cached_tokens,
        after.cached_tokens,
        before.output_tokens,
        after.output_tokens,
    )
}

fn print_latency(out: &mut impl Write, latency: &LatencyChange) -> std::io::Result<()> {
    let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
    let name = latency.metric.name();
    let pairs = latency.pairs;
    match (latency.ratio, &latency.interval) {
        (Some(ratio), Some(interval)) => {
            let verdict = match latency.verdict {
                LatencyVerdict::Slower => "slower",
                LatencyVerdict::Faster => "faster",
                LatencyVerdict::Inconclusive => "inconclusive",
            };
            writeln!(
                out,
                "{name:<22} {} [{}, {}] over {pairs} pairs: {verdict}",
                percent(ratio),
                percent(interval.low),
                percent(interval.high),
            )
        }
        (Some(ratio), None) => writeln!(
            out,
            "{name:<22} {} over {pairs} pairs: inconclusive, an interval needs {}",
            percent(ratio),
            latency.pairs_needed
        ),
        (None, _) => writeln!(out, "{name:<22} no pairs"),
    }
}
