//! The results for other programs: which files are asked for, and what GitHub gets by itself.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::exit::Explained;
use super::screen::Screen;
use crate::export::{self, COMMENT_LIMIT, Document, SUMMARY_LIMIT};
use crate::record::Record;

/// Files to write.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results for other programs")]
pub(super) struct Outputs {
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write one JSON document; 'loopwatch schema results' describes it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write Markdown that fits into a comment on a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print annotations at the lines of failed assertions, and add to the step's summary
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Annotations::Auto)]
    annotations: Annotations,
}

/// When there are annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Annotations {
    /// If GITHUB_ACTIONS is true
    Auto,
    /// As GitHub reads them
    Github,
    /// Never
    None,
}

impl Outputs {
    /// Takes away what an earlier run left, so that nobody reads it as this run's, and finds out
    /// now, not at the end, if a file cannot be written.
    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        let files = [&self.junit, &self.json, &self.sarif, &self.markdown];
        for file in files.into_iter().flatten() {
            clear(file).map_err(|error| {
                Explained::usage(format!("cannot write {}: {error}", file.display()))
            })?;
        }
        Ok(())
    }

    /// Writes every file, and tells GitHub.
    pub(super) fn write(&self, record: &Record, screen: Screen) -> anyhow::Result<()> {
        let document = Document::of(record, &locate);
        if let Some(file) = &self.junit {
            write(file, &export::junit(&document)?)?;
        }
        if let Some(file) = &self.json {
            write(file, &document.to_json()?)?;
        }
        if let Some(file) = &self.sarif {
            write(file, &export::sarif(&document)?)?;
        }
        if let Some(file) = &self.markdown {
            write(file, &export::markdown(&document, COMMENT_LIMIT))?;
        }
        if self.tells_github() {
            let mut out = screen.lock();
            write!(out, "{}", export::annotations(&document))?;
            if let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|f| !f.is_empty()) {
                append_summary(Path::new(&file), &document)?;
            }
            if let Some(file) = std::env::var_os("GITHUB_OUTPUT").filter(|f| !f.is_empty()) {
                append(Path::new(&file), &export::step_outputs(&document))?;
            }
        }
        Ok(())
    }

    fn tells_github(&self) -> bool {
        match self.annotations {
            Annotations::Auto => std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true"),
            Annotations::Github => true,
            Annotations::None => false,
        }
    }
}

fn clear(file: &Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).open(file)?;
    // Pipes and devices are written to, and stay.
    match fs::metadata(file)?.is_file() {
        true => fs::remove_file(file),
        false => Ok(()),
    }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text)
        .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", file.display()))
}

fn append(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut out = OpenOptions::new().append(true).create(true).open(file)?;
    out.write_all(text.as_bytes())
        .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", file.display()))
}

/// The limit holds for all that a step appends, so what is there already counts.
fn append_summary(file: &Path, document: &Document) -> anyhow::Result<()> {
    let failed = |error| anyhow::anyhow!("cannot write {}: {error}", file.display());
    let mut out = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .map_err(failed)?;
    let used = usize::try_from(out.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
    let text = export::markdown(document, SUMMARY_LIMIT.saturating_sub(used));
    out.write_all(text.as_bytes()).map_err(failed)
}

/// The path of a scenario as seen from the root of the checkout, which is where annotations and
/// reports look for it.
pub(super) fn locate(scenario: &str) -> String {
    let root = ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"]
        .iter()
        .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
        .map(PathBuf::from)
        .or_else(|| std::env::current_dir().ok());
    let inside = || {
        let root = root?.canonicalize().ok()?;
        let file = Path::new(scenario).canonicalize().ok()?;
        file.strip_prefix(root).ok().map(Path::to_path_buf)
    };
    match inside() {
        Some(path) => path.display().to_string(),
        None => scenario.to_owned(),
    }
}
