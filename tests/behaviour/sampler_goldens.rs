//! The sampler against mlx-lm: every one of 10,000 tokens for each setting, and how long the
//! scripted loop of each version lasts.
//!
//! `tests/goldens/README.md` says how the goldens were made, and with which versions.

use std::path::Path;

use loopwatch::generation::{SamplingSettings, Semantics};
use loopwatch::sampling::{Sampler, Sequence};
use rayon::prelude::*;
use rstest::rstest;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct File {
    seed: u64,
    draws: usize,
    block: usize,
    rows: u32,
    xtc_exempt: Vec<u32>,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    vocab: u32,
    logits: String,
    sampling: SamplingSettings,
    /// The first of the tokens.
    tokens: Vec<u32>,
    /// Log-probabilities of the first few.
    logprobs: Vec<f32>,
    /// Eight hexadecimal digits for each block of tokens.
    blocks: String,
}

fn read(version: &str) -> File {
    let name = format!("tests/goldens/sampler-mlx-lm-{version}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(path).expect("the golden file");
    serde_json::from_str(&text).expect("goldens")
}

fn mixed(mut word: u32) -> u32 {
    word ^= word >> 16;
    word = word.wrapping_mul(0x85eb_ca6b);
    word ^= word >> 13;
    word = word.wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

/// The formula of `make_sampler_goldens.py`, in integers but for the last division, which is exact.
fn logits(row: u32, vocab: u32, shape: &str) -> Vec<f32> {
    let logit = |id: u32| {
        let word = mixed(id.wrapping_add(row.wrapping_mul(0x9e37_79b1)));
        if shape == "ties" {
            return (word % 9) as f32 / 4.0;
        }
        let total: i32 = word.to_le_bytes().into_iter().map(i32::from).sum();
        let lift = if mixed(word).is_multiple_of(64) {
            700
        } else {
            0
        };
        let fine = (mixed(word.wrapping_add(1)) & 0x3ff) as i32;
        ((total - 510 + lift) * 1024 + fine) as f32 / 131_072.0
    };
    (0..vocab).map(logit).collect()
}

impl Entry {
    /// Draws the tokens again and compares all of them.
    fn check(&self, file: &File, semantics: Semantics) {
        let settings = SamplingSettings {
            semantics: Some(semantics),
            seed: Some(file.seed),
            repetition_penalty: self.sampling.repetition_penalty.or(Some(1.0)),
            ..self.sampling.clone()
        };
        let sequence = Sequence {
            newline: &file.xtc_exempt,
            ..Sequence::default()
        };
        let mut sampler = Sampler::new(&settings.resolve().expect("in range"), &sequence);
        let rows: Vec<Vec<f32>> = (0..file.rows)
            .map(|row| logits(row, self.vocab, &self.logits))
            .collect();
        let drawn: Vec<(u32, f32)> = (0..file.draws)
            .map(|step| {
                let token = sampler.sample(&mut rows[step % rows.len()].clone(), 0);
                (token.id, token.logprob)
            })
            .collect();
        let ids: Vec<u32> = drawn.iter().map(|(id, _)| *id).collect();
        for (step, (ours, theirs)) in ids.iter().zip(&self.tokens).enumerate() {
            assert_eq!(ours, theirs, "{} under {semantics}: draw {step}", self.name);
        }
        for (step, (drawn, theirs)) in drawn.iter().zip(&self.logprobs).enumerate() {
            let (ours, theirs) = (drawn.1.to_bits(), theirs.to_bits());
            assert_eq!(ours, theirs, "{}: log-probability {step}", self.name);
        }
        let digests: Vec<String> = ids.chunks(file.block).map(digest).collect();
        for (block, digest) in digests.iter().enumerate() {
            let theirs = &self.blocks[8 * block..8 * (block + 1)];
            let from = block * file.block;
            assert_eq!(digest, theirs, "{}: draws from {from}", self.name);
        }
        assert_eq!(digests.len() * 8, self.blocks.len());
    }
}

fn digest(block: &[u32]) -> String {
    let bytes: Vec<u8> = block.iter().flat_map(|id| id.to_le_bytes()).collect();
    let hash = Sha256::digest(bytes);
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[rstest]
#[case("0.28.3", Semantics::MlxLm0_28_3, 18)]
#[case("0.31.3", Semantics::MlxLm0_31_3, 20)]
#[case("0.32.2", Semantics::MlxLm0_32_2, 20)]
// Without a prompt and an end of sequence, ours is mlx-lm 0.32.2 to the bit.
#[case("0.32.2", Semantics::Loopwatch, 20)]
fn ten_thousand_draws_are_those_of_mlx_lm(
    #[case] version: &str,
    #[case] semantics: Semantics,
    #[case] settings: usize,
) {
    let file = read(version);
    assert_eq!((file.draws, file.entries.len()), (10_000, settings));
    file.entries
        .par_iter()
        .for_each(|entry| entry.check(&file, semantics));
}
