//! Generations of the built-in model for the corpus: many topics, wordings, penalties and
//! temperatures, run to their end and labelled by the rules of [`Outcome`].

use std::collections::BTreeMap;

use anstream::eprintln as note;

use super::super::{available_threads, exit::Explained, models};
use crate::engine::{Engine, EngineOptions};
use crate::evaluation::{Class, Document, Label, Outcome, Planted, Stratum};
use crate::generation::{
    FinishReason, GenerateRequest, Message, Prompt, Role, SamplingSettings, Transcript,
};
use crate::loops::Unit;

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

/// At most `most` documents, and a sentence on where they come from.
pub(super) fn documents(most: usize) -> anyhow::Result<(Vec<Document>, String)> {
    let model = "builtin:readme";
    let options = EngineOptions::with_threads(available_threads());
    let engine = Engine::load(&models::find(model)?, &options).map_err(Explained::target)?;
    let asked: Vec<Asked> = all().into_iter().take(most).collect();
    let mut documents = Vec::new();
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for (wave, asked) in asked.chunks(TOGETHER).enumerate() {
        for (asked, transcript) in asked.iter().zip(generate(&engine, asked)?) {
            let (outcome, document) = document(asked, transcript);
            *outcomes.entry(outcome).or_default() += 1;
            documents.extend(document);
        }
        note!("{} generations", (wave * TOGETHER + asked.len()));
    }
    let outcomes: Vec<String> = outcomes
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let told = format!(
        "{} generations of {model}, of at most {MOST_TOKENS} tokens each, in both halves together: {}",
        asked.len(),
        outcomes.join(", ")
    );
    Ok((documents, told))
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

/// What a generation is, and its document unless that is unclear.
fn document(asked: &Asked, transcript: Transcript) -> (&'static str, Option<Document>) {
    let ended_itself = transcript.finish_reason != FinishReason::Length;
    let mut ids = transcript.token_ids();
    // The token that ends a text is not part of it.
    if ended_itself {
        ids.pop();
    }
    let pieces: Vec<Unit> = ids
        .iter()
        .enumerate()
        .map(|(at, &id)| Unit {
            id,
            bytes: transcript.text_range(at..at + 1),
        })
        .collect();
    let (name, found) = match Outcome::of(&ids, ended_itself) {
        Outcome::Unclear => return ("unclear", None),
        Outcome::Healthy => ("healthy", None),
        Outcome::Looped(range, lag) => ("looped to their end", Some((range, lag))),
        Outcome::Recovered(range, lag) => ("looped and ended by themselves", Some((range, lag))),
    };
    let label = found.map(|(range, lag)| {
        let start = transcript.text_range(range.start..range.start + lag);
        let whole = transcript.text_range(range);
        Label {
            kind: Planted::Real,
            first_copy: start.end - start.start,
            bytes: whole,
        }
    });
    let document = Document {
        name: asked.name.clone(),
        source: format!("topic-{}", asked.topic),
        stratum: Stratum::Generated,
        class: Class::Prose,
        prompt: Some(asked.prompt.clone()),
        text: transcript.text,
        pieces,
        has_tokens: true,
        label,
    };
    (name, Some(document))
}
