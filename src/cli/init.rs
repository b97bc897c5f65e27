//! `loopwatch init` and `loopwatch schema`: the start of a scenario, and help for editors.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Explained};
use crate::scenario;

/// Write a starter scenario.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The file to create
    #[arg(value_name = "FILE", default_value = "scenarios/first.yaml")]
    file: PathBuf,
}

/// Print the JSON Schema of scenario files (draft-07).
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  loopwatch schema > scenarios/schema.json")]
pub(super) struct Schema {}

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
    #[expect(
        clippy::unused_self,
        reason = "every command has the same form; this one has no arguments yet"
    )]
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let text = serde_json::to_string_pretty(&scenario::json_schema())?;
        writeln!(anstream::stdout(), "{text}")?;
        Ok(Exit::Passed)
    }
}
