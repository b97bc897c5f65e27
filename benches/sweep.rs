//! A sweep, decoded together and one point after the other: what sharing is worth, and proof that
//! it changes no token.
//!
//! `cargo bench --bench sweep` runs all points; `cargo bench --bench sweep -- --every 8` runs
//! every eighth one alone and extrapolates.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on should stop, and one that has an answer prints it"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::future::join_all;
use loopwatch::backend::Precision;
use loopwatch::engine::{Counters, Engine, EngineOptions, Events};
use loopwatch::generation::{
    GenerateRequest, Message, Prompt, Role, SamplingSettings, TemplateVariables, ToolCall,
    ToolSpec, Transcript,
};
use loopwatch::model::ModelRef;
use serde_json::json;

/// Tokens of each answer.
const TOKENS: usize = 160;

const TITLES: [&str; 8] = [
    "Building Rust programs",
    "Moved and copied types",
    "Configuration",
    "Reading files line by line",
    "The new edition",
    "Error handling",
    "Traits and generics",
    "Running the tests",
];

const FILES: [&str; 8] = [
    "README.md",
    "docs/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/guide.md",
    "docs/install.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
];

#[derive(Debug, Parser)]
struct Options {
    /// Run only every N-th point alone, and extrapolate
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Most requests decoded together
    #[arg(long, default_value_t = EngineOptions::default().max_batch)]
    batch: usize,
    /// Threads of the engine
    #[arg(long, default_value_t = EngineOptions::default().threads)]
    threads: usize,
    /// exact or fast
    #[arg(long, default_value = "exact", value_parser = precision)]
    precision: Precision,
    /// Only the points of the first N prompts
    #[arg(long, default_value_t = 16)]
    prompts: usize,
    /// How often the sweep is run together; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Run nothing one by one
    #[arg(long)]
    together_only: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn precision(name: &str) -> Result<Precision, String> {
    Precision::parse(name).ok_or_else(|| "there are exact and fast".to_owned())
}

fn chat(messages: Vec<Message>, tools: Vec<ToolSpec>) -> Prompt {
    Prompt::Chat {
        messages,
        tools,
        variables: TemplateVariables::default(),
    }
}

fn explain(title: &str) -> Prompt {
    let user = format!("Explain {title}");
    chat(vec![Message::text(Role::User, &user)], Vec::new())
}

/// The second generation of "read it and summarise": the tool has been called, and has answered.
fn summarise(file: &str) -> Prompt {
    let properties = json!({"file_path": {"type": "string"}});
    let read = ToolSpec {
        name: "Read".to_owned(),
        description: "Read a file".to_owned(),
        parameters: json!({"type": "object", "properties": properties, "required": ["file_path"]}),
    };
    let arguments = json!({ "file_path": file });
    let call = ToolCall {
        id: None,
        name: "Read".to_owned(),
        arguments: arguments.as_object().cloned().unwrap_or_default(),
    };
    let document = include_str!("../scenarios/fixtures/anstyle.md");
    let called = Message {
        tool_calls: vec![call],
        ..Message::text(Role::Assistant, "")
    };
    let messages = vec![
        Message::text(Role::User, format!("read {file} and summarise")),
        called,
        Message::text(Role::Tool, format!("{document}\n\n{file}")),
    ];
    chat(messages, vec![read])
}

/// 16 prompts × 32 settings: penalty × window, half of them greedy and half sampled.
fn points() -> Vec<GenerateRequest> {
    let prompts = TITLES.map(explain).into_iter().chain(FILES.map(summarise));
    let mut points = Vec::new();
    for prompt in prompts {
        for penalty in [1.0, 1.05, 1.1, 1.2] {
            for window in [10, 20, 40, 64] {
                for temperature in [0.0, 0.8] {
                    let sampling = SamplingSettings {
                        temperature: Some(temperature),
                        seed: Some(7),
                        repetition_penalty: Some(penalty),
                        repetition_context_size: Some(window),
                        max_tokens: Some(TOKENS),
                        ignore_eos: Some(true),
                        ..SamplingSettings::default()
                    };
                    points.push(GenerateRequest {
                        prompt: prompt.clone(),
                        sampling: sampling.resolve().expect("in range"),
                        top_logprobs: 0,
                        constraint: None,
                    });
                }
            }
        }
    }
    points
}

async fn collect(mut events: Events) -> Transcript {
    let mut seen = Vec::new();
    while let Some(event) = events.recv().await {
        seen.push(event.expect("generates"));
    }
    Transcript::from_events(seen).expect("complete")
}

fn engine(options: EngineOptions) -> Engine {
    Engine::load(&ModelRef::parse("builtin:readme"), &options).expect("loads")
}

fn alone(options: &Options) -> EngineOptions {
    EngineOptions {
        precision: options.precision,
        most_wait: EngineOptions::WHOLE,
        ..EngineOptions::with_threads(options.threads)
    }
}

fn timed<T>(body: impl Future<Output = T>) -> (T, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let start = Instant::now();
    let value = runtime.block_on(body);
    (value, start.elapsed())
}

/// All points at once, on a fresh engine.
fn together(
    points: &[GenerateRequest],
    options: &Options,
) -> (Vec<Transcript>, Duration, Counters) {
    let engine = engine(EngineOptions {
        max_batch: options.batch,
        ..alone(options)
    });
    let answers = points
        .iter()
        .map(|point| collect(engine.submit(point.clone())));
    let (answers, took) = timed(join_all(answers));
    (answers, took, engine.counters())
}

/// Each point after the one before, on a fresh engine that remembers prompts up to a bound.
fn one_by_one<'a>(
    points: impl Iterator<Item = &'a GenerateRequest>,
    prefix_cache_bytes: usize,
    options: &Options,
) -> (Vec<Transcript>, Duration) {
    let engine = engine(EngineOptions {
        prefix_cache_bytes,
        ..alone(options)
    });
    timed(async {
        let mut answers = Vec::new();
        for point in points {
            answers.push(collect(engine.submit(point.clone())).await);
        }
        answers
    })
}

/// Every bit of an answer: ids, log-probabilities and margins.
fn bits(answer: &Transcript) -> Vec<[u32; 3]> {
    let tokens = answer.tokens.iter();
    tokens
        .map(|token| [token.id, token.logprob.to_bits(), token.margin.to_bits()])
        .collect()
}

fn report(what: &str, tokens: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    println!(
        "{what:<34} {seconds:8.2} s  {:8.0} tokens/s",
        tokens as f64 / seconds
    );
}

/// Fails unless each prompt was computed once and then shared by all its points.
fn prefill(answers: &[Transcript], per_prompt: usize) {
    let (mut asked, mut computed) = (0, 0);
    for group in answers.chunks(per_prompt) {
        asked += group.iter().map(|a| a.usage.input_tokens).sum::<usize>();
        computed += group
            .iter()
            .map(|a| a.usage.computed_tokens())
            .sum::<usize>();
        // The last token of a prompt is computed for its logits, whatever is known of it.
        let full = group
            .iter()
            .filter(|a| a.usage.computed_tokens() > 1)
            .count();
        assert_eq!(full, 1, "a prompt was computed {full} times");
    }
    println!("prompt tokens asked for: {asked}, computed: {computed}; each prompt once");
}

fn main() {
    let options = Options::parse();
    let mut points = points();
    points.truncate(options.prompts * points.len() / (TITLES.len() + FILES.len()));
    let distinct: BTreeSet<String> = points.iter().map(|p| format!("{:?}", p.prompt)).collect();
    println!(
        "{} settings x {} prompts x {TOKENS} tokens, batches of {}",
        points.len() / distinct.len(),
        distinct.len(),
        options.batch
    );
    let mut rounds: Vec<_> = (0..options.rounds.max(1))
        .map(|_| together(&points, &options))
        .collect();
    rounds.sort_by_key(|(_, took, _)| *took);
    for (_, took, _) in &rounds {
        report("together", points.len() * TOKENS, *took);
    }
    let (shared, took, counters) = rounds.swap_remove(rounds.len() / 2);
    prefill(&shared, points.len() / distinct.len());
    println!(
        "tokens sampled: {}, computed for them and their prompts: {}, in {} passes",
        counters.sampled_tokens, counters.computed_tokens, counters.passes
    );
    if options.together_only {
        return;
    }
    for (what, cache) in [
        ("one by one", 0),
        ("one by one, prompts remembered", 256 << 20),
    ] {
        let every = options.every.max(1);
        let (alone, alone_took) = one_by_one(points.iter().step_by(every), cache, &options);
        for (index, (alone, shared)) in alone.iter().zip(shared.iter().step_by(every)).enumerate() {
            assert_eq!(bits(alone), bits(shared), "point {}", index * every);
        }
        let scaled = alone_took.mul_f64(points.len() as f64 / alone.len() as f64);
        report(what, points.len() * TOKENS, scaled);
        if every > 1 {
            println!("    ({} points measured, extrapolated)", alone.len());
        }
        println!(
            "    {:.1} times as long as together; all {} answers have the same bits",
            scaled.as_secs_f64() / took.as_secs_f64(),
            alone.len()
        );
    }
}
