//! Says whether a conversation is acceptable, and gives the evidence.
//!
//! `spec` is what a person writes under `assert:`; it is lowered once into [`Assertion`], whose
//! types are in `rule`, `text_rule` and `tool_rule`.
//! [`judge`](judge::judge) is a pure function of the conversation: it does no IO, reads no clock
//! and cannot fail. It does not know scenarios, files or targets.

mod check;
mod finding;
mod judge;
mod message;
mod quarantine;
mod repeat;
mod rerun;
mod rule;
mod scope;
mod snapshot_rule;
mod spec;
mod stream_rule;
mod text_rule;
mod tool_rule;
mod unjudgeable;
mod watched;

pub use check::{Check, CheckStatus, Judgement, LoopEvidence, TextDifference};
pub use judge::{Evidence, judge};
pub use message::{change_fact, token_fact};
pub use quarantine::Quarantine;
pub use repeat::{Reduce, Repeat};
pub use rerun::{ApiForm, Rerun, RerunRule, Way, ways};
pub use rule::{Assertion, Likelihood, Rule};
pub use snapshot_rule::{SnapshotMatch, SnapshotRule};
pub use spec::{AssertionSpec, SpecError};
pub use text_rule::{Measure, TextRule};
pub use tool_rule::ToolRule;
pub use unjudgeable::unjudgeable;
pub use watched::Watched;

pub use crate::snapshot::{MOST_REDACTIONS, Redaction, Redactions};
