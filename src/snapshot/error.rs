//! What can go wrong with snapshot files, in the words of the person who has to mend it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A snapshot that cannot be read or written, or a choice of snapshots that makes no sense.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The text is not a snapshot of this format.
    #[error("line {line}: {problem}; {remedy}")]
    Format {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The same, in a file.
    #[error("{path}: {problem}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        problem: Box<SnapshotError>,
    },
    /// The file system refused.
    #[error("cannot {action} {path}: {problem}", path = .path.display())]
    Io {
        /// What was attempted, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        #[source]
        problem: io::Error,
    },
    /// A filter that selects no pending snapshot.
    #[error("no pending snapshot matches '{filter}'; {}", pending_are(.pending))]
    NoMatch {
        /// The filter as given.
        filter: String,
        /// The names of all pending snapshots.
        pending: Vec<String>,
    },
}

impl SnapshotError {
    /// A mistake in the text of a snapshot, with the usual way out.
    pub(super) fn format(line: usize, problem: impl Into<String>) -> Self {
        Self::Format {
            line,
            problem: problem.into(),
            remedy: "restore the file from version control, or delete it, run the scenario again \
                     and accept the new output"
                .to_owned(),
        }
    }

    pub(super) fn in_file(self, path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            problem: Box::new(self),
        }
    }

    pub(super) fn io(action: &'static str, path: &Path, problem: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            problem,
        }
    }
}

fn pending_are(names: &[String]) -> String {
    if names.is_empty() {
        "nothing is pending".to_owned()
    } else {
        format!("pending are {}", names.join(", "))
    }
}
