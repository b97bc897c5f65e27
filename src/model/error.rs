//! Why a checkpoint cannot be used, in words that name the file and the tensor.

use thiserror::Error;

/// A model that cannot be loaded or run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The model's name or folder leads nowhere.
    #[error("cannot find model '{name}': {problem}")]
    NotFound {
        /// The name as given.
        name: String,
        /// What was looked for, and what to do.
        problem: String,
    },
    /// A model of the hub cannot be had.
    #[error("cannot fetch {name}: {problem}")]
    Hub {
        /// The model's name.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file of the checkpoint cannot be read or understood.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor is missing, or is not what the configuration says.
    #[error("{file}: tensor '{tensor}' {problem}")]
    Tensor {
        /// The file that holds the tensor, or should.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A checkpoint script is not understood.
    #[error("{}", .0.in_one_line())]
    Script(#[from] crate::yaml::YamlError),
    /// The arithmetic failed.
    #[error(transparent)]
    Backend(#[from] crate::backend::BackendError),
}

impl ModelError {
    /// Something is wrong with a file.
    pub(super) fn file(file: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::File {
            file: file.into(),
            problem: problem.to_string(),
        }
    }
}
