//! `loopwatch checkpoint`: writes the checkpoint that a script describes.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Exit, Explained};
use crate::scripted::{Script, ScriptedFile};

/// Write a checkpoint that says exactly what a script says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Checkpoint {
    /// The checkpoint script, YAML
    #[arg(value_name = "SCRIPT")]
    script: PathBuf,
    /// The folder to write, new, empty, or written by this command before
    #[arg(value_name = "OUT")]
    folder: PathBuf,
}

const EXAMPLES: &str = "\
The checkpoint is a Llama in Hugging Face / MLX layout: mlx-lm, transformers and other servers
load it. loopwatch itself needs no folder: --model script:SCRIPT.

Example:
  loopwatch checkpoint scenarios/checkpoints/reported-loop.yaml /tmp/reported-loop
  mlx_lm.server --model /tmp/reported-loop";

impl Checkpoint {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let script = Script::load(&self.script)?;
        let files = script.files()?;
        let name = self.folder.display();
        let refuse =
            |problem: std::io::Error| Explained::usage(format!("cannot write {name}: {problem}"));
        std::fs::create_dir_all(&self.folder).map_err(refuse)?;
        if let Some(other) = foreign(&self.folder, &files).map_err(refuse)? {
            return Err(Explained::usage(format!(
                "{name} holds '{other}', which is not part of this checkpoint; give a new folder"
            )));
        }
        for (file, bytes) in &files {
            replace(&self.folder.join(file), bytes).map_err(refuse)?;
        }
        anstream::println!(
            "wrote {name}: {}\n{} tokens of states in a vocabulary of {}; try it with: \
             loopwatch generate --model {name} --prompt hello",
            script.description(),
            script.state_tokens(),
            script.vocab_size(),
        );
        Ok(Exit::Passed)
    }
}

/// A file of the folder that this command would not have written.
fn foreign(folder: &Path, files: &[ScriptedFile]) -> std::io::Result<Option<String>> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !files.iter().any(|(file, _)| *file == name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Renames a complete file over the old one: a server may have that one mapped.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, bytes)?;
    std::fs::rename(fresh, path)
}
