//! One list of cases for every backend that this build has: the tokens of mlx-lm 0.32.2 where
//! there are goldens of it, and the tokens of the cpu backend on the built-in model.
//!
//! `tests/goldens/README.md` says how the goldens were made, and with which versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

/// The README of the goldens derives this bound from two independent implementations.
const TOLERANCE: f32 = 1e-3;

/// Where a backend takes the other of two tokens whose log-probabilities differ by less than
/// [`TOLERANCE`]: backend, case, step. Nothing after such a step is compared.
const NEAR_TIES: &[(&str, &str, usize)] = &[];

#[derive(Debug, Deserialize)]
struct Goldens {
    entries: Vec<Case>,
}

/// A request and, if another implementation has answered it, that answer.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    checkpoint: String,
    prompt_ids: Vec<u32>,
    max_tokens: usize,
    sampling: Sampling,
    #[serde(default)]
    window: String,
    #[serde(flatten)]
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Deserialize)]
struct Sampling {
    temperature: f32,
    #[serde(default = "one")]
    top_p: f32,
    #[serde(default)]
    seed: u64,
    repetition_penalty: f32,
    repetition_context_size: usize,
    presence_penalty: f32,
    frequency_penalty: f32,
    logit_bias: BTreeMap<u32, f32>,
}

fn one() -> f32 {
    1.0
}

#[derive(Debug, Clone, Deserialize)]
struct Answer {
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    margins: Vec<f32>,
}

/// What `generate --json` prints.
#[derive(Deserialize)]
struct Printed {
    tokens: Vec<u32>,
    logprobs: PrintedLogprobs,
}

#[derive(Deserialize)]
struct PrintedLogprobs {
    chosen: Vec<f32>,
    margin: Vec<f32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// mlx-lm's answers.
fn recorded() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("goldens.json")).expect("the golden file");
    let goldens: Goldens = serde_json::from_str(&text).expect("goldens");
    goldens.entries
}

/// The built-in model, with every sampler and with prompts that outgrow a chunk of the prefill
/// and a step of a KV cache.
fn built_in() -> Vec<Case> {
    let greedy = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        seed: 0,
        repetition_penalty: 1.0,
        repetition_context_size: 20,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        logit_bias: BTreeMap::new(),
    };
    let penalised = Sampling {
        repetition_penalty: 1.1,
        presence_penalty: 0.2,
        frequency_penalty: 0.1,
        ..greedy.clone()
    };
    let drawn = Sampling {
        temperature: 0.7,
        top_p: 0.9,
        seed: 7,
        ..greedy.clone()
    };
    let mut cases = Vec::new();
    for (prompt, length) in [("one", 1), ("short", 24), ("long", 600)] {
        for (setting, sampling) in [
            ("greedy", &greedy),
            ("penalised", &penalised),
            ("drawn", &drawn),
        ] {
            cases.push(Case {
                name: format!("builtin/{prompt}/{setting}"),
                checkpoint: "builtin:readme".to_owned(),
                // Any ids will do, if they are not the same ones.
                prompt_ids: (1..=length).map(|i| 3 + i * i * 7 % 4000).collect(),
                max_tokens: 48,
                sampling: sampling.clone(),
                window: String::new(),
                answer: None,
            });
        }
    }
    cases
}

fn generate(case: &Case, backend: &str) -> Answer {
    let model = match case.checkpoint.starts_with("builtin:") {
        true => PathBuf::from(&case.checkpoint),
        false => folder().join(&case.checkpoint),
    };
    generate_with(case, &model, backend)
}

/// The same request to any checkpoint.
fn generate_with(case: &Case, model: &Path, backend: &str) -> Answer {
    let ids: Vec<String> = case.prompt_ids.iter().map(u32::to_string).collect();
    let sampling = &case.sampling;
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopwatch"));
    command
        .args(["generate", "--json", "--ignore-eos", "--backend", backend])
        .arg("--model")
        .arg(model)
        .args(["--prompt-ids", &ids.join(",")]);
    for (flag, value) in [
        ("--max-tokens", case.max_tokens.to_string()),
        ("--temperature", sampling.temperature.to_string()),
        ("--top-p", sampling.top_p.to_string()),
        ("--seed", sampling.seed.to_string()),
        (
            "--repetition-penalty",
            sampling.repetition_penalty.to_string(),
        ),
        (
            "--repetition-context-size",
            sampling.repetition_context_size.to_string(),
        ),
        (
            "--presence-context-size",
            sampling.repetition_context_size.to_string(),
        ),
        (
            "--frequency-context-size",
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
    // The window of mlx-lm's own path holds the prompt; that of the default profile does not.
    if case.window == "prompt+generated" {
        command.args(["--semantics", "mlx-lm-0.32.2"]);
    }
    for (id, bias) in &sampling.logit_bias {
        command.args(["--logit-bias", &format!("{id}={bias}")]);
    }
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{}: {output:?}", case.name);
    let printed: Printed = serde_json::from_slice(&output.stdout).expect("one JSON object");
    Answer {
        tokens: printed.tokens,
        logprobs: printed.logprobs.chosen,
        margins: printed.logprobs.margin,
    }
}

/// Tokens are equal up to a named near-tie, and the numbers are close as far as they are.
fn assert_same(backend: &str, case: &Case, ours: &Answer, theirs: &Answer) {
    let name = &case.name;
    let compared = ours
        .tokens
        .iter()
        .zip(&theirs.tokens)
        .position(|(ours, theirs)| ours != theirs)
        .unwrap_or(theirs.tokens.len());
    if compared < theirs.tokens.len() || ours.tokens.len() != theirs.tokens.len() {
        let margin = theirs.margins.get(compared);
        assert!(
            NEAR_TIES.contains(&(backend, name, compared))
                && margin.is_some_and(|margin| *margin < TOLERANCE),
            "{name} on {backend}: other tokens from step {compared} on, whose margin is \
             {margin:?}\n{:?}\n{:?}",
            ours.tokens,
            theirs.tokens
        );
    }
    for (what, ours, theirs) in [
        ("logprob", &ours.logprobs, &theirs.logprobs),
        ("margin", &ours.margins, &theirs.margins),
    ] {
        assert!(ours.len() >= compared && theirs.len() >= compared, "{name}");
        for (step, (ours, theirs)) in ours.iter().zip(theirs).take(compared).enumerate() {
            assert!(
                (ours - theirs).abs() < TOLERANCE,
                "{name} on {backend}: {what} {step} is {ours}, but {theirs} was expected"
            );
        }
    }
}

fn conforms(backend: &str) {
    let mut checkpoints = Vec::new();
    for case in recorded().into_iter().chain(built_in()) {
        let expected = match &case.answer {
            Some(answer) => answer.clone(),
            // It would be compared with itself.
            None if backend == "cpu" => continue,
            None => generate(&case, "cpu"),
        };
        assert_eq!(expected.tokens.len(), case.max_tokens, "{}", case.name);
        assert_same(backend, &case, &generate(&case, backend), &expected);
        checkpoints.push(case.checkpoint);
    }
    checkpoints.dedup();
    let mut expected = vec![
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
    ];
    expected.extend((backend != "cpu").then_some("builtin:readme"));
    assert_eq!(checkpoints, expected);
}

#[test]
fn the_cpu_backend_gives_the_tokens_of_mlx_lm() {
    conforms("cpu");
}

#[cfg(feature = "mlx")]
#[test]
fn the_mlx_backend_gives_the_tokens_of_mlx_lm_and_of_the_cpu_backend() {
    conforms("mlx");
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

    let mut cases = recorded();
    cases.retain(|case| case.checkpoint == checkpoint);
    // A cap on the logits keeps their order, so it shows in the log-probabilities alone.
    let differs = |case: &Case| {
        let recorded = case.answer.as_ref().expect("an answer");
        let answer = generate_with(case, copy.path(), "cpu");
        let mut logprobs = answer.logprobs.iter().zip(&recorded.logprobs);
        answer.tokens != recorded.tokens || logprobs.any(|(a, b)| (a - b).abs() > 10.0 * TOLERANCE)
    };
    assert!(
        cases.iter().any(differs),
        "no golden of {checkpoint} sees {field}"
    );
}

#[cfg(not(feature = "mlx"))]
#[test]
fn a_build_without_mlx_says_how_to_get_it() {
    let sandbox = crate::support::Sandbox::new();
    let ran = sandbox.run(&["generate", "--backend", "mlx", "--prompt", "x"]);
    let ran = ran.expect_code(2);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    ran.expect_stderr("this build has no mlx backend")
        .expect_stderr("use the cpu backend");
}
