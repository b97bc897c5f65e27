//! Where the files of a model come from: a folder, the hub's cache, the binary itself, or a
//! checkpoint script.

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::hub::{HubSnapshot, is_weights};
use super::{ModelError, builtin, mapping};
use crate::backend::Blob;
use crate::scripted::Script;

/// Largest text file of a checkpoint that is read; real tokenizers reach about 20 MB.
pub(super) const MAX_TEXT_BYTES: u64 = 64 << 20;

/// The name of a model, as users write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelRef {
    /// `builtin:NAME`, compiled into the binary.
    Builtin(String),
    /// A folder that holds a checkpoint.
    Folder(PathBuf),
    /// `script:FILE`, a checkpoint script, compiled in memory.
    Script(PathBuf),
    /// A model of the hub that has been [fetched](super::fetch).
    Hub(HubSnapshot),
}

impl ModelRef {
    /// Reads a name: `builtin:NAME`, `script:FILE`, or else the path of a folder.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        if let Some(builtin) = name.strip_prefix("builtin:") {
            Self::Builtin(builtin.to_owned())
        } else if let Some(script) = name.strip_prefix("script:") {
            Self::Script(PathBuf::from(script))
        } else {
            Self::Folder(PathBuf::from(name))
        }
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Script(path) => write!(f, "script:{}", path.display()),
            Self::Hub(snapshot) => write!(f, "{}", snapshot.name()),
        }
    }
}

/// The files of one model, by name.
#[derive(Debug)]
pub struct ModelFiles {
    name: ModelRef,
    /// What a script was compiled to; empty for other models.
    compiled: Vec<(&'static str, Blob)>,
}

impl ModelFiles {
    /// Finds a model.
    ///
    /// # Errors
    /// If there is no such built-in model or folder, or the script is not understood.
    pub fn find(name: ModelRef) -> Result<Self, ModelError> {
        let problem = match &name {
            ModelRef::Builtin(builtin) if builtin::files(builtin).is_none() => {
                format!("built in are {}", builtin::names().join(", "))
            }
            ModelRef::Folder(path) if !path.exists() => {
                "there is no such folder; give the folder that holds config.json, or builtin:readme"
                    .to_owned()
            }
            ModelRef::Folder(path) if !path.is_dir() => {
                "it is not a folder; give the folder that holds config.json".to_owned()
            }
            _ => {
                let compiled = match &name {
                    ModelRef::Script(path) => compile(path)?,
                    ModelRef::Builtin(_) | ModelRef::Folder(_) | ModelRef::Hub(_) => Vec::new(),
                };
                return Ok(Self { name, compiled });
            }
        };
        Err(ModelError::NotFound {
            name: name.to_string(),
            problem,
        })
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &ModelRef {
        &self.name
    }

    /// A file's name as errors should show it.
    #[must_use]
    pub fn label(&self, file: &str) -> String {
        match &self.name {
            ModelRef::Builtin(name) => format!("builtin:{name}/{file}"),
            ModelRef::Folder(path) => path.join(file).display().to_string(),
            ModelRef::Script(path) => format!("script:{}/{file}", path.display()),
            ModelRef::Hub(snapshot) => format!("{}/{file}", snapshot.name()),
        }
    }

    /// A text file, or `None` if the model has none of that name.
    ///
    /// # Errors
    /// If it cannot be read, is larger than 64 MiB, or is not UTF-8.
    pub fn text(&self, file: &str) -> Result<Option<String>, ModelError> {
        let bytes = match &self.name {
            ModelRef::Builtin(name) => match builtin::file(name, file) {
                Some(bytes) => bytes.to_vec(),
                None => return Ok(None),
            },
            ModelRef::Folder(path) => match self.read_small(&path.join(file), file)? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
            ModelRef::Script(_) => match self.compiled.iter().find(|(name, _)| *name == file) {
                Some((_, blob)) => blob.bytes().to_vec(),
                None => return Ok(None),
            },
            ModelRef::Hub(snapshot) => {
                match self.read_small(&snapshot.folder().join(file), file)? {
                    Some(bytes) => bytes,
                    None => return Ok(None),
                }
            }
        };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|error| ModelError::file(self.label(file), format!("not UTF-8: {error}")))
    }

    /// A text file that the model must have.
    ///
    /// # Errors
    /// As [`text`](Self::text), and if there is none.
    pub fn required_text(&self, file: &str) -> Result<String, ModelError> {
        self.text(file)?
            .ok_or_else(|| ModelError::file(self.label(file), "the checkpoint has no such file"))
    }

    fn read_small(&self, path: &Path, file: &str) -> Result<Option<Vec<u8>>, ModelError> {
        let size = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ModelError::file(self.label(file), error)),
        };
        if size > MAX_TEXT_BYTES {
            let problem = format!("{size} bytes; at most {MAX_TEXT_BYTES} are read");
            return Err(ModelError::file(self.label(file), problem));
        }
        std::fs::read(path)
            .map(Some)
            .map_err(|error| ModelError::file(self.label(file), error))
    }

    /// SHA-256 over all weight files in order, hexadecimal: which weights these are, whatever
    /// their name.
    ///
    /// # Errors
    /// As [`weights`](Self::weights).
    pub fn weights_sha256(&self) -> Result<String, ModelError> {
        let mut hasher = Sha256::new();
        for (_, blob) in self.weights()? {
            hasher.update(blob.bytes());
        }
        let digest = hasher.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// All `model*.safetensors`, sorted by name, mapped into memory. The index file of a sharded
    /// checkpoint is not needed: each shard names its own tensors (as in mlx-lm 0.32.2,
    /// `utils.py`, `load_model`).
    ///
    /// # Errors
    /// If there are none, or one cannot be mapped.
    pub fn weights(&self) -> Result<Vec<(String, Blob)>, ModelError> {
        let weights = match &self.name {
            ModelRef::Builtin(name) => builtin::files(name)
                .unwrap_or_default()
                .iter()
                .filter(|(file, _)| is_weights(file))
                .map(|(file, bytes)| (self.label(file), Blob::new(*bytes)))
                .collect(),
            ModelRef::Script(_) => self
                .compiled
                .iter()
                .filter(|(file, _)| is_weights(file))
                .map(|(file, blob)| (self.label(file), blob.clone()))
                .collect(),
            ModelRef::Folder(path) => self.map_weights(path)?,
            ModelRef::Hub(snapshot) => self.map_weights(snapshot.folder())?,
        };
        if weights.is_empty() {
            let problem = "the checkpoint has no such file (GGUF and .bin are not supported)";
            return Err(ModelError::file(self.label("model.safetensors"), problem));
        }
        Ok(weights)
    }

    fn map_weights(&self, folder: &Path) -> Result<Vec<(String, Blob)>, ModelError> {
        let entries = std::fs::read_dir(folder)
            .map_err(|error| ModelError::file(folder.display().to_string(), error))?;
        let mut files: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|file| is_weights(file))
            .collect();
        files.sort();
        files
            .into_iter()
            .map(|file| match mapping::map(&folder.join(&file)) {
                Ok(blob) => Ok((self.label(&file), blob)),
                Err(error) => Err(ModelError::file(self.label(&file), error)),
            })
            .collect()
    }
}

/// The files that a script describes.
fn compile(path: &Path) -> Result<Vec<(&'static str, Blob)>, ModelError> {
    let files = Script::load(path)?
        .files()
        .map_err(|error| ModelError::file(path.display().to_string(), error))?;
    let blobs = files.into_iter();
    Ok(blobs
        .map(|(name, bytes)| (name, Blob::new(bytes)))
        .collect())
}
