//! A scenario file and the files of shared parts that it extends, each with its text, so that an
//! error names the file it is in.
//!
//! Reads files. What the keys mean is the neighbour `lower`.

use std::path::{Path, PathBuf};

use super::MAX_FILE_BYTES;
use super::wire::ScenarioWire;
use crate::yaml::{self, Source, YamlError};

/// The version that this program reads.
const VERSION: u32 = 1;
/// More files behind each other than this are a mistake.
const MOST_FILES: usize = 8;

/// One file.
#[derive(Debug)]
pub(super) struct Layer {
    path: PathBuf,
    text: String,
    pub(super) file: ScenarioWire,
}

impl Layer {
    pub(super) fn source(&self) -> Source<'_> {
        Source {
            path: &self.path,
            text: &self.text,
        }
    }

    fn read(path: &Path, text: &str) -> Result<Self, YamlError> {
        let source = Source { path, text };
        let file: ScenarioWire = yaml::read(source)?;
        if file.version.value != VERSION {
            let message = format!("version {} is not known", file.version.value);
            let error = source.error(&file.version.referenced, message);
            return Err(error.with_help(format!("this program reads version {VERSION}")));
        }
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            file,
        })
    }

    /// The file that this one extends.
    fn base(&self) -> Result<Option<Self>, YamlError> {
        let Some(extends) = &self.file.extends else {
            return Ok(None);
        };
        let beside = self.path.parent().unwrap_or(Path::new(""));
        let path = beside.join(&extends.value);
        let text = yaml::read_text(&path, MAX_FILE_BYTES, "").map_err(|error| {
            let message = format!("cannot read the file that this one extends: {error}");
            let help = "the path is relative to this file";
            self.source()
                .error(&extends.referenced, message)
                .with_help(help)
        })?;
        let base = Self::read(&path, &text)?;
        base.refuse_what_is_not_shared()?;
        Ok(Some(base))
    }

    /// A shared file says nothing of its own: what it is about, and tests, are a scenario's.
    fn refuse_what_is_not_shared(&self) -> Result<(), YamlError> {
        let file = &self.file;
        let places = [
            (
                "description",
                file.description.as_ref().map(|one| &one.referenced),
            ),
            ("why", file.why.as_ref().map(|one| &one.referenced)),
            ("tests", file.tests.as_ref().map(|one| &one.referenced)),
        ];
        let found = places.iter().find_map(|(key, at)| Some((key, (*at)?)));
        let Some((key, at)) = found else {
            return Ok(());
        };
        let message = format!("another file extends this one, so it can have no '{key}'");
        let help = "put what scenarios share into a file of its own, in a folder called 'shared'";
        Err(self.source().error(at, message).with_help(help))
    }
}

/// The files of a scenario: the one that extends no other first, the scenario last.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Layer>, YamlError> {
    let mut layers = vec![Layer::read(path, text)?];
    let same = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    while let Some(last) = layers.last() {
        let Some(extends) = &last.file.extends else {
            break;
        };
        let beside = last.path.parent().unwrap_or(Path::new(""));
        let wanted = same(&beside.join(&extends.value));
        if layers.iter().any(|layer| same(&layer.path) == wanted) {
            let message = format!("'{}' extends itself in the end", extends.value);
            return Err(last.source().error(&extends.referenced, message));
        }
        if layers.len() == MOST_FILES {
            let message = format!("more than {MOST_FILES} files extend each other");
            return Err(last.source().error(&extends.referenced, message));
        }
        match last.base()? {
            Some(base) => layers.push(base),
            None => break,
        }
    }
    layers.reverse();
    Ok(layers)
}
