//! Which penalty? Sampling settings, tried on the same prompts, and what they showed.
//!
//! [`Definition`] is what a person asks for, in a file or on the command line; [`Design`] expands
//! it into cases that a runner can run, no point twice. [`Outcome`] is what became of one run, and
//! [`Course`] says which runs an adaptive sweep still needs. [`analyse`] makes of all outcomes the rates with their intervals, the tests, and one
//! [`Recommendation`]. Everything behind the runs is arithmetic on their records.
//!
//! This module does not run anything, knows no engine, and draws nothing.

mod advice;
mod analysis;
mod axis;
mod cell;
mod comparison;
mod course;
mod definition;
mod design;
mod distortion;
mod group;
mod lower;
mod outcome;
mod point;
mod range;
mod recommendation;
mod schedule;
mod space;
mod treatment;
mod wire;

#[cfg(test)]
mod tests;

pub use advice::{Advice, AdviceFound};
pub use analysis::{Adaptive, Analysis, Asked, analyse};
pub use axis::{Axis, AxisError};
pub use cell::Cell;
pub use comparison::{Comparison, QualityChange, TrendFound};
pub use course::{Answer, Course, Decision};
pub use definition::{Definition, DefinitionError, MARGIN, TARGET_RATE};
pub use design::{Design, Trial};
pub use distortion::{DistortionSummary, Distortions};
pub use outcome::{Looped, Outcome};
pub use point::{Point, Treatment};
pub use recommendation::{Recommendation, Verdict};
pub use schedule::Schedule;
pub use space::{Arrangement, Draws, Setting, Space};
pub use treatment::{Rate, RunMark, TreatmentOutcome};
