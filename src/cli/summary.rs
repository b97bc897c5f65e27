//! What a person reads after a run: failures with their evidence, totals, and where to look.

use std::io::Write;
use std::path::Path;

use super::screen::Screen;
use super::style::{BAD, BOLD, DIM, GOOD, LOOP, RESET};
use crate::assertion::Quarantine;
use crate::gate::{Excuse, Gate, Status};
use crate::record::{CaseRecord, CaseVerdict, Provenance, Record, Summary};
use crate::snapshot::{PendingSnapshot, Unreferenced};

/// Prints everything behind the table.
pub(super) fn print(
    record: &Record,
    summary: &Summary,
    folder: &Path,
    pending: &[PendingSnapshot],
    unreferenced: &[Unreferenced],
    screen: Screen,
) -> anyhow::Result<()> {
    let mut out = screen.lock();
    failures(&mut out, record)?;
    retries(&mut out, record)?;
    let passed = record.cases.iter();
    for case in passed.filter(|case| case.verdict == CaseVerdict::Passed) {
        excuse(&mut out, case, &record.provenance.started_at)?;
    }
    totals(&mut out, record, summary)?;
    if !pending.is_empty() {
        writeln!(
            out,
            "{LOOP}{} for review:{RESET}",
            several(pending.len(), "snapshot waits", "snapshots wait")
        )?;
        for snapshot in pending {
            writeln!(out, "  {}", snapshot.pending.display())?;
        }
        writeln!(
            out,
            "  look at them with 'loopwatch review', or take all with 'loopwatch accept'"
        )?;
    }
    if !unreferenced.is_empty() {
        writeln!(
            out,
            "{LOOP}{} asked for by no test:{RESET}",
            several(unreferenced.len(), "snapshot is", "snapshots are")
        )?;
        for snapshot in unreferenced {
            writeln!(out, "  {}: {}", snapshot.path.display(), snapshot.reason)?;
        }
    }
    writeln!(
        out,
        "{DIM}record{RESET} {}",
        folder.join("record.jsonl").display()
    )?;
    writeln!(
        out,
        "{DIM}report{RESET} {}",
        folder.join("index.html").display()
    )?;
    Ok(())
}

fn several(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Every case that did not pass, with what its scenario line asked for.
pub(super) fn failures(out: &mut impl Write, record: &Record) -> std::io::Result<()> {
    for case in &record.cases {
        if case.verdict == CaseVerdict::Passed {
            continue;
        }
        writeln!(
            out,
            "\n{BAD}{}{RESET} {BOLD}{}{RESET}  {DIM}{}:{}{RESET}",
            match case.verdict {
                CaseVerdict::Errored => "ERROR",
                _ => "FAIL",
            },
            case.id,
            case.scenario,
            case.scenario_line
        )?;
        failure(out, case)?;
        excuse(out, case, &record.provenance.started_at)?;
        let command = again(case, &record.provenance);
        writeln!(out, "  {DIM}again{RESET} {command}")?;
    }
    Ok(())
}

/// Every request that was sent again, in cases that passed too: trouble on the way stays visible.
fn retries(out: &mut impl Write, record: &Record) -> std::io::Result<()> {
    for case in &record.cases {
        let control = case.control.iter().map(|control| &control.run);
        let runs = std::iter::once(&case.run).chain(control);
        let exchanges = runs.flat_map(|run| &run.conversation.exchanges);
        for retry in exchanges.flat_map(|exchange| &exchange.transcript.retries) {
            writeln!(
                out,
                "{LOOP}retried{RESET} {} after {} ms: {}",
                case.id, retry.waited_ms, retry.reason
            )?;
        }
    }
    Ok(())
}

fn failure(out: &mut impl Write, case: &CaseRecord) -> std::io::Result<()> {
    if let Some(error) = &case.run.error {
        writeln!(out, "  {error}")?;
    }
    for check in case.run.judgement.failures() {
        writeln!(
            out,
            "  {BAD}✗{RESET} {}  {DIM}{}:{}{RESET}",
            check.label,
            check.file.as_deref().unwrap_or(&case.scenario),
            check.line
        )?;
        for line in check.message.lines() {
            writeln!(out, "    {line}")?;
        }
    }
    if let Some(control) = &case.control {
        if let Some(error) = &control.run.error {
            writeln!(out, "  control: {error}")?;
        }
        for held in &control.held {
            writeln!(
                out,
                "  {BAD}✗{RESET} the control must fail '{held}' and does not: this scenario cannot tell the cure from its absence"
            )?;
        }
    }
    writeln!(out, "  {DIM}why{RESET} {}", case.why.trim())
}

/// Whether a failure is excused, and until when.
fn excuse(out: &mut impl Write, case: &CaseRecord, started_at: &str) -> std::io::Result<()> {
    let (Some(excuse), Some(quarantine)) = (Excuse::of(case, started_at), &case.quarantine) else {
        return Ok(());
    };
    let Quarantine { until, why } = quarantine;
    match excuse {
        Excuse::Holds => writeln!(out, "  {LOOP}in quarantine{RESET} until {until}: {why}"),
        Excuse::Ended => writeln!(out, "  {BAD}its quarantine ended{RESET} on {until}: {why}"),
        Excuse::NotNeeded => writeln!(
            out,
            "{LOOP}passes{RESET} {}: its quarantine until {until} is not needed ({why})",
            case.id
        ),
    }
}

/// The command that runs this case alone, with what was laid over its scenario.
fn again(case: &CaseRecord, provenance: &Provenance) -> String {
    let mut words = provenance.environment.clone();
    words.push(format!(
        "loopwatch run {} --filter {}",
        case.scenario,
        case.id.split('@').next().unwrap_or(&case.id)
    ));
    words.extend(
        provenance
            .overrides
            .iter()
            .map(|set| match set.strip_prefix("--target=") {
                Some(target) => format!("--target '{target}'"),
                None => format!("--set '{set}'"),
            }),
    );
    words.join(" ")
}

pub(super) fn totals(
    out: &mut impl Write,
    record: &Record,
    summary: &Summary,
) -> std::io::Result<()> {
    let gate = Gate::of(record);
    thresholds(out, &gate)?;
    let worked = record
        .cases
        .iter()
        .filter_map(|case| case.control.as_ref())
        .filter(|control| control.held.is_empty() && control.run.error.is_none())
        .count();
    let controls = record.cases.iter().filter(|case| case.control.is_some());
    let all = controls.count();
    let failed = summary.failed.saturating_sub(gate.tolerated);
    let good = failed + summary.errored + summary.not_run == 0 && !gate.is_broken();
    let colour = if good { GOOD } else { BAD };
    write!(out, "\n{colour}{} passed", summary.passed)?;
    for (count, word) in [
        (summary.failed, "failed"),
        (summary.errored, "could not run"),
        (summary.not_run, "not run"),
    ] {
        if count > 0 {
            write!(out, ", {count} {word}")?;
        }
    }
    let excused = [
        (gate.tolerated - gate.quarantined, "within a threshold"),
        (gate.quarantined, "in quarantine"),
    ];
    let excused = excused.iter().filter(|(count, _)| *count > 0);
    let excused: Vec<String> = excused
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if !excused.is_empty() {
        write!(out, " ({})", excused.join(", "))?;
    }
    writeln!(
        out,
        "{RESET}; {worked} of {all} controls failed as they must; {:.1} s",
        summary.wall_ms as f64 / 1e3
    )
}

/// The thresholds, each with what was measured and where it stands.
fn thresholds(out: &mut impl Write, gate: &Gate) -> std::io::Result<()> {
    if !gate.verdicts.is_empty() {
        writeln!(out, "\n{BOLD}thresholds{RESET}")?;
    }
    for verdict in &gate.verdicts {
        let (colour, sign) = match verdict.status {
            Status::Held => (GOOD, "✓"),
            Status::Broken => (BAD, "✗"),
            Status::NotJudged => (LOOP, "– not judged:"),
        };
        writeln!(
            out,
            "  {colour}{sign}{RESET} {}: {}  {DIM}{}:{}{RESET}",
            verdict.label(),
            verdict.fact,
            verdict.file(),
            verdict.planned.line
        )?;
    }
    Ok(())
}
