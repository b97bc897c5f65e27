//! What the cache already has: snapshots by revision, and whether one is complete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{HubName, HubSettings, INDEX, is_weights};
use crate::model::files::MAX_TEXT_BYTES;

/// Longest content of a reference: a commit's hash.
const MAX_REFERENCE_BYTES: u64 = 128;

/// The complete snapshot of a revision, without asking anyone.
pub(super) fn find(name: &HubName, settings: &HubSettings) -> Result<PathBuf, String> {
    const REMEDY: &str = "unset HF_HUB_OFFLINE to fetch it";
    let cache = settings.cache.display();
    let Some(folder) = snapshot(name, settings) else {
        return Err(format!(
            "HF_HUB_OFFLINE is set, and the cache {cache} has no revision '{}' of it; {REMEDY}",
            name.revision
        ));
    };
    let missing = missing(&folder)?;
    if missing.is_empty() {
        return Ok(folder);
    }
    Err(format!(
        "HF_HUB_OFFLINE is set, and the cache {cache} lacks {}; {REMEDY}",
        missing.join(", ")
    ))
}

/// The folder of a revision: a commit, or a branch or tag that is remembered.
fn snapshot(name: &HubName, settings: &HubSettings) -> Option<PathBuf> {
    let cache = hf_hub::Cache::new(settings.cache.clone());
    let repo = cache.repo(name.hub_repo(&name.revision));
    let of_commit = repo.pointer_path(&name.revision);
    if of_commit.is_dir() {
        return Some(of_commit);
    }
    let folder = cache
        .path()
        .join(name.hub_repo(&name.revision).folder_name());
    let commit = read_bounded(
        &folder.join("refs").join(&name.revision),
        MAX_REFERENCE_BYTES,
    )?;
    let commit = commit.trim();
    let hash = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
    let folder = repo.pointer_path(commit);
    (hash && folder.is_dir()).then_some(folder)
}

#[derive(Deserialize)]
struct IndexWire {
    weight_map: std::collections::HashMap<String, String>,
}

/// Files that a checkpoint cannot do without.
fn missing(folder: &Path) -> Result<Vec<String>, String> {
    let mut needed: BTreeSet<String> = [String::from("config.json")].into();
    let index = folder.join(INDEX);
    if index.exists() {
        let text = read_bounded(&index, MAX_TEXT_BYTES).ok_or("the index cannot be read")?;
        let index: IndexWire =
            serde_json::from_str(&text).map_err(|error| format!("{INDEX}: {error}"))?;
        needed.extend(
            index
                .weight_map
                .into_values()
                .filter(|file| is_weights(file)),
        );
    } else {
        let files = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        if !names.any(|file| is_weights(&file)) {
            needed.insert("model.safetensors".to_owned());
        }
    }
    Ok(needed
        .into_iter()
        .filter(|file| !folder.join(file).exists())
        .collect())
}

/// A small file, or `None` if there is none that can be read.
fn read_bounded(path: &Path, most: u64) -> Option<String> {
    let size = std::fs::metadata(path).ok()?.len();
    (size <= most)
        .then(|| std::fs::read_to_string(path).ok())
        .flatten()
}
