//! Text to tokens, and tokens back to text one by one, with the built-in model's tokenizer.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot go on should stop"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use loopwatch::model::{ModelFiles, ModelRef};
use loopwatch::text::{StopStrings, Tokenizer};

const TEXT: &str = include_str!("../README.md");

fn text(criterion: &mut Criterion) {
    let files = ModelFiles::find(ModelRef::parse("builtin:readme")).expect("built in");
    let json = files.text("tokenizer.json").expect("read").expect("there");
    let tokenizer = Tokenizer::from_json(&json).expect("a tokenizer");
    let ids = tokenizer.encode(TEXT, false).expect("encodes");
    let mut group = criterion.benchmark_group("text");
    group.bench_function("load_tokenizer", |bencher| {
        bencher.iter(|| Tokenizer::from_json(black_box(&json)));
    });
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| tokenizer.encode(black_box(TEXT), false));
    });
    group.bench_function("detokenise", |bencher| {
        bencher.iter(|| {
            let mut detokenizer = tokenizer.detokenizer();
            for id in &ids {
                black_box(detokenizer.push(*id).expect("text"));
            }
            detokenizer.finish()
        });
    });
    group.bench_function("detokenise_and_watch_for_stops", |bencher| {
        bencher.iter(|| {
            let mut detokenizer = tokenizer.detokenizer();
            let mut stops = StopStrings::new(&["<never>".to_owned(), "\n\n\n\n".to_owned()]);
            for id in &ids {
                black_box(stops.push(&detokenizer.push(*id).expect("text")));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
