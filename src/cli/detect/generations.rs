//! Generations of the built-in model for the corpus: many topics, wordings, penalties and
//! temperatures, run to their end and labelled by the rules of [`Outcome`].

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anstream::eprintln as note;
use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::super::{available_threads, exit::Explained, models};
use crate::engine::{Engine, EngineOptions};
use crate::evaluation::{Class, Document, Label, Outcome, Planted, Stratum};
use crate::generation::{
    FinishReason, GenerateRequest, Message, Prompt, Role, SamplingSettings, Transcript,
};
use crate::loops::{Ending, Unit};

const MODEL: &str = "builtin:readme";
/// Requests that are decoded together.
const TOGETHER: usize = 32;
/// Most tokens of a generation.
const MOST_TOKENS: usize = 512;

/// What is asked about. The topic decides the half.
const TOPICS: &[&str] = &[
    "ownership",
    "borrowing",
    "lifetimes",
    "traits",
    "generics",
    "closures",
    "iterators",
    "modules",
    "crates",
    "workspaces",
    "macros",
    "procedural macros",
    "error handling",
    "panics",
    "unsafe code",
    "raw pointers",
    "slices",
    "strings",
    "vectors",
    "hash maps",
    "pattern matching",
    "enums",
    "structs",
    "methods",
    "operators",
    "smart pointers",
    "reference counting",
    "interior mutability",
    "threads",
    "channels",
    "mutexes",
    "atomics",
    "futures",
    "async functions",
    "streams",
    "tests",
    "benchmarks",
    "documentation",
    "examples",
    "features",
    "build scripts",
    "profiles",
    "dependencies",
    "versions",
    "publishing",
    "registries",
    "lints",
    "formatting",
    "editions",
    "the standard library",
    "the prelude",
    "constants",
    "statics",
    "type aliases",
    "never types",
    "foreign functions",
    "linking",
    "cross compilation",
    "targets",
    "the command line",
    "logging",
    "configuration",
    "installation",
    "release notes",
    "licences",
    "security",
    "performance",
    "memory layout",
    "alignment",
    "zero sized types",
];

const WORDINGS: &[&str] = &[
    "Explain {}",
    "What are {} and why do they matter?",
    "Write a README about {}.",
];

/// Temperatures, and repetition penalties with their windows.
const TEMPERATURES: &[f64] = &[0.0, 0.7];
const PENALTIES: &[(f64, usize)] = &[(1.0, 20), (1.05, 20), (1.1, 64)];

struct Asked {
    topic: &'static str,
    prompt: String,
    settings: SamplingSettings,
    name: String,
}

/// A generation as it is kept in a file, one JSON object a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generated {
    name: String,
    topic: String,
    prompt: String,
    text: String,
    /// Its tokens without the one that ended it, and the bytes of text each brought.
    ids: Vec<u32>,
    bytes: Vec<Range<usize>>,
    ended_itself: bool,
}

/// At most `most` documents, and a sentence on where they come from. They are read from `kept` if
/// there is such a file, and written there otherwise, so that a model need not write them again
/// when a detector has changed.
pub(super) fn documents(
    most: usize,
    kept: Option<&Path>,
) -> anyhow::Result<(Vec<Document>, String)> {
    let generated = match kept {
        Some(path) if path.exists() => read(path)?,
        Some(path) => {
            let generated = make(most)?;
            write(path, &generated)?;
            generated
        }
        None => make(most)?,
    };
    let mut documents = Vec::new();
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let count = generated.len().min(most);
    for generated in generated.into_iter().take(most) {
        let (outcome, document) = document(generated);
        *outcomes.entry(outcome).or_default() += 1;
        documents.extend(document);
    }
    let outcomes: Vec<String> = outcomes
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let told = format!(
        "{count} generations of {MODEL}, of at most {MOST_TOKENS} tokens each, in both halves together: {}",
        outcomes.join(", ")
    );
    Ok((documents, told))
}

fn read(path: &Path) -> anyhow::Result<Vec<Generated>> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let lines = text.lines().enumerate().map(|(line, text)| {
        let problem =
            |error: serde_json::Error| Explained::usage(format!("{name}:{}: {error}", line + 1));
        serde_json::from_str(text).map_err(problem)
    });
    lines.collect()
}

fn write(path: &Path, generated: &[Generated]) -> anyhow::Result<()> {
    let mut text = String::new();
    for generated in generated {
        text += &serde_json::to_string(generated)?;
        text.push('\n');
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Has the model write them.
fn make(most: usize) -> anyhow::Result<Vec<Generated>> {
    let options = EngineOptions::with_threads(available_threads());
    let engine = Engine::load(&models::find(MODEL)?, &options).map_err(Explained::target)?;
    let asked: Vec<Asked> = all().into_iter().take(most).collect();
    let mut generated = Vec::new();
    for asked in asked.chunks(TOGETHER) {
        let transcripts = generate(&engine, asked)?;
        generated.extend(
            asked
                .iter()
                .zip(transcripts)
                .map(|(asked, transcript)| taken(asked, transcript)),
        );
        note!("{} generations", generated.len());
    }
    Ok(generated)
}

/// Every combination, topics outermost, so that a smaller number has fewer topics.
fn all() -> Vec<Asked> {
    let mut all = Vec::new();
    for topic in TOPICS {
        for wording in WORDINGS {
            for temperature in TEMPERATURES {
                for (penalty, window) in PENALTIES {
                    let prompt = wording.replace("{}", topic);
                    all.push(Asked {
                        topic,
                        name: format!("generated/{prompt}/t{temperature}/p{penalty}"),
                        settings: SamplingSettings {
                            temperature: Some(*temperature),
                            repetition_penalty: Some(*penalty),
                            repetition_context_size: Some(*window),
                            seed: Some(all.len() as u64),
                            max_tokens: Some(MOST_TOKENS),
                            ..SamplingSettings::default()
                        },
                        prompt,
                    });
                }
            }
        }
    }
    all
}

/// Answers all at once, in their order.
fn generate(engine: &Engine, asked: &[Asked]) -> anyhow::Result<Vec<Transcript>> {
    let mut running = Vec::new();
    for asked in asked {
        let request = GenerateRequest {
            prompt: Prompt::Chat {
                messages: vec![Message::text(Role::User, &asked.prompt)],
                tools: Vec::new(),
                variables: Default::default(),
            },
            sampling: asked.settings.resolve().map_err(Explained::usage)?,
            top_logprobs: 0,
            constraint: None,
        };
        running.push(engine.submit(request));
    }
    running
        .into_iter()
        .map(|mut events| {
            let mut all = Vec::new();
            while let Some(event) = events.blocking_recv() {
                all.push(event.map_err(Explained::target)?);
            }
            Ok(Transcript::from_events(all)?)
        })
        .collect()
}

/// What is kept of a transcript.
fn taken(asked: &Asked, transcript: Transcript) -> Generated {
    let ended_itself = transcript.finish_reason != FinishReason::Length;
    let mut ids = transcript.token_ids();
    // The token that ends a text is not part of it.
    if ended_itself {
        ids.pop();
    }
    Generated {
        name: asked.name.clone(),
        topic: asked.topic.to_owned(),
        prompt: asked.prompt.clone(),
        bytes: (0..ids.len())
            .map(|at| transcript.text_range(at..at + 1))
            .collect(),
        ids,
        text: transcript.text,
        ended_itself,
    }
}

/// What a generation is, and its document unless that is unclear.
fn document(generated: Generated) -> (&'static str, Option<Document>) {
    let ids = &generated.ids;
    let (name, found) = match Outcome::of(ids, generated.ended_itself) {
        Outcome::Unclear => return ("unclear", None),
        Outcome::Healthy => ("healthy", None),
        Outcome::Looped(range, lag) => ("looped to their end", Some((range, lag))),
        Outcome::Recovered(range, lag) => ("looped and ended by themselves", Some((range, lag))),
    };
    let bytes = |tokens: Range<usize>| match generated.bytes.get(tokens) {
        Some([first, .., last]) => first.start..last.end,
        Some([only]) => only.clone(),
        _ => 0..0,
    };
    let label = found.map(|(range, lag)| Label {
        kind: Planted::Real,
        first_copy: bytes(range.start..range.start + lag).len(),
        bytes: bytes(range),
    });
    let pieces = ids.iter().zip(&generated.bytes);
    let document = Document {
        ending: match generated.ended_itself {
            true => Ending::Itself,
            false => Ending::CutOff,
        },
        pieces: pieces
            .map(|(&id, bytes)| Unit {
                id,
                bytes: bytes.clone(),
            })
            .collect(),
        source: format!("topic-{}", generated.topic),
        name: generated.name,
        stratum: Stratum::Generated,
        class: Class::Prose,
        prompt: Some(generated.prompt),
        text: generated.text,
        has_tokens: true,
        label,
    };
    (name, Some(document))
}
