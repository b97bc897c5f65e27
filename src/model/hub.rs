//! Models of the Hugging Face Hub: names, the local cache, and downloads.
//!
//! `hf:org/name@revision` becomes a folder of the cache that other programs share
//! (`models--org--name/snapshots/<commit>`), so that the rest of the loader sees a folder. The
//! crate `hf-hub` knows the cache's layout and the transfer; this module asks for the files that
//! the loader reads and no others, bounds what may arrive, checks it, and gives up on a server
//! that says nothing. It reads no environment: see [`HubSettings`].

mod cache;
mod download;
mod settings;

use std::fmt;
use std::path::{Path, PathBuf};

pub use settings::HubSettings;

use super::ModelError;

/// What a name without a revision means.
const DEFAULT_REVISION: &str = "main";

/// The text files that are read, if the model has them.
const TEXT_FILES: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    INDEX,
];
/// Which shard holds which tensor; tells what a complete checkpoint is.
const INDEX: &str = "model.safetensors.index.json";

/// Whether a file holds weights that are loaded: `model*.safetensors`, not below a folder.
pub(super) fn is_weights(file: &str) -> bool {
    file.starts_with("model") && file.ends_with(".safetensors") && !file.contains('/')
}

/// The name of a model on the hub, as users write it: `hf:org/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubName {
    repo: String,
    revision: String,
}

impl HubName {
    /// Reads a name, if it is one of the hub; the revision (a branch, tag or commit) is `main`
    /// unless given.
    ///
    /// # Errors
    /// If it begins with `hf:` and goes on otherwise.
    pub fn parse(name: &str) -> Option<Result<Self, ModelError>> {
        let rest = name.strip_prefix("hf:")?;
        let (repo, revision) = rest.split_once('@').unwrap_or((rest, DEFAULT_REVISION));
        // Both become parts of paths and addresses.
        let plain = |part: &str| {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && part.chars().all(legal) && !part.starts_with('.')
        };
        let parts: Vec<&str> = repo.split('/').collect();
        if parts.len() == 2 && parts.iter().copied().all(plain) && revision.split('/').all(plain) {
            return Some(Ok(Self {
                repo: repo.to_owned(),
                revision: revision.to_owned(),
            }));
        }
        Some(Err(ModelError::NotFound {
            name: name.to_owned(),
            problem: "write hf:organisation/name, or hf:organisation/name@revision".to_owned(),
        }))
    }

    /// The error for this model.
    fn error(&self, problem: impl Into<String>) -> ModelError {
        ModelError::Hub {
            name: self.to_string(),
            problem: problem.into(),
        }
    }

    fn hub_repo(&self, revision: &str) -> hf_hub::Repo {
        let revision = revision.to_owned();
        hf_hub::Repo::with_revision(self.repo.clone(), hf_hub::RepoType::Model, revision)
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}@{}", self.repo, self.revision)
    }
}

/// A model of the hub whose files are in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubSnapshot {
    name: HubName,
    folder: PathBuf,
}

impl HubSnapshot {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &HubName {
        &self.name
    }

    /// The folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// How far a download has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubProgress<'a> {
    /// The file that is being fetched.
    pub file: &'a str,
    /// Bytes of all files that are here.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

/// Finds a model's files in the cache, fetching those that are missing unless
/// `settings.offline`.
///
/// # Errors
/// If there is no such model or revision, a file is missing or damaged, or the server cannot be
/// reached or stops answering. The error says what to do.
pub fn fetch(
    name: &HubName,
    settings: &HubSettings,
    on_progress: &mut dyn FnMut(HubProgress<'_>),
) -> Result<HubSnapshot, ModelError> {
    let folder = match settings.offline {
        true => cache::find(name, settings),
        false => download::download(name, settings, on_progress),
    };
    Ok(HubSnapshot {
        folder: folder.map_err(|problem| name.error(problem))?,
        name: name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("hf:org/name", "hf:org/name@main")]
    #[case("hf:org/Name-1.5_b@v1.0", "hf:org/Name-1.5_b@v1.0")]
    #[case("hf:org/name@refs/pr/1", "hf:org/name@refs/pr/1")]
    fn names_are_read(#[case] text: &str, #[case] shown: &str) {
        let name = HubName::parse(text).expect("of the hub").expect("a name");
        assert_eq!(name.to_string(), shown);
    }

    #[rstest]
    #[case("hf:")]
    #[case("hf:name")]
    #[case("hf:a/b/c")]
    #[case("hf:../..")]
    #[case("hf:a/..")]
    #[case("hf:a/b@")]
    #[case("hf:a/b@../../x")]
    #[case("hf:a/b@/x")]
    #[case("hf:a/b?c")]
    #[case("hf:a/b@c d")]
    fn names_that_would_lead_elsewhere_are_refused(#[case] text: &str) {
        let refused = HubName::parse(text).expect("of the hub");
        assert!(refused.is_err(), "{refused:?}");
    }

    #[test]
    fn other_names_are_left_alone() {
        assert!(HubName::parse("builtin:readme").is_none());
        assert!(HubName::parse("./hf/x").is_none());
    }
}
