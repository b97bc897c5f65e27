//! `loopwatch accept` and `loopwatch reject`: pending snapshots become references, or go.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Explained};
use super::style::{DIM, RESET};
use crate::snapshot::SnapshotStore;

/// Which pending snapshots are meant.
#[derive(Debug, Args)]
pub(super) struct Review {
    /// Only snapshots whose name (scenario/test.model) contains this
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Where snapshots are kept
    #[arg(long, value_name = "DIR", default_value = "snapshots")]
    snapshots: PathBuf,
}

impl Review {
    pub(super) fn accept(self) -> anyhow::Result<Exit> {
        let done = SnapshotStore::new(&self.snapshots)
            .accept(self.filter.as_deref())
            .map_err(Explained::usage)?;
        for snapshot in &done {
            anstream::println!("accepted {}", snapshot.reference.display());
        }
        nothing_to_do(done.is_empty());
        Ok(Exit::Passed)
    }

    pub(super) fn reject(self) -> anyhow::Result<Exit> {
        let done = SnapshotStore::new(&self.snapshots)
            .reject(self.filter.as_deref())
            .map_err(Explained::usage)?;
        for snapshot in &done {
            anstream::println!("rejected {}", snapshot.pending.display());
        }
        nothing_to_do(done.is_empty());
        Ok(Exit::Passed)
    }
}

fn nothing_to_do(empty: bool) {
    if empty {
        anstream::println!("{DIM}no snapshot waits for review{RESET}");
    }
}
