//! What watching for loops costs per token, at the default longest period of 4,096 tokens: on
//! healthy text, on loops, on words of mathematics that are full of repetitions, and on streams
//! aimed at the way the detector searches.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loopwatch::loops::{LoopDetector, Settings, Thresholds, Watch, words};

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

/// Three copies of three copies of three copies, with a new token after each three: at every
/// scale a repetition is noticed, traced back and broken, as often as can be.
fn nested() -> Vec<u32> {
    let mut word: Vec<u32> = (0..9).collect();
    let mut fresh = 1_000;
    while word.len() < TOKENS {
        fresh += 1;
        word = word.repeat(3);
        word.push(fresh);
    }
    word.truncate(TOKENS);
    word
}

/// Repetitions of random blocks of all sizes that end as soon as they can have been noticed, so
/// that the work of noticing is spent in vain each time.
fn cut_off() -> Vec<u32> {
    let mut tokens = Vec::new();
    let mut state = 7_u32;
    while tokens.len() < TOKENS {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let period = 1 << ((state >> 20) % 12);
        let period = period + (state >> 8) as usize % period;
        let first = tokens.len() as u32;
        let block: Vec<u32> = (first..first + period as u32).collect();
        let span = Thresholds::default().suspected_span(period).unwrap_or(0) - 1;
        tokens.extend(block.iter().cycle().take(span));
    }
    tokens.truncate(TOKENS);
    tokens
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
        ("square_free", words::square_free(TOKENS)),
        ("de_bruijn", words::de_bruijn(2, 15)),
        ("nested", nested()),
        ("cut_off", cut_off()),
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

/// Text whose words come in no order.
fn prose() -> String {
    healthy()
        .chunks(11)
        .map(|chunk| {
            let words: Vec<String> = chunk
                .iter()
                .map(|id| format!("w{}", letters(*id)))
                .collect();
            words.join(" ") + ". "
        })
        .collect()
}

fn letters(id: u32) -> String {
    id.to_string()
        .bytes()
        .map(|digit| (digit - b'0' + b'b') as char)
        .collect()
}

fn code() -> String {
    let line = |ids: &[u32]| {
        format!(
            "    let {} = {}({}, {});\n",
            letters(ids[0]),
            letters(ids[1]),
            ids[2],
            letters(ids[3])
        )
    };
    healthy().chunks_exact(4).map(line).collect()
}

/// Every token a word of two letters, which differ where tokens do.
fn spelled(word: Vec<u32>) -> String {
    let letter = |token: u32| char::from_u32('a' as u32 + token % 26).unwrap_or('a');
    word.into_iter()
        .flat_map(|token| [letter(token), letter(token / 26), ' '])
        .collect()
}

/// All detectors, per piece of text.
fn watch(criterion: &mut Criterion) {
    let texts = [
        ("this_prose", include_str!("../docs/loops.md").to_owned()),
        (
            "this_code",
            include_str!("../src/loops/detector.rs").to_owned(),
        ),
        ("prose", prose()),
        ("code", code()),
        (
            "looped_sentence",
            "Wait, let me check that again. ".repeat(3_000),
        ),
        ("newlines", "\n".repeat(TOKENS)),
        (
            "counter",
            (0..3_000)
                .map(|n| format!("Step {n}: check the file again.\n"))
                .collect(),
        ),
        ("digits", (0..8_000).map(|n| format!("{n},")).collect()),
        ("thue_morse", spelled(words::thue_morse(TOKENS / 2))),
        ("fibonacci", spelled(words::fibonacci(TOKENS / 2))),
        ("square_free", spelled(words::square_free(TOKENS / 2))),
        ("de_bruijn", spelled(words::de_bruijn(2, 14))),
        ("nested", spelled(nested())),
        ("cut_off", spelled(cut_off())),
    ];
    let mut group = criterion.benchmark_group("watch");
    for (name, text) in &texts {
        let fresh = Watch::new(Settings::for_text());
        let mut counted = fresh.clone();
        counted.push_text(text, |_| ());
        group.throughput(Throughput::Elements(counted.tokens() as u64));
        group.bench_with_input(
            BenchmarkId::new("push_text", name),
            text,
            |bencher, text| {
                bencher.iter_batched_ref(
                    || fresh.clone(),
                    |watch| {
                        watch.push_text(text, |change| {
                            black_box(change);
                        })
                    },
                    criterion::BatchSize::LargeInput,
                );
            },
        );
    }
    group.finish();
}

criterion_group!(benches, detector, watch);
criterion_main!(benches);
