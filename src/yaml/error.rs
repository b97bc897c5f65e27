//! A file that is not understood: where, what, and the remedy.

use std::path::Path;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use serde_saphyr::Location;
use thiserror::Error;

/// An error in a file that a person wrote. Its text begins with `file:line:column`, for editors; its
/// diagnostic shows the line. A file that cannot be read has no lines, and only its name stands
/// there.
#[derive(Debug, Error)]
#[error("{}: {message}", self.place())]
pub struct YamlError {
    /// The file.
    pub path: String,
    /// The line, counted from 1; 0 if the file cannot be read.
    pub line: usize,
    /// The column, counted from 1; 0 if the file cannot be read.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    source_text: Option<Box<NamedSource<String>>>,
    span: SourceSpan,
}

impl YamlError {
    fn place(&self) -> String {
        match self.line {
            0 => self.path.clone(),
            line => format!("{}:{line}:{}", self.path, self.column),
        }
    }

    /// Something is wrong at a place in the file.
    pub(super) fn at(
        path: &Path,
        text: &str,
        location: &Location,
        message: impl Into<String>,
    ) -> Self {
        let (line, column) = (location.line().max(1), location.column().max(1));
        Self::at_place(path, text, (line as usize, column as usize), message.into())
    }

    /// Something is wrong at a line and column, both counted from 1.
    fn at_place(path: &Path, text: &str, (line, column): (usize, usize), message: String) -> Self {
        let name = path.display().to_string();
        let offset = byte_offset(text, line, column);
        let rest = text.get(offset..).unwrap_or_default();
        let length = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ']' | '}'))
            .unwrap_or(rest.len());
        Self {
            source_text: Some(Box::new(
                NamedSource::new(&name, text.to_owned()).with_language("yaml"),
            )),
            path: name,
            line,
            column,
            message,
            help: None,
            span: (offset, length).into(),
        }
    }

    /// Something is wrong with the key `key` somewhere behind a place: the first one of that name,
    /// or the place itself if there is none.
    pub(super) fn at_key(
        path: &Path,
        text: &str,
        location: &Location,
        key: &str,
        message: impl Into<String>,
    ) -> Self {
        let find = |rest: &str| {
            let mut places = rest.match_indices(key).map(|(at, _)| at);
            places.find(|at| stands_alone(rest, *at, key))
        };
        Self::behind(path, text, location, find, message.into())
    }

    /// Something is wrong with a piece of text somewhere behind a place: its first occurrence, or
    /// the place itself if there is none, as where YAML writes it with escapes.
    pub(super) fn at_text(
        path: &Path,
        text: &str,
        location: &Location,
        piece: &str,
        message: impl Into<String>,
    ) -> Self {
        Self::behind(
            path,
            text,
            location,
            |rest| rest.find(piece),
            message.into(),
        )
    }

    /// Something is wrong where `find` says, in what stands behind a place; at the place itself if it
    /// finds nothing.
    fn behind(
        path: &Path,
        text: &str,
        location: &Location,
        find: impl Fn(&str) -> Option<usize>,
        message: String,
    ) -> Self {
        let start = (
            location.line().max(1) as usize,
            location.column().max(1) as usize,
        );
        let from = byte_offset(text, start.0, start.1);
        let place = find(text.get(from..).unwrap_or_default());
        let place = place.map_or(start, |at| line_and_column(text, from + at));
        Self::at_place(path, text, place, message)
    }

    /// The file cannot be read at all.
    pub(super) fn unreadable(path: &Path, problem: String, help: &str) -> Self {
        Self {
            path: path.display().to_string(),
            line: 0,
            column: 0,
            message: problem,
            help: Some(help.to_owned()),
            source_text: None,
            span: (0, 0).into(),
        }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Place, problem and remedy in one line, for places that cannot show the source.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        match &self.help {
            Some(help) => format!("{self}; {help}"),
            None => self.to_string(),
        }
    }
}

/// Whether the word at byte `at` of `text` is not a part of a longer one.
fn stands_alone(text: &str, at: usize, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    let (before, rest) = text.split_at(at);
    let after = rest.get(word.len()..).unwrap_or_default();
    !before.ends_with(part) && !after.starts_with(part)
}

/// The line and column of a byte, both counted from 1.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}

/// Where a line and column stand in a text, at a character boundary.
fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let rest = text.get(start..).unwrap_or_default();
    let within = rest
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(rest.len(), |(at, _)| at);
    start + within
}

impl Diagnostic for YamlError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        let source = self.source_text.as_ref()?;
        Some(&**source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source_text.as_ref()?;
        let label = LabeledSpan::new_primary_with_span(Some("here".to_owned()), self.span);
        Some(Box::new(std::iter::once(label)))
    }
}
