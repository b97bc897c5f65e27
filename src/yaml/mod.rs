//! Reads YAML that a person wrote, strictly: an error names file, line and column, and the remedy.
//!
//! Knows neither scenarios nor checkpoint scripts, only how to read both. A caller defines its
//! wire types with `deny_unknown_fields`, calls [`read`], and reports what it finds wrong later
//! through [`Source::error`].

mod duration;
mod error;
mod suggest;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::{Budget, Error, Location, Options};

pub use duration::duration;
pub use error::YamlError;
pub use suggest::{nearest, remedy};

/// A file being read, to point at places in it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its path, as errors should show it.
    pub path: &'a Path,
    /// Its contents.
    pub text: &'a str,
}

impl Source<'_> {
    /// An error at a place.
    #[must_use]
    pub fn error(&self, at: &Location, message: impl Into<String>) -> YamlError {
        YamlError::at(self.path, self.text, at, message)
    }

    /// An error at the first `key` behind a place, for what was read without its places.
    #[must_use]
    pub fn error_at_key(&self, at: &Location, key: &str, message: impl Into<String>) -> YamlError {
        YamlError::at_key(self.path, self.text, at, key, message)
    }

    /// An error at the first occurrence of a piece of text behind a place.
    #[must_use]
    pub fn error_at_text(
        &self,
        at: &Location,
        piece: &str,
        message: impl Into<String>,
    ) -> YamlError {
        YamlError::at_text(self.path, self.text, at, piece, message)
    }
}

/// The text of a file of at most `most` bytes. `help` says what kind of file is wanted.
///
/// # Errors
/// If the file cannot be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path, most: u64, help: &str) -> Result<String, YamlError> {
    let unreadable = |problem: String| YamlError::unreadable(path, problem, help);
    let size = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > most {
        return Err(unreadable(format!(
            "{size} bytes; such a file has at most {most}"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// Reads a text into its wire form.
///
/// # Errors
/// The first thing that is not understood, with its place, and the nearest right word if a key
/// or a value is unknown.
pub fn read<T: DeserializeOwned>(source: Source<'_>) -> Result<T, YamlError> {
    serde_saphyr::from_str_with_options(source.text, options())
        .map_err(|error| explain(source, error))
}

/// The same for a file that programs with YAML 1.2 read, in which `y`, `no` and `on` are texts.
///
/// # Errors
/// As [`read`].
pub fn read_foreign<T: DeserializeOwned>(source: Source<'_>) -> Result<T, YamlError> {
    let mut options = options();
    options.strict_booleans = true;
    serde_saphyr::from_str_with_options(source.text, options)
        .map_err(|error| explain(source, error))
}

/// Such a file is small and written by hand; more than this is an accident or an attack.
fn options() -> Options {
    let mut options = Options::default();
    let mut budget = Budget::default();
    budget.max_events = 100_000;
    budget.max_aliases = 1_000;
    budget.max_anchors = 1_000;
    options.budget = Some(budget);
    options
}

/// The reader's error in our words, with the remedy where there is one.
fn explain(source: Source<'_>, error: Error) -> YamlError {
    let error = error.without_snippet();
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let at = |message: String| source.error(&location, message);
    match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => at(format!("unknown key '{field}'")).with_help(remedy(field, expected)),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => at(format!("unknown value '{variant}'")).with_help(remedy(variant, expected)),
        Error::SerdeMissingField { field, .. } => {
            at(format!("the key '{field}' is missing beside this one"))
        }
        other => at(plain(other)),
    }
}

/// The message without its place, which is said already.
fn plain(error: &Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first
        .split(" at line ")
        .next()
        .unwrap_or(first)
        .trim_end_matches([',', ':'])
        .to_owned()
}
