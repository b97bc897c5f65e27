//! Finds scenario files.

use std::path::{Path, PathBuf};

use super::PlanError;

/// Folders below this depth are not searched: nobody keeps scenarios there.
const MAX_DEPTH: usize = 8;

/// Folders that hold other files: data, checkpoint scripts, sweeps with their prompts, what
/// scenarios extend, and those that need a server to ask.
const NO_SCENARIOS: [&str; 5] = ["fixtures", "checkpoints", "sweeps", "shared", "servers"];

/// The scenario files among `paths`: files as they are, and `*.yaml` and `*.yml` below folders,
/// sorted, but for those that hold other files.
///
/// # Errors
/// If a path does not exist, or holds no scenario.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<PathBuf>, PlanError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            search(path, 0, &mut found)
                .map_err(|error| PlanError(format!("cannot read {}: {error}", path.display())))?;
            if found.len() == before {
                return Err(PlanError(format!(
                    "{} holds no scenario (*.yaml); 'loopwatch init' writes one",
                    path.display()
                )));
            }
            found[before..].sort();
        } else if path.exists() {
            found.push(path.clone());
        } else {
            return Err(PlanError(format!(
                "{} does not exist; give a scenario file or a folder, or write one with 'loopwatch init'",
                path.display()
            )));
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            let is_data = path
                .file_name()
                .is_some_and(|name| NO_SCENARIOS.iter().any(|other| name == *other));
            if !is_data && depth < MAX_DEPTH {
                search(&path, depth + 1, found)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            found.push(path);
        }
    }
    Ok(())
}
