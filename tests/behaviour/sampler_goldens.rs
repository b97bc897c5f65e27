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
use serde::de::DeserializeOwned;
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

fn read<T: DeserializeOwned>(name: &str) -> T {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let path = folder.join(name);
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
#[case("0.28.3", Semantics::MlxLm0_28_3, 17)]
#[case("0.31.3", Semantics::MlxLm0_31_3, 20)]
#[case("0.32.2", Semantics::MlxLm0_32_2, 20)]
// Without a prompt and an end of sequence, ours is mlx-lm 0.32.2 to the bit.
#[case("0.32.2", Semantics::Loopwatch, 20)]
fn ten_thousand_draws_are_those_of_mlx_lm(
    #[case] version: &str,
    #[case] semantics: Semantics,
    #[case] settings: usize,
) {
    let file: File = read(&format!("sampler-mlx-lm-{version}.json"));
    assert_eq!((file.draws, file.entries.len()), (10_000, settings));
    file.entries
        .par_iter()
        .for_each(|entry| entry.check(&file, semantics));
}

/// Answers of a model that repeats a loop of `period` tokens for ever, with the end of sequence
/// close behind: its logit is 0.97 of the loop's, so a penalty above 1.031 lets it win.
struct ScriptedLoop {
    period: u32,
    seed: Option<u64>,
    /// How much of the prompt came from a cache.
    cached: usize,
}

const MOST: usize = 200;
/// `<|im_end|>` of a chat template: the model's end of sequence.
const END: u32 = 100;

/// A prompt as a chat template writes it: the end of the user's turn is the ninth token from its
/// end, as in the prompts of the recorded table.
fn chat_prompt() -> Vec<u32> {
    let mut prompt: Vec<u32> = (101..141).collect();
    prompt[11] = END;
    prompt[40 - 9] = END;
    prompt
}

impl ScriptedLoop {
    fn unseeded(period: u32) -> Self {
        Self {
            period,
            seed: None,
            cached: 0,
        }
    }

    /// Generated tokens, the end included; 200 is never.
    fn length(&self, semantics: Semantics, penalty: Option<f64>, context_size: usize) -> usize {
        let settings = SamplingSettings {
            semantics: Some(semantics),
            seed: self.seed,
            repetition_penalty: penalty,
            repetition_context_size: Some(context_size),
            ..SamplingSettings::default()
        };
        let prompt = chat_prompt();
        let sequence = Sequence {
            prompt: &prompt,
            cached: self.cached,
            eos: &[END],
            ..Sequence::default()
        };
        let mut sampler = Sampler::new(&settings.resolve().expect("in range"), &sequence);
        for generated in 0..MOST {
            let mut logits = vec![0.0; 160];
            logits[generated % self.period as usize] = 10.0;
            logits[END as usize] = 9.7;
            if sampler.sample(&mut logits, 0).id == END {
                return generated + 1;
            }
        }
        MOST
    }
}

#[derive(Deserialize)]
struct Loops {
    prompt: Vec<u32>,
    entries: Vec<Cell>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cell {
    seeded: bool,
    cached: usize,
    period: u32,
    repetition_penalty: f64,
    repetition_context_size: usize,
    tokens: usize,
}

/// Each version of mlx-lm generated from the same scripted loop, on both of its paths.
#[rstest]
#[case("0.28.3", Semantics::MlxLm0_28_3, 108)]
#[case("0.31.3", Semantics::MlxLm0_31_3, 162)]
#[case("0.32.2", Semantics::MlxLm0_32_2, 162)]
fn loops_last_as_long_as_mlx_lm_made_them(
    #[case] version: &str,
    #[case] semantics: Semantics,
    #[case] cells: usize,
) {
    let loops: Loops = read(&format!("loops-mlx-lm-{version}.json"));
    assert_eq!(loops.prompt, chat_prompt());
    assert_eq!(loops.entries.len(), cells);
    for cell in loops.entries {
        let scripted = ScriptedLoop {
            period: cell.period,
            seed: cell.seeded.then_some(0),
            cached: cell.cached,
        };
        let (penalty, size) = (cell.repetition_penalty, cell.repetition_context_size);
        assert_eq!(
            scripted.length(semantics, Some(penalty), size),
            cell.tokens,
            "period {}, penalty {penalty}, window {size}, seeded {}, cached {}",
            cell.period,
            cell.seeded,
            cell.cached
        );
    }
}

/// The table was recorded with the servers of mlx-lm; the columns are a window of 20, 64 and 0.
#[rstest]
// Without a seed, 0.31.3 and 0.32.2 look at the whole prompt, so the end is penalised with it.
#[case(Semantics::MlxLm0_32_2, 1, [13, 57, 200])]
#[case(Semantics::MlxLm0_32_2, 5, [13, 57, 200])]
#[case(Semantics::MlxLm0_32_2, 19, [20, 57, 200])]
#[case(Semantics::MlxLm0_32_2, 20, [21, 57, 200])]
#[case(Semantics::MlxLm0_32_2, 21, [200, 57, 200])]
#[case(Semantics::MlxLm0_32_2, 30, [200, 57, 200])]
#[case(Semantics::MlxLm0_31_3, 1, [13, 57, 200])]
#[case(Semantics::MlxLm0_31_3, 5, [13, 57, 200])]
#[case(Semantics::MlxLm0_31_3, 19, [20, 57, 200])]
#[case(Semantics::MlxLm0_31_3, 20, [21, 57, 200])]
#[case(Semantics::MlxLm0_31_3, 21, [200, 57, 200])]
#[case(Semantics::MlxLm0_31_3, 30, [200, 57, 200])]
#[case(Semantics::MlxLm0_28_3, 1, [2, 2, 2])]
#[case(Semantics::MlxLm0_28_3, 5, [6, 6, 6])]
#[case(Semantics::MlxLm0_28_3, 19, [20, 20, 20])]
#[case(Semantics::MlxLm0_28_3, 20, [21, 21, 21])]
#[case(Semantics::MlxLm0_28_3, 21, [200, 22, 22])]
#[case(Semantics::MlxLm0_28_3, 30, [200, 31, 31])]
// Ours never penalises the end, so a loop lasts one period, if the window holds one.
#[case(Semantics::Loopwatch, 1, [2, 2, 2])]
#[case(Semantics::Loopwatch, 5, [6, 6, 6])]
#[case(Semantics::Loopwatch, 19, [20, 20, 20])]
#[case(Semantics::Loopwatch, 20, [21, 21, 21])]
#[case(Semantics::Loopwatch, 21, [200, 22, 22])]
#[case(Semantics::Loopwatch, 30, [200, 31, 31])]
fn the_scripted_loop_lasts_as_long_as_under_each_version(
    #[case] semantics: Semantics,
    #[case] period: u32,
    #[case] with_penalty: [usize; 3],
) {
    let scripted = ScriptedLoop::unseeded(period);
    let lengths = [20, 64, 0].map(|size| scripted.length(semantics, Some(1.05), size));
    assert_eq!(lengths, with_penalty);
    for weak in [1.0, 1.03] {
        for size in [20, 64, 0] {
            assert_eq!(scripted.length(semantics, Some(weak), size), MOST);
        }
    }
    // Nobody sets a penalty: off in mlx-lm, 1.05 in ours.
    let by_default = match semantics {
        Semantics::Loopwatch => with_penalty,
        _ => [MOST; 3],
    };
    let lengths = [20, 64, 0].map(|size| scripted.length(semantics, None, size));
    assert_eq!(lengths, by_default);
}

/// A seed takes mlx-lm's server off its batched path: 0.31.3 then shows the processors only the
/// last prompt token, and 0.32.2 the part of the prompt that no cache had.
#[rstest]
#[case(Semantics::MlxLm0_31_3, 0, [2, 2, 2])]
#[case(Semantics::MlxLm0_32_2, 0, [13, 57, 200])]
#[case(Semantics::MlxLm0_32_2, 39, [2, 2, 2])]
#[case(Semantics::Loopwatch, 0, [2, 2, 2])]
#[case(Semantics::Loopwatch, 39, [2, 2, 2])]
fn a_seed_and_a_cached_prompt_change_the_window(
    #[case] semantics: Semantics,
    #[case] cached: usize,
    #[case] expected: [usize; 3],
) {
    let scripted = ScriptedLoop {
        period: 1,
        seed: Some(7),
        cached,
    };
    let lengths = [20, 64, 0].map(|size| scripted.length(semantics, Some(1.05), size));
    assert_eq!(lengths, expected);
}
