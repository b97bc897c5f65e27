//! Decode and prefill of the built-in model on the reference backend.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot go on should stop"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use loopwatch::backend::cpu::Cpu;
use loopwatch::model::{Decoder, Feed, Logits, ModelFiles, ModelRef, Sequence, Wanted};

/// Tokens decoded per sample.
const TOKENS: u64 = 64;
/// Tokens of the prompt.
const PROMPT: usize = 256;

fn model() -> Decoder<Cpu> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let files = ModelFiles::find(ModelRef::parse("builtin:readme")).expect("built in");
    Decoder::load(&files, Cpu::new(threads).expect("threads")).expect("loads")
}

fn feed(model: &Decoder<Cpu>, sequence: &mut Sequence<Cpu>, tokens: &[u32]) -> Logits {
    let mut batch = [Feed {
        sequence,
        tokens,
        logits: Wanted::Last,
    }];
    model.feed(&mut batch).expect("logits")
}

fn decode(criterion: &mut Criterion) {
    let model = model();
    let mut group = criterion.benchmark_group("engine");
    group.sample_size(20);
    group.throughput(Throughput::Elements(TOKENS));
    group.bench_function("decode", |bencher| {
        bencher.iter_batched(
            || {
                let mut sequence = model.start().expect("a sequence");
                feed(&model, &mut sequence, &[1; 16]);
                sequence
            },
            |mut sequence| {
                for token in 0..TOKENS as u32 {
                    feed(&model, &mut sequence, &[5 + token]);
                }
            },
            criterion::BatchSize::PerIteration,
        );
    });
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|index| 5 + index % 4000).collect();
    group.throughput(Throughput::Elements(PROMPT as u64));
    group.bench_function("prefill", |bencher| {
        bencher.iter(|| {
            let mut sequence = model.start().expect("a sequence");
            feed(&model, &mut sequence, &prompt)
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
