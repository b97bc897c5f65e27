//! `loopwatch detect --evaluate`: makes the corpus, runs every detector on it, and writes the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anstream::eprintln as note;
use anyhow::Context;
use clap::Args;

use super::super::exit::{Exit, Explained};
use super::generations;
use crate::evaluation::{
    self, Contender, Document, Half, PER_KIND, PER_SOURCE, Provenance, SCALE, SEED, Stratum, Tally,
};
use crate::loops::{Settings, Watch};

/// Largest file that is read as a negative, in bytes.
const LARGEST_FILE: u64 = 4 << 20;

/// What `--evaluate` is told.
#[derive(Debug, Args)]
pub(super) struct Evaluate {
    /// Compare loop detectors on the labelled corpus and write the page and its drawings here
    #[arg(long, value_name = "DIR")]
    pub(super) evaluate: Option<PathBuf>,
    /// A folder whose folders are packages on which no threshold was chosen; their files are used as
    /// text without loops, at most 40 of each package, in either half; repeatable
    #[arg(long, value_name = "DIR", requires = "evaluate")]
    negatives: Vec<PathBuf>,
    /// Generate with the built-in model, as many texts as there are prompts and settings, at most
    /// N; they are labelled by fixed rules
    #[arg(long, value_name = "N", default_value_t = 0, requires = "evaluate")]
    generations: usize,
    /// Where these generations are kept: read if the file is there, else written
    #[arg(long, value_name = "FILE", requires = "generations")]
    keep: Option<PathBuf>,
    /// Use the half on which thresholds were chosen, instead of the test half
    #[arg(long, requires = "evaluate")]
    tuning_half: bool,
    /// Planted loops of each kind
    #[arg(long, value_name = "N", default_value_t = PER_KIND, requires = "evaluate")]
    per_kind: usize,
    /// Default settings only, without the curves' other ones
    #[arg(long, requires = "evaluate")]
    quick: bool,
}

impl Evaluate {
    pub(super) fn run(&self, folder: &Path) -> anyhow::Result<Exit> {
        let half = if self.tuning_half {
            Half::Tune
        } else {
            Half::Test
        };
        let mut sources = vec![format!(
            "planted loops, look-alikes, adversarial words and healthy text from generators, {} of each kind before the split",
            self.per_kind
        )];
        let mut documents = evaluation::seeded(SEED, self.per_kind);
        if self.generations > 0 {
            let (made, told) = generations::documents(self.generations, self.keep.as_deref())?;
            sources.push(told);
            documents.extend(made);
        }
        let generated: Vec<Document> = documents
            .iter()
            .filter(|document| document.stratum == Stratum::Generated)
            .cloned()
            .collect();
        documents.retain(|document| document.half() == half);
        for folder in &self.negatives {
            let files = negatives(folder)?;
            sources.push(format!(
                "{} files of the packages in `{}`, on which no threshold was chosen, at most {PER_SOURCE} of each, none copied here",
                files.len(),
                last_of(folder)
            ));
            documents.extend(files);
        }
        note!("{} documents", documents.len());
        let tallies = self.tallies(&documents);
        let provenance = Provenance {
            command: self.command(folder),
            half,
            seed: SEED,
            sources,
            machine: format!(
                "{} cores of {}, {}",
                super::super::available_threads(),
                std::env::consts::ARCH,
                if cfg!(debug_assertions) {
                    "not optimised fully"
                } else {
                    "release build"
                }
            ),
            state_bytes: Watch::new(Settings::for_text()).memory_bytes(),
        };
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let defaults: Vec<Tally> = tallies
            .iter()
            .filter(|tally| tally.scale == 1.0)
            .cloned()
            .collect();
        write(
            "README.md",
            evaluation::page(&provenance, &documents, &generated, &tallies),
        )?;
        write("curves.svg", evaluation::curves(&tallies)?)?;
        write("delays.svg", evaluation::delays(&defaults)?)?;
        note!("wrote {}", folder.join("README.md").display());
        Ok(Exit::Passed)
    }

    /// All contenders, at their default settings first.
    fn tallies(&self, documents: &[Document]) -> Vec<Tally> {
        let started = Instant::now();
        let clock = || started.elapsed();
        let mut work: Vec<(Contender, f64)> = Vec::new();
        for (index, scale) in SCALE.iter().enumerate() {
            for contender in evaluation::contenders() {
                if index == 0 || (contender.scales && !self.quick) {
                    work.push((contender, *scale));
                }
            }
        }
        work.iter()
            .map(|(contender, scale)| {
                let clock: &dyn Fn() -> Duration = &clock;
                let tally = evaluation::evaluate(contender, *scale, documents, clock);
                note!(
                    "{:>6.1} s  {} × {scale}",
                    started.elapsed().as_secs_f64(),
                    contender.name
                );
                tally
            })
            .collect()
    }

    fn command(&self, folder: &Path) -> String {
        let mut command = format!("loopwatch detect --evaluate {}", folder.display());
        for folder in &self.negatives {
            // Beyond this folder, where packages are kept differs from machine to machine.
            command += &match folder.is_relative() {
                true => format!(" --negatives {}", folder.display()),
                false => format!(" --negatives …/{}", last_of(folder)),
            };
        }
        if self.generations > 0 {
            command += &format!(" --generations {}", self.generations);
        }
        if self.keep.is_some() {
            command += " --keep generations.jsonl";
        }
        if self.tuning_half {
            command += " --tuning-half";
        }
        if self.per_kind != PER_KIND {
            command += &format!(" --per-kind {}", self.per_kind);
        }
        if self.quick {
            command += " --quick";
        }
        command
    }
}

fn last_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The usable files below `folder`, in the order of their names.
fn negatives(folder: &Path) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut packages: Vec<PathBuf> = entries(folder)?;
    packages.retain(|path| path.is_dir());
    for package in packages {
        let source = package
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut files = Vec::new();
        collect(&package, &mut files)?;
        let found = files.iter().filter_map(|path| {
            let relative = path
                .strip_prefix(&package)
                .ok()?
                .to_string_lossy()
                .into_owned();
            if fs::metadata(path).ok()?.len() > LARGEST_FILE {
                return None;
            }
            evaluation::file(&source, &relative, &fs::read_to_string(path).ok()?)
        });
        documents.extend(found.take(PER_SOURCE));
    }
    Ok(documents)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for path in entries(folder)? {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = |error| Explained::usage(format!("cannot read {}: {error}", folder.display()));
    let mut paths = fs::read_dir(folder)
        .map_err(read)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(read))
        .collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
