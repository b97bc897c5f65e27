//! What was measured in one run, on disk, appended case by case.
//!
//! The format is versioned in [`format`]; [`RecordWriter`] appends lines and [`Record`] reads
//! them back. It does not know how cases are run or how they are shown.

mod format;
mod resume;
mod store;

pub use format::{
    CaseRecord, CaseVerdict, ControlRecord, FORMAT_VERSION, Line, ModelProvenance, PlanProvenance,
    PlannedCase, PlannedThreshold, Provenance, Repeats, RunRecord, ShardProvenance, Summary,
};
pub use store::{Record, RecordError, RecordWriter};
