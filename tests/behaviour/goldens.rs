//! The engine and the sampler against mlx-lm 0.32.2, token for token and bit for bit.
//!
//! `tests/goldens/README.md` says how the goldens were made, and with which versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use loopwatch::generation::SamplingSettings;
use loopwatch::sampling::{Penalties, min_p, top_k, top_p};
use rstest::rstest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

#[derive(Deserialize)]
struct File<T> {
    entries: Vec<T>,
}

fn entries<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let text = std::fs::read_to_string(folder().join(file)).expect("the golden file");
    let file: File<T> = serde_json::from_str(&text).expect("goldens");
    assert!(!file.entries.is_empty());
    file.entries
}

#[derive(Deserialize)]
struct Run {
    name: String,
    checkpoint: String,
    prompt_ids: Vec<u32>,
    max_tokens: usize,
    sampling: Sampling,
    window: String,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    margins: Vec<f32>,
}

#[derive(Deserialize)]
struct Sampling {
    temperature: f32,
    repetition_penalty: f32,
    repetition_context_size: usize,
    presence_penalty: f32,
    frequency_penalty: f32,
    logit_bias: BTreeMap<u32, f32>,
}

#[derive(Deserialize)]
struct Answer {
    tokens: Vec<u32>,
    logprobs: Logprobs,
}

#[derive(Deserialize)]
struct Logprobs {
    chosen: Vec<f32>,
    margin: Vec<f32>,
}

fn generate(run: &Run) -> Answer {
    generate_with(run, &folder().join(&run.checkpoint))
}

/// The same run on any checkpoint.
fn generate_with(run: &Run, checkpoint: &Path) -> Answer {
    let ids: Vec<String> = run.prompt_ids.iter().map(u32::to_string).collect();
    let sampling = &run.sampling;
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopwatch"));
    command
        .args(["generate", "--json", "--model"])
        .arg(checkpoint)
        .args(["--prompt-ids", &ids.join(",")]);
    for (flag, value) in [
        ("--max-tokens", run.max_tokens.to_string()),
        ("--temperature", sampling.temperature.to_string()),
        (
            "--repetition-penalty",
            sampling.repetition_penalty.to_string(),
        ),
        (
            "--repetition-context-size",
            sampling.repetition_context_size.to_string(),
        ),
        ("--presence-penalty", sampling.presence_penalty.to_string()),
        (
            "--frequency-penalty",
            sampling.frequency_penalty.to_string(),
        ),
    ] {
        command.args([flag, &value]);
    }
    for (id, bias) in &sampling.logit_bias {
        command.args(["--logit-bias", &format!("{id}={bias}")]);
    }
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{}: {output:?}", run.name);
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// The README of the goldens derives this bound from two independent implementations.
const TOLERANCE: f32 = 1e-3;

fn assert_close(name: &str, what: &str, ours: &[f32], theirs: &[f32]) {
    for (step, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            (ours - theirs).abs() < TOLERANCE,
            "{name}: {what} {step} is {ours}, mlx-lm has {theirs}"
        );
    }
}

#[test]
fn greedy_runs_give_the_tokens_of_mlx_lm() {
    let mut checkpoints = Vec::new();
    for run in entries::<Run>("goldens.json") {
        // The window of mlx-lm's sequential path holds the prompt; ours does not, on purpose.
        if run.window != "generated" {
            continue;
        }
        let answer = generate(&run);
        assert_eq!(answer.tokens, run.tokens, "{}", run.name);
        assert_close(&run.name, "logprob", &answer.logprobs.chosen, &run.logprobs);
        assert_close(&run.name, "margin", &answer.logprobs.margin, &run.margins);
        checkpoints.push(run.checkpoint);
    }
    checkpoints.dedup();
    assert_eq!(
        checkpoints,
        [
            "llama-f32",
            "qwen2-4bit",
            "qwen3-8bit",
            "llama-f16-sharded",
            "llama-bf16",
            "llama-3bit",
            "qwen2-6bit-bf16",
            "llama-mxfp4",
            "qwen3-nvfp4",
            "llama-mxfp8",
            "llama-mixed",
            "llama-rope-llama3",
            "llama-rope-linear",
            "llama-rope-traditional",
            "llama-rope-dynamic",
            "llama-rope-yarn",
            "llama-rope-longrope",
            "mistral-sliding",
            "gemma2-bf16",
            "gemma3-text-bf16",
            "gemma3-nested-8bit",
            "phi3-bf16",
            "phi3-longrope-4bit",
        ]
    );
}

/// Takes out, in a copy of a checkpoint, the feature that it is a golden for.
#[rstest]
#[case("llama-rope-llama3", "/rope_scaling", json!(null))]
#[case("llama-rope-linear", "/rope_scaling", json!(null))]
#[case("llama-rope-longrope", "/rope_scaling", json!(null))]
#[case("llama-rope-longrope", "/max_position_embeddings", json!(64))]
#[case("llama-rope-yarn", "/rope_scaling", json!(null))]
#[case("llama-rope-yarn", "/rope_scaling/mscale_all_dim", json!(1.0))]
#[case("llama-rope-traditional", "/rope_traditional", json!(false))]
#[case("mistral-sliding", "/layer_types", json!(null))]
#[case("mistral-sliding", "/sliding_window", json!(17))]
#[case("gemma2-bf16", "/attn_logit_softcapping", json!(1e6))]
#[case("gemma2-bf16", "/final_logit_softcapping", json!(30.0))]
#[case("gemma2-bf16", "/query_pre_attn_scalar", json!(5))]
#[case("gemma3-text-bf16", "/sliding_window", json!(7))]
#[case("gemma3-text-bf16", "/sliding_window_pattern", json!(2))]
#[case("gemma3-text-bf16", "/rope_local_base_freq", json!(1e6))]
#[case("gemma3-text-bf16", "/rope_scaling", json!(null))]
#[case("gemma3-nested-8bit", "/text_config/sliding_window", json!(7))]
#[case("phi3-bf16", "/partial_rotary_factor", json!(1.0))]
#[case("phi3-longrope-4bit", "/rope_scaling", json!(null))]
#[case("phi3-longrope-4bit", "/original_max_position_embeddings", json!(300))]
fn a_golden_fails_without_what_it_is_for(
    #[case] checkpoint: &str,
    #[case] field: &str,
    #[case] value: Value,
) {
    let copy = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "model.safetensors"] {
        let from = folder().join(checkpoint).join(file);
        std::fs::copy(from, copy.path().join(file)).expect("copied");
    }
    let path = copy.path().join("config.json");
    let text = std::fs::read_to_string(&path).expect("a config");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    let (parent, name) = field.rsplit_once('/').expect("a pointer");
    config.pointer_mut(parent).expect("a field")[name] = value;
    std::fs::write(&path, config.to_string()).expect("written");

    let runs = entries::<Run>("goldens.json");
    let mut runs = runs.iter().filter(|run| run.checkpoint == checkpoint);
    // A cap on the logits keeps their order, so it shows in the log-probabilities alone.
    let differs = |run: &Run| {
        let answer = generate_with(run, copy.path());
        let mut logprobs = answer.logprobs.chosen.iter().zip(&run.logprobs);
        answer.tokens != run.tokens || logprobs.any(|(a, b)| (a - b).abs() > 10.0 * TOLERANCE)
    };
    assert!(runs.any(differs), "no golden of {checkpoint} sees {field}");
}

#[derive(Deserialize)]
struct Processed {
    name: String,
    arguments: Arguments,
    history: Vec<u32>,
    logits: Vec<f32>,
    output: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    logit_bias: Option<BTreeMap<u32, f32>>,
    repetition_penalty: Option<f32>,
    repetition_context_size: Option<usize>,
    presence_penalty: Option<f32>,
    presence_context_size: Option<usize>,
    frequency_penalty: Option<f32>,
    frequency_context_size: Option<usize>,
}

impl Arguments {
    /// Our settings with the same meaning; `None` where mlx-lm has a window per penalty and they
    /// differ, which our single window cannot say.
    fn settings(self) -> Option<SamplingSettings> {
        let windows = [
            (self.repetition_penalty, self.repetition_context_size),
            (self.presence_penalty, self.presence_context_size),
            (self.frequency_penalty, self.frequency_context_size),
        ];
        let mut installed: Vec<usize> = windows
            .iter()
            .filter(|(penalty, _)| penalty.is_some())
            .map(|(_, window)| window.unwrap_or(20))
            .collect();
        installed.dedup();
        (installed.len() <= 1).then(|| SamplingSettings {
            repetition_penalty: Some(self.repetition_penalty.unwrap_or(1.0)),
            repetition_context_size: Some(installed.first().copied().unwrap_or(20)),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias,
            ..Default::default()
        })
    }
}

#[test]
fn penalties_give_the_bits_of_mlx_lm() {
    let mut compared = 0;
    for mut entry in entries::<Processed>("processors.json") {
        let Some(settings) = entry.arguments.settings() else {
            continue;
        };
        let params = settings.resolve().expect("in range");
        Penalties::new(&params, &[]).apply(&entry.history, &mut entry.logits);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&entry.logits), bits(&entry.output), "{}", entry.name);
        compared += 1;
    }
    assert!(compared >= 45, "{compared} entries");
}

#[derive(Deserialize)]
struct Filtered {
    name: String,
    parameters: Filters,
    tie: String,
    logprobs: Vec<f32>,
    survivors: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filters {
    top_p: Option<f32>,
    min_p: Option<f32>,
    top_k: Option<usize>,
}

#[test]
fn filters_keep_the_tokens_that_mlx_lm_keeps() {
    for entry in entries::<Filtered>("filters.json") {
        let mut logprobs = entry.logprobs.clone();
        if let Some(p) = entry.parameters.top_p {
            top_p(&mut logprobs, p);
        }
        if let Some(p) = entry.parameters.min_p {
            min_p(&mut logprobs, p);
        }
        if let Some(k) = entry.parameters.top_k {
            top_k(&mut logprobs, k);
        }
        let kept: Vec<usize> = (0..logprobs.len())
            .filter(|id| logprobs[*id].is_finite())
            .collect();
        if entry.tie == "implementation-defined" {
            // Which of equally likely tokens top_k cuts is left open; how many, and how likely
            // they are, is not.
            let values = |ids: &[usize]| {
                let mut values: Vec<f32> = ids.iter().map(|id| entry.logprobs[*id]).collect();
                values.sort_by(f32::total_cmp);
                values
            };
            assert_eq!(values(&kept), values(&entry.survivors), "{}", entry.name);
        } else {
            assert_eq!(kept, entry.survivors, "{}", entry.name);
        }
    }
}
