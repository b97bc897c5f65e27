//! The command line: arguments in, exit code out.
//!
//! One file per command; `main` is the dispatch table. Only this module reads the environment,
//! prints, and chooses exit codes.

mod backend;
mod bench;
mod chat;
mod checkpoint;
mod compare;
mod detect;
mod doctor;
mod events;
mod execution;
mod exit;
mod faults;
mod generate;
mod import;
mod in_turn;
mod init;
mod list;
mod manual;
mod merge;
mod models;
mod outputs;
mod paths;
mod progress;
mod provenance;
mod report;
mod resume;
mod review;
mod run;
mod sampling;
mod screen;
mod selection;
mod serve;
mod serve_file;
mod shard;
mod signals;
mod style;
mod summary;
mod sweep;
mod table;
mod targets;
mod watch;

use std::process::ExitCode;

use anstream::eprintln as note;
use clap::{Parser, Subcommand};

pub use exit::Exit;

use crate::yaml::YamlError;

/// Tests and benchmarks text generation: scenarios, snapshots, repetition loops, with evidence.
#[derive(Debug, Parser)]
#[command(name = "loopwatch", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 passed, 1 internal error, 2 bad arguments or invalid file, 3 inconclusive (if asked
for), 4 nothing selected, 5 passed so far and some left, 99 a threshold or slower than allowed,
100 assertion, loop or snapshot failure, 101 target could not be loaded or answer, 130 or 143
interrupted.

Environment: MLX_REPETITION_PENALTY and MLX_REPETITION_CONTEXT_SIZE set the defaults of the
penalty and its window; HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE rule where
hf: models are kept and fetched from; NO_COLOR switches colours off; with CI set, snapshots are never written.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    List(Box<list::List>),
    Sweep(Box<sweep::Sweep>),
    Generate(Box<generate::Generate>),
    Serve(Box<serve::Serve>),
    Bench(bench::Bench),
    Detect(detect::Detect),
    Checkpoint(checkpoint::Checkpoint),
    Review(review::Review),
    /// Make pending snapshots the references
    Accept(review::Choice),
    /// Drop pending snapshots
    Reject(review::Choice),
    Judge(report::Judge),
    Report(report::Report),
    Merge(merge::Merge),
    Compare(compare::Compare),
    Ab(in_turn::Ab),
    Aa(in_turn::Aa),
    Faults(faults::FaultServer),
    Doctor(doctor::Doctor),
    Import(import::Import),
    Init(init::Init),
    Schema(init::Schema),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// Parses the arguments, runs the command, and turns its outcome into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(command) => command.run(),
        Command::List(command) => command.run(),
        Command::Sweep(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Detect(command) => command.run(),
        Command::Checkpoint(command) => command.run(),
        Command::Review(command) => command.run(),
        Command::Accept(command) => command.accept(),
        Command::Reject(command) => command.reject(),
        Command::Judge(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Merge(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Ab(command) => command.run(),
        Command::Aa(command) => command.run(),
        Command::Faults(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    crate::engine::wait_for_threads();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => explain(error).into(),
    }
}

/// Prints an error once, with the source line where there is one.
fn explain(error: anyhow::Error) -> Exit {
    // A reader that has seen enough, such as `head`, is no failure.
    let io = error.downcast_ref::<std::io::Error>();
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
        return Exit::Passed;
    }
    match error.downcast::<YamlError>() {
        Ok(error) => {
            note!("{:?}", miette::Report::new(error));
            Exit::Usage
        }
        Err(error) => {
            note!("{}error{}: {error:#}", style::BAD, style::RESET);
            exit::of_error(&error)
        }
    }
}

fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
