//! Proves loop detectors: a labelled corpus, every known detector on it, and the figures.
//!
//! It knows documents with labels, rules that raise an alarm at a piece, and how to count. It does
//! not know models, files, or how to print: whoever collects generations or reads files hands them
//! over as [`Document`]s.
//!
//! The order of work is part of the method. The corpus, its labels and its split into a half to
//! tune on and a half to test on were fixed first; thresholds were chosen on the tuning half; the
//! published page shows the test half.

mod adversarial;
mod corpus;
mod document;
mod files;
mod healthy;
mod labels;
mod lookalikes;
mod planted;
mod random;

pub use corpus::{PER_KIND, SEED, seeded};
pub use document::{Class, Document, Half, Label, Planted, Stratum};
pub use files::document as file;
pub use labels::Outcome;
