//! `loopwatch completions` and `loopwatch man`: what shells and manuals read.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::exit::{Exit, Explained};

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  loopwatch completions bash > ~/.local/share/bash-completion/completions/loopwatch"
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Print the manual page, or write the pages of all commands.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  loopwatch man | man -l -\n  loopwatch man --dir man1")]
pub(super) struct Man {
    /// Write loopwatch.1, loopwatch-run.1, … into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "loopwatch", &mut text);
        std::io::stdout().write_all(&text)?;
        Ok(Exit::Passed)
    }
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match self.dir {
            Some(dir) => {
                let failed =
                    |error| Explained::usage(format!("cannot write to {}: {error}", dir.display()));
                std::fs::create_dir_all(&dir).map_err(failed)?;
                clap_mangen::generate_to(Cli::command(), &dir).map_err(failed)?;
            }
            None => {
                let mut text = Vec::new();
                clap_mangen::Man::new(Cli::command()).render(&mut text)?;
                std::io::stdout().write_all(&text)?;
            }
        }
        Ok(Exit::Passed)
    }
}
