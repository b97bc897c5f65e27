//! The exit codes, in one place.
//!
//! If several apply, the more serious one wins: 101, then 100, then 99, then 3.

use std::process::ExitCode;

/// How a command ended. The numbers are a promise to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything passed.
    Passed,
    /// 1: loopwatch itself failed, or the disk did.
    Internal,
    /// 2: bad arguments or an invalid file.
    Usage,
    /// 3: a comparison could not tell, and was asked to fail then.
    Inconclusive,
    /// 4: the selection holds no case.
    NothingSelected,
    /// 5: passed so far, and some cases are left to run.
    Outstanding,
    /// 99: a threshold, or a limit of the time that something takes.
    Regressed,
    /// 100: an assertion, a loop or a snapshot failed.
    Failed,
    /// 101: a target could not be loaded, or could not answer.
    Target,
    /// 130: interrupted (Ctrl-C); results so far are written.
    Interrupted,
    /// 143: asked to end (SIGTERM); results so far are written.
    Terminated,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::NothingSelected => 4,
            Self::Outstanding => 5,
            Self::Regressed => 99,
            Self::Failed => 100,
            Self::Target => 101,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error with the exit code it deserves. Anything else that a command returns is internal.
#[derive(Debug, thiserror::Error)]
pub(super) enum Explained {
    /// The user can fix it: arguments, files.
    #[error("{0}")]
    Usage(String),
    /// A target could not be loaded.
    #[error("{0}")]
    Target(String),
}

impl Explained {
    /// The user can fix it.
    pub(super) fn usage(error: impl std::fmt::Display) -> anyhow::Error {
        Self::Usage(error.to_string()).into()
    }

    /// A target could not be loaded.
    pub(super) fn target(error: impl std::fmt::Display) -> anyhow::Error {
        Self::Target(error.to_string()).into()
    }
}

/// The exit code of an error.
#[must_use]
pub(super) fn of_error(error: &anyhow::Error) -> Exit {
    match error.downcast_ref() {
        Some(Explained::Usage(_)) => Exit::Usage,
        Some(Explained::Target(_)) => Exit::Target,
        None => Exit::Internal,
    }
}
