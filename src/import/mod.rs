//! Turns test files of other programs into scenarios, and says what could not be carried over.
//!
//! What is left in a scenario says the same as it did: an assertion that cannot be carried over is
//! left out and listed, and a test whose prompt or verdict would change is left out whole. Reads
//! text and gives text; it runs nothing, and reads no other file.

mod assertions;
mod cases;
mod emit;
mod node;
mod promptfoo;
mod providers;
mod texts;

use std::path::Path;

use crate::yaml::YamlError;

/// A scenario that was another program's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The scenario, as YAML.
    pub scenario: String,
    /// How many tests it has; without one it is no scenario.
    pub tests: usize,
    /// What could not be carried over, in the order of the file.
    pub lost: Vec<Lost>,
}

/// Something that could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// Where it stands, counted from 1.
    pub line: usize,
    /// What it is, why it is not carried over, and what to do instead.
    pub what: String,
}

/// Reads a configuration of promptfoo.
///
/// # Errors
/// If it is no YAML, or not of the form of such a configuration.
pub fn promptfoo(path: &Path, text: &str) -> Result<Imported, YamlError> {
    promptfoo::import(path, text)
}
