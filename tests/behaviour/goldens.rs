//! The sampler against mlx-lm 0.32.2, bit for bit. The engine is in `conformance.rs`.
//!
//! `tests/goldens/README.md` says how the goldens were made, and with which versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loopwatch::generation::SamplingSettings;
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
