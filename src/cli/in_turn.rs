//! `loopwatch ab` and `loopwatch aa`: two targets in turn, or one with itself.

mod noise;
mod pairs;

use std::io::Write;

use clap::Args;

use self::pairs::Pairs;
use super::compare;
use super::exit::{Exit, Explained};
use super::style::{DIM, RESET};

/// Compare two targets, whose answers are taken in turn.
#[derive(Debug, Args)]
#[command(after_help = AB_EXAMPLES)]
pub(super) struct Ab {
    #[command(flatten)]
    pairs: Pairs,
    /// End with 100 if any answer differs, even if every case passes on both sides
    #[arg(long)]
    fail_on_change: bool,
    /// End with 99 if the second target certainly takes longer by more than this, such as 2%
    #[arg(long, value_name = "PERCENT", value_parser = compare::percent)]
    max_slowdown: Option<f64>,
    /// End with 3 if --max-slowdown can neither be called kept nor broken
    #[arg(long, requires = "max_slowdown")]
    fail_on_inconclusive: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

const AB_EXAMPLES: &str = "\
The first --target is how it was, the second how it is. Each pair is one case on both sides, one
right after the other, and the next pair begins with the other side: what the machine does meanwhile
meets both. A round before the first warms up and does not count, controls are not run, and engines
keep no prompt. How many pairs there are is decided before; adding some until it passes is no test.
'loopwatch aa' tells how many it takes on this machine.

Ends like 'loopwatch compare'. Both records stay, and can be compared again.

Examples:
  loopwatch ab scenarios/read-readme.yaml --target 'spawn:old/loopwatch serve --port {port}' \\
      --target 'spawn:new/loopwatch serve --port {port}' --max-slowdown 2%
  loopwatch ab --target openai:http://127.0.0.1:8001/v1 --target openai:http://127.0.0.1:8002/v1";

impl Ab {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let sides = self.pairs.sides();
        let [before, after] = sides.as_slice() else {
            let message = "give --target twice: first how it was, then how it is";
            return Err(Explained::usage(message));
        };
        let Some(measured) = self.pairs.measure(before, after, self.json)? else {
            return Ok(Exit::NothingSelected);
        };
        let comparison =
            crate::compare::compare(&measured.before, &measured.after, self.max_slowdown);
        let mut out = anstream::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&comparison)?)?;
        } else {
            compare::print(&mut out, &comparison)?;
            measured.tell_where(&mut out)?;
        }
        let exit = compare::exit(&comparison, self.fail_on_change, self.fail_on_inconclusive);
        Ok(measured.exit(exit))
    }
}

/// Measure how much times differ here where nothing changed, and what slow-down would be found.
#[derive(Debug, Args)]
#[command(after_help = AA_EXAMPLES)]
pub(super) struct Aa {
    #[command(flatten)]
    pairs: Pairs,
    /// The --max-slowdown of the comparison that is planned
    #[arg(long, value_name = "PERCENT", value_parser = compare::percent, default_value = "2%")]
    max_slowdown: f64,
    /// End with 3 if nine of ten comparisons with so many pairs would not find this slow-down
    #[arg(long, value_name = "PERCENT", value_parser = compare::percent)]
    must_find: Option<f64>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

const AA_EXAMPLES: &str = "\
Runs the cases in pairs as 'loopwatch ab' does, with one target on both sides. From how much the
pairs differ it draws comparisons of more and of fewer pairs, and tells the smallest slow-down that
'--max-slowdown' would find in nine of ten.

Examples:
  loopwatch aa scenarios/read-readme.yaml
  loopwatch aa scenarios/read-readme.yaml --pairs 32 --must-find 10%
  loopwatch aa --target openai:http://127.0.0.1:8001/v1 --json";

impl Aa {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let sides = self.pairs.sides();
        let side = match sides.as_slice() {
            [] => self.pairs.selection(),
            [one] => one,
            _ => return Err(Explained::usage("give --target once; 'ab' compares two")),
        };
        let Some(measured) = self.pairs.measure(side, side, self.json)? else {
            return Ok(Exit::NothingSelected);
        };
        let noise = noise::Noises::of(&measured, self.max_slowdown);
        let mut out = anstream::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&noise)?)?;
        } else {
            noise.print(&mut out)?;
            measured.tell_where(&mut out)?;
        }
        let found = self.must_find.is_none_or(|least| noise.finds(least));
        if !found && !self.json {
            writeln!(out, "{DIM}--must-find: this would not be found{RESET}")?;
        }
        Ok(measured.exit(match found {
            true => Exit::Passed,
            false => Exit::Inconclusive,
        }))
    }
}
