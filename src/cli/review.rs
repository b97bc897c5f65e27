//! `loopwatch review`, `accept` and `reject`: pending snapshots become references, or go.

mod margins;
mod show;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use console::{Key, Term};

use self::margins::Records;
use super::exit::{Exit, Explained};
use super::style::{BOLD, DIM, RESET};
use crate::snapshot::{PendingSnapshot, SnapshotStore};

/// Which pending snapshots are meant.
#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Only snapshots whose name (scenario/test.model) contains this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Where snapshots are kept
    #[arg(long, value_name = "DIR", default_value = "snapshots")]
    snapshots: PathBuf,
}

impl Choice {
    fn store(&self) -> SnapshotStore {
        SnapshotStore::new(&self.snapshots)
    }

    pub(super) fn accept(self) -> anyhow::Result<Exit> {
        let done = self.store().accept(self.filter.as_deref());
        let done = done.map_err(Explained::usage)?;
        for snapshot in &done {
            anstream::println!("accepted {}", snapshot.reference.display());
        }
        nothing_to_do(done.is_empty());
        Ok(Exit::Passed)
    }

    pub(super) fn reject(self) -> anyhow::Result<Exit> {
        let done = self.store().reject(self.filter.as_deref());
        let done = done.map_err(Explained::usage)?;
        for snapshot in &done {
            anstream::println!("rejected {}", snapshot.pending.display());
        }
        nothing_to_do(done.is_empty());
        Ok(Exit::Passed)
    }
}

fn nothing_to_do(empty: bool) {
    if empty {
        anstream::println!("{DIM}no snapshot waits for review{RESET}");
    }
}

/// Look at each pending snapshot beside its reference, and take it or drop it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Review {
    #[command(flatten)]
    choice: Choice,
    /// Where the runs are that know the margins of tokens
    #[arg(long, value_name = "DIR", default_value = "reports")]
    reports: PathBuf,
}

const EXAMPLES: &str = "\
Shows for each the first different token, with the margin it won by where a recorded run knows it,
and the text with [-what is gone-] and {+what is new+}. In a terminal a accepts, r rejects, s skips
and q ends; what is decided before q or Ctrl-C stays decided. Elsewhere it only lists.

Ends with 0 if nothing waits any more, 100 if something does, 130 after Ctrl-C.

Examples:
  loopwatch review
  loopwatch review read-readme/
  loopwatch review | less";

/// What a person decides about one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Accept,
    Reject,
    Skip,
    Quit,
    Interrupt,
}

impl Review {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let waiting = self.choice.store().chosen(self.choice.filter.as_deref());
        let waiting = waiting.map_err(Explained::usage)?;
        if waiting.is_empty() {
            nothing_to_do(true);
            return Ok(Exit::Passed);
        }
        let mut records = Records::below(&self.reports);
        let mut out = anstream::stdout().lock();
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return ask(&mut out, &waiting, &mut records, &mut decide);
        }
        let count = waiting.len();
        for snapshot in &waiting {
            show::snapshot(&mut out, snapshot, &mut records)?;
        }
        let verb = if count == 1 {
            "snapshot waits"
        } else {
            "snapshots wait"
        };
        writeln!(
            out,
            "{BOLD}{count} {verb} for review{RESET}\n  take with 'loopwatch accept [FILTER]', drop \
             with 'loopwatch reject [FILTER]',\n  or decide one by one with 'loopwatch review' in \
             a terminal"
        )?;
        Ok(Exit::Failed)
    }
}

/// Shows one after the other, and does at once what is decided.
fn ask(
    out: &mut dyn Write,
    waiting: &[PendingSnapshot],
    records: &mut Records,
    decide: &mut dyn FnMut() -> io::Result<Decision>,
) -> anyhow::Result<Exit> {
    let (mut accepted, mut rejected) = (0, 0);
    let mut stopped = None;
    for (at, snapshot) in waiting.iter().enumerate() {
        writeln!(out, "{DIM}{} of {}{RESET}", at + 1, waiting.len())?;
        show::snapshot(out, snapshot, records)?;
        write!(
            out,
            "{BOLD}[a]{RESET}ccept  {BOLD}[r]{RESET}eject  {BOLD}[s]{RESET}kip  {BOLD}[q]{RESET}uit "
        )?;
        out.flush()?;
        let decision = decide()?;
        writeln!(out)?;
        match decision {
            Decision::Accept => {
                snapshot.accept().map_err(Explained::usage)?;
                accepted += 1;
                writeln!(out, "accepted {}\n", snapshot.reference.display())?;
            }
            Decision::Reject => {
                snapshot.reject().map_err(Explained::usage)?;
                rejected += 1;
                writeln!(out, "rejected {}\n", snapshot.pending.display())?;
            }
            Decision::Skip => writeln!(out)?,
            Decision::Quit => break,
            Decision::Interrupt => {
                stopped = Some(Exit::Interrupted);
                break;
            }
        }
    }
    let left = waiting.len() - accepted - rejected;
    writeln!(
        out,
        "{BOLD}{accepted} accepted, {rejected} rejected, {left} left{RESET}"
    )?;
    Ok(stopped.unwrap_or(match left {
        0 => Exit::Passed,
        _ => Exit::Failed,
    }))
}

/// The next key that means something.
fn decide() -> io::Result<Decision> {
    let term = Term::stdout();
    loop {
        return Ok(match term.read_key_raw() {
            Ok(Key::Char('a' | 'A' | 'y')) => Decision::Accept,
            Ok(Key::Char('r' | 'R' | 'n')) => Decision::Reject,
            Ok(Key::Char('s' | 'S')) => Decision::Skip,
            Ok(Key::Char('q' | 'Q') | Key::Escape) => Decision::Quit,
            Ok(Key::CtrlC) => Decision::Interrupt,
            Ok(_) => continue,
            // The terminal is gone, and nobody can decide any more.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Decision::Quit,
            Err(error) => return Err(error),
        });
    }
}
