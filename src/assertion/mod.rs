//! Says whether a conversation is acceptable, and gives the evidence.
//!
//! `spec` is what a person writes under `assert:`; it is lowered once into [`Assertion`].
//! [`judge`](judge::judge) is a pure function of the conversation: it does no IO, reads no clock
//! and cannot fail. It does not know scenarios, files or targets.

mod check;
mod judge;
mod message;
mod repeat;
mod spec;
mod unjudgeable;
mod watched;

pub use check::{Check, CheckStatus, Judgement, LoopEvidence, TextDifference};
pub use judge::{Evidence, judge};
pub use repeat::{Reduce, Repeat};
pub use spec::{Assertion, AssertionSpec, Rule, SnapshotMatch, SpecError};
pub use unjudgeable::unjudgeable;
pub use watched::Watched;
