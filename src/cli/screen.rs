//! Where people read: stdout, or stderr while stdout carries a stream for programs.

use std::io::Write;

/// The stream for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// Usually.
    Stdout,
    /// If events go to stdout.
    Stderr,
}

impl Screen {
    /// The stream, without colours where they are not wanted.
    pub(super) fn lock(self) -> Box<dyn Write> {
        match self {
            Self::Stdout => Box::new(anstream::stdout().lock()),
            Self::Stderr => Box::new(anstream::stderr().lock()),
        }
    }

    /// One line. A reader that has gone stops nothing: the record is what counts.
    pub(super) fn line(self, line: &str) {
        let _ = writeln!(self.lock(), "{line}");
    }
}
