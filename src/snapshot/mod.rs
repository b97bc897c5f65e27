//! Keeps the reviewed output of a test, and says where a new output departs from it.
//!
//! A snapshot is a reference that a person has read and accepted: the text and the token ids of
//! every generation, in a file that `cargo insta review` understands as well. This module knows
//! its format ([`Snapshot`]), how to compare ([`compare`], pure), where the files lie and how a
//! changed output waits beside its reference ([`SnapshotStore`]).
//!
//! It deliberately does not know which tests want a snapshot, whether a difference is a failure,
//! how one is shown, or how to read the environment: the caller passes the values to
//! [`UpdatePolicy`]. Nothing here overwrites a reference except [`SnapshotStore::accept`].

mod comparison;
mod error;
mod format;
mod line;
mod policy;
mod redaction;
mod reference;
mod store;
mod unreferenced;

pub use comparison::{
    ChangedInput, Comparison, Divergence, TextDivergence, TokenDivergence, common_bytes, compare,
    compare_pending, excerpt,
};
pub use error::SnapshotError;
pub use format::FORMAT;
pub use policy::UpdatePolicy;
pub use redaction::{MOST_REDACTIONS, Redaction, Redactions};
pub use reference::{Snapshot, SnapshotGeneration, SnapshotInfo};
pub use store::{PendingSnapshot, SnapshotKey, SnapshotStore};
pub use unreferenced::Unreferenced;
