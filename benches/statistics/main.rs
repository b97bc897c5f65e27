//! How well the intervals and tests of a sweep keep their promises, as a Markdown table.
//!
//! `cargo bench --bench statistics` prints the table of `docs/statistics.md`; `-- --rounds N`
//! takes another number of rounds.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark that has an answer prints it"
)]

mod random;
mod simulation;

use clap::Parser;

#[derive(Debug, Parser)]
struct Options {
    /// Samples drawn for each figure
    #[arg(long, default_value_t = 20_000)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    println!("| {} rounds each | promised | measured |", options.rounds);
    println!("|---|---|---|");
    for figure in simulation::all(options.rounds) {
        let (low, high) = figure.accepted;
        let verdict = match (low..=high).contains(&figure.share) {
            true => "",
            false => " **outside**",
        };
        println!(
            "| {} | {} | {:.1} % ± {:.1}{verdict} |",
            figure.what,
            figure.promised,
            figure.share * 100.0,
            figure.error * 196.0
        );
    }
}
