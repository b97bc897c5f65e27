//! `loopwatch init` and `loopwatch schema`: the start of a scenario, and help for editors.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::exit::{Exit, Explained};
use crate::{export, scenario};

/// Write a starter scenario.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The file to create
    #[arg(value_name = "FILE", default_value = "scenarios/first.yaml")]
    file: PathBuf,
}

/// Print a JSON Schema (draft-07): of scenario files, or of what 'run' writes.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  loopwatch schema > scenarios/schema.json\n  loopwatch schema results"
)]
pub(super) struct Schema {
    /// Of what
    #[arg(value_name = "FORMAT", value_enum, default_value_t = Format::Scenario)]
    format: Format,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Scenario files
    Scenario,
    /// The document of --json
    Results,
    /// A line of --events
    Events,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let name = self.file.display();
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Explained::usage(format!("cannot create {name}: {error}")))?;
        }
        let mut file = std::fs::File::create_new(&self.file).map_err(|error| {
            let problem = match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    format!("{name} exists already; give another name")
                }
                _ => format!("cannot create {name}: {error}"),
            };
            Explained::usage(problem)
        })?;
        file.write_all(scenario::starter().as_bytes())?;
        anstream::println!("wrote {name}\nrun it with: loopwatch run {name}");
        Ok(Exit::Passed)
    }
}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let schema = match self.format {
            Format::Scenario => scenario::json_schema(),
            Format::Results => export::json_schema(),
            Format::Events => export::event_schema(),
        };
        let text = serde_json::to_string_pretty(&schema)?;
        writeln!(anstream::stdout(), "{text}")?;
        Ok(Exit::Passed)
    }
}
