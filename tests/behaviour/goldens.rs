//! The sampler against mlx-lm 0.32.2, bit for bit. The engine is in `conformance.rs`.
//!
//! `tests/goldens/README.md` says how the goldens were made, and with which versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loopwatch::generation::{SamplingSettings, Semantics};
use loopwatch::sampling::{Penalties, min_p, top_k, top_p};
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
    repetition_penalty: Option<f64>,
    repetition_context_size: Option<usize>,
    presence_penalty: Option<f64>,
    presence_context_size: Option<usize>,
    frequency_penalty: Option<f64>,
    frequency_context_size: Option<usize>,
}

impl Arguments {
    fn settings(self) -> SamplingSettings {
        SamplingSettings {
            repetition_penalty: self.repetition_penalty.or(Some(1.0)),
            repetition_context_size: self.repetition_context_size,
            presence_penalty: self.presence_penalty,
            presence_context_size: self.presence_context_size,
            frequency_penalty: self.frequency_penalty,
            frequency_context_size: self.frequency_context_size,
            logit_bias: self.logit_bias,
            ..Default::default()
        }
    }
}

#[test]
fn penalties_give_the_bits_of_mlx_lm() {
    for mut entry in entries::<Processed>("processors.json") {
        let params = entry.arguments.settings().resolve().expect("in range");
        Penalties::new(&params, &[]).apply(&entry.history, &mut entry.logits);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&entry.logits), bits(&entry.output), "{}", entry.name);
    }
}

#[derive(Deserialize)]
struct Filtered {
    name: String,
    parameters: Filters,
    logprobs: Vec<f32>,
    survivors: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filters {
    top_p: Option<f64>,
    min_p: Option<f64>,
    top_k: Option<usize>,
}

#[test]
fn filters_keep_the_tokens_that_mlx_lm_keeps() {
    let profile = Semantics::MlxLm0_32_2.profile();
    for entry in entries::<Filtered>("filters.json") {
        let mut logprobs = entry.logprobs.clone();
        if let Some(p) = entry.parameters.top_p.filter(|p| *p < 1.0) {
            top_p(&mut logprobs, p, profile);
        }
        if let Some(p) = entry.parameters.min_p {
            min_p(&mut logprobs, p, profile.constants);
        }
        if let Some(k) = entry.parameters.top_k {
            top_k(&mut logprobs, k);
        }
        let kept: Vec<usize> = (0..logprobs.len())
            .filter(|id| logprobs[*id].is_finite())
            .collect();
        assert_eq!(kept, entry.survivors, "{}", entry.name);
    }
}
