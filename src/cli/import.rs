//! `loopwatch import`: other programs' test files as scenarios.

use std::io::Write;
use std::path::{Path, PathBuf};

use anstream::eprintln as note;
use clap::{Args, Subcommand};

use super::exit::{Exit, Explained};
use super::style::{DIM, LOOP, RESET};
use crate::import::{self, Imported};
use crate::yaml;

/// Most bytes of a file to import.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Turn another program's test file into a scenario.
#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    Promptfoo(Promptfoo),
}

/// Read a configuration of promptfoo, and list what could not be carried over.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Promptfoo {
    /// The configuration, in YAML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The scenario to write; it must not exist [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
What is carried over says the same as it did. An assertion that cannot be is left out, and a test
whose prompt or verdict would change is left out whole; both are listed with their line. docs/promptfoo.md
has the rules. Ends with 0 if everything was carried over, 5 if something was not, 4 if no test was
left, 2 if the file cannot be read.

Examples:
  loopwatch import promptfoo promptfooconfig.yaml -o scenarios/imported.yaml
  loopwatch import promptfoo promptfooconfig.yaml | less";

impl Import {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let From::Promptfoo(command) = self.from;
        let help = "give the path of a configuration, such as promptfooconfig.yaml";
        let text = yaml::read_text(&command.file, MAX_FILE_BYTES, help)?;
        let imported = import::promptfoo(&command.file, &text)?;
        tell(&command.file, &imported);
        if imported.tests == 0 {
            note!("no test is left, so there is no scenario");
            return Ok(Exit::NothingSelected);
        }
        match &command.output {
            Some(file) => write(file, &imported)?,
            None => write!(anstream::stdout(), "{}", imported.scenario)?,
        }
        Ok(match imported.lost.is_empty() {
            true => Exit::Passed,
            false => Exit::Outstanding,
        })
    }
}

/// Lists what is missing, each with its place as compilers write it.
fn tell(file: &Path, imported: &Imported) {
    for lost in &imported.lost {
        let place = format!("{}:{}", file.display(), lost.line);
        note!(
            "{DIM}{place}:{RESET} {LOOP}not carried over:{RESET} {}",
            lost.what
        );
    }
}

fn write(file: &Path, imported: &Imported) -> anyhow::Result<()> {
    let name = file.display();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Explained::usage(format!("cannot create {name}: {error}")))?;
    }
    let mut out = std::fs::File::create_new(file).map_err(|error| {
        Explained::usage(match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{name} exists already; give another name")
            }
            _ => format!("cannot create {name}: {error}"),
        })
    })?;
    out.write_all(imported.scenario.as_bytes())?;
    let missing = match imported.lost.len() {
        0 => String::new(),
        count => format!("; {count} not carried over"),
    };
    note!("wrote {name}: {} tests{missing}", imported.tests);
    note!("run it with: loopwatch run {name}");
    Ok(())
}
