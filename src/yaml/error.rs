//! A file that is not understood: where, what, and the remedy.

use std::path::Path;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use serde_saphyr::Location;
use thiserror::Error;

/// An error in a file that a person wrote. Its text begins with `file:line:column`, for editors; its
/// diagnostic shows the line.
#[derive(Debug, Error)]
#[error("{path}:{line}:{column}: {message}")]
pub struct YamlError {
    /// The file.
    pub path: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    source_text: Option<Box<NamedSource<String>>>,
    span: SourceSpan,
}

impl YamlError {
    /// Something is wrong at a place in the file.
    pub(super) fn at(
        path: &Path,
        text: &str,
        location: &Location,
        message: impl Into<String>,
    ) -> Self {
        let name = path.display().to_string();
        let (line, column) = (location.line().max(1), location.column().max(1));
        let offset = byte_offset(text, line as usize, column as usize);
        let rest = text.get(offset..).unwrap_or_default();
        let length = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ']' | '}'))
            .unwrap_or(rest.len());
        Self {
            source_text: Some(Box::new(
                NamedSource::new(&name, text.to_owned()).with_language("yaml"),
            )),
            path: name,
            line: line as usize,
            column: column as usize,
            message: message.into(),
            help: None,
            span: (offset, length).into(),
        }
    }

    /// The file cannot be read at all.
    pub(super) fn unreadable(path: &Path, problem: String, help: &str) -> Self {
        Self {
            path: path.display().to_string(),
            line: 1,
            column: 1,
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
