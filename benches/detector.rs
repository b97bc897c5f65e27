//! What watching for loops costs per token, at the default longest period of 4,096 tokens.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loopwatch::loops::{LoopDetector, Thresholds};

const TOKENS: usize = 32_768;

/// A stream shaped like text: few frequent tokens, many rare ones, in no order.
fn healthy() -> Vec<u32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    // The inverse of Zipf's law over 32,000 ids.
    (0..TOKENS)
        .map(|_| 32_000_f64.powf(uniform()) as u32)
        .collect()
}

fn looped(period: u32) -> Vec<u32> {
    (0..period).cycle().take(TOKENS).collect()
}

/// Squares at every scale and no cube: every level finds candidates and must drop them.
fn thue_morse() -> Vec<u32> {
    (0..TOKENS as u32)
        .map(|index| index.count_ones() & 1)
        .collect()
}

/// Repetitions of 3.618 copies at every scale.
fn fibonacci() -> Vec<u32> {
    let (mut word, mut before) = (vec![0, 1], vec![0]);
    while word.len() < TOKENS {
        let longer = [word.as_slice(), before.as_slice()].concat();
        before = std::mem::replace(&mut word, longer);
    }
    word.truncate(TOKENS);
    word
}

/// A long block that repeats but for one token in each copy.
fn nearly_looped() -> Vec<u32> {
    (0..TOKENS as u32)
        .map(|index| {
            if index % 200 == 0 {
                1_000 + index
            } else {
                index % 200
            }
        })
        .collect()
}

fn detector(criterion: &mut Criterion) {
    let streams = [
        ("healthy", healthy()),
        ("looped_1", looped(1)),
        ("looped_37", looped(37)),
        ("looped_4096", looped(4_096)),
        ("nearly_looped", nearly_looped()),
        ("thue_morse", thue_morse()),
        ("fibonacci", fibonacci()),
    ];
    let mut group = criterion.benchmark_group("detector");
    group.throughput(Throughput::Elements(TOKENS as u64));
    for (name, tokens) in &streams {
        // Building a detector is a cost per sequence, not per token.
        let fresh = LoopDetector::new(Thresholds::default());
        group.bench_with_input(BenchmarkId::new("push", name), tokens, |bencher, tokens| {
            bencher.iter_batched_ref(
                || fresh.clone(),
                |detector| {
                    for &token in tokens {
                        black_box(detector.push(token));
                    }
                },
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.bench_function("new", |bencher| {
        bencher.iter(|| black_box(LoopDetector::new(Thresholds::default())))
    });
    group.finish();
}

criterion_group!(benches, detector);
criterion_main!(benches);
