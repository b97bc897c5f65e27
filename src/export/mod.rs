//! A record in the formats that other programs read: JSON, JUnit, SARIF, GitHub's annotations and
//! Markdown, and the events of a run that goes on.
//!
//! [`Document`] says once what a record means for a gate; the other formats only spell it. This
//! module does no IO, reads no clock and no environment, and does not run or judge anything.

mod document;
mod event;
mod github;
mod junit;
mod markdown;
mod problem;
mod sarif;
mod text;
mod threshold;

pub use document::{CaseResult, Document, NotRun, Outcome, SCHEMA_VERSION, json_schema};
pub use event::{EventLine, event_schema};
pub use github::{MOST_ANNOTATIONS, annotations, step_outputs};
pub use junit::junit;
pub use markdown::{COMMENT_LIMIT, SUMMARY_LIMIT, markdown};
pub use problem::{Difference, Problem, ProblemKind};
pub use sarif::sarif;
