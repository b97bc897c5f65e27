//! How often the gate of `compare --max-slowdown` is wrong, and what it finds, as a Markdown table.
//!
//! `cargo bench --bench latency` prints the table of `docs/statistics.md`; `-- --rounds N` takes
//! another number of comparisons.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on should stop, and one that has an answer prints it"
)]

#[path = "../statistics/random.rs"]
mod random;
mod simulation;

use clap::Parser;

#[derive(Debug, Parser)]
struct Options {
    /// Comparisons for each figure
    #[arg(long, default_value_t = 5_000)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let rounds = options.rounds;
    println!("| {rounds} comparisons each | limit | slower | kept | inconclusive |");
    println!("|---|--:|--:|--:|--:|");
    for figure in simulation::all(rounds) {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let verdict = match figure.is_accepted(0.0) {
            true => "",
            false => " **outside**",
        };
        println!(
            "| {} | {:.0} % | {}{verdict} | {} | {} |",
            figure.what,
            figure.limit * 100.0,
            percent(figure.slower),
            percent(figure.kept),
            percent(1.0 - figure.slower - figure.kept),
        );
    }
}
