//! From logits to a token: each step of the sampler alone, and the whole chain, for the
//! vocabulary of the built-in model and for a large one.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot go on should stop"
)]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use loopwatch::generation::{SamplingParams, SamplingSettings, Semantics};
use loopwatch::sampling::{Penalties, Rng, Sampler, Sequence, min_p, top_k, top_p, xtc};

/// The built-in model's, and Qwen2.5's.
const VOCABULARIES: [usize; 2] = [4_096, 151_936];

/// A few favourites above a broad middle, as a language model has them.
fn logits(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..count)
        .map(|_| 12.0 * uniform() * uniform() * uniform() - 4.0 * uniform())
        .collect()
}

fn params(settings: SamplingSettings) -> SamplingParams {
    settings.resolve().expect("in range")
}

/// Times one call on fresh logits.
fn step(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    logits: &[f32],
    mut step: impl FnMut(&mut [f32]),
) {
    group.bench_function(name, |bencher| {
        bencher.iter_batched_ref(
            || logits.to_vec(),
            |logits| step(black_box(logits)),
            BatchSize::LargeInput,
        );
    });
}

fn sampler(criterion: &mut Criterion) {
    let profile = Semantics::Loopwatch.profile();
    let off = SamplingSettings {
        temperature: Some(0.0),
        repetition_penalty: Some(1.0),
        ..SamplingSettings::default()
    };
    let penalised = SamplingSettings {
        repetition_penalty: Some(1.05),
        presence_penalty: Some(0.5),
        frequency_penalty: Some(0.1),
        ..off.clone()
    };
    let drawn = SamplingSettings {
        temperature: Some(0.8),
        ..off.clone()
    };
    let everything = SamplingSettings {
        temperature: Some(0.8),
        top_p: Some(0.95),
        top_k: Some(40),
        min_p: Some(0.02),
        seed: Some(7),
        ..penalised.clone()
    };
    let history: Vec<u32> = (0..500).map(|index| index * 7 % 4_096).collect();
    for count in VOCABULARIES {
        let logits = logits(count);
        let mut group = criterion.benchmark_group(format!("sampler/{count}"));
        group.sample_size(20);
        let penalties = Penalties::new(&params(penalised.clone()), &[2]);
        step(&mut group, "penalties", &logits, |l| {
            penalties.apply(&history, l)
        });
        step(&mut group, "top_p", &logits, |l| top_p(l, 0.95, profile));
        step(&mut group, "min_p", &logits, |l| {
            min_p(l, 0.02, profile.constants)
        });
        step(&mut group, "top_k", &logits, |l| top_k(l, 40));
        step(&mut group, "xtc", &logits, |l| {
            xtc(l, 0.1, &[2], profile.constants)
        });
        let mut rng = Rng::seeded(7, profile);
        step(&mut group, "draw", &logits, |l| {
            black_box(rng.categorical(l));
        });
        for (name, settings, top) in [
            ("chain_greedy", &off, 0),
            ("chain_penalised", &penalised, 0),
            ("chain_top_logprobs", &off, 10),
            ("chain_temperature", &drawn, 0),
            ("chain_everything", &everything, 0),
        ] {
            let mut sampler = Sampler::new(&params(settings.clone()), &Sequence::default());
            step(&mut group, name, &logits, |l| {
                black_box(sampler.sample(l, top));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, sampler);
criterion_main!(benches);
