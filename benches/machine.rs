//! What this machine can do at most: bytes read from memory, f32 multiply-adds and products of whole
//! numbers per second, with one thread and with all. An engine is judged against these, not against
//! a data sheet.
//!
//! `cargo bench --bench machine` prints text, and one JSON object with `-- --json`.

use std::hint::black_box;
use std::io::{Write, stdout};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use loopwatch::measure::Spread;
use loopwatch::simd::{CODES, Isa, Kernel, LANES, Lanes};

/// Numbers of eight bytes in the buffer that is read: 1 GiB, far more than any cache.
const WORDS: usize = 1 << 27;
/// How often each limit is measured.
const REPEATS: usize = 7;
/// Sums that go on side by side, to hide the latency of a multiply-add (4 cycles, 2 a cycle on
/// current processors, so 8 would do).
const CHAINS: usize = 12;
/// Multiply-adds of each chain in one measurement.
const STEPS: usize = 40_000_000;

fn main() -> std::io::Result<()> {
    let all = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut counts = vec![1];
    if all > 1 {
        counts.push(all);
    }
    let buffer: Vec<u64> = (0..WORDS as u64).collect();
    let mut rows = Vec::new();
    for threads in counts {
        rows.push(("read_bytes_per_second", threads, read(&buffer, threads)));
        rows.push(("f32_flop_per_second", threads, multiply_adds(threads)));
        rows.push(("integer_products_per_second", threads, products(threads)));
    }
    match std::env::args().any(|argument| argument == "--json") {
        true => json(&rows),
        false => text(&rows),
    }
}

type Row = (&'static str, usize, Vec<f64>);

fn json(rows: &[Row]) -> std::io::Result<()> {
    let limits = rows.iter().map(|(what, threads, samples)| {
        serde_json::json!({"limit": what, "threads": threads, "samples": samples})
    });
    let limits: Vec<_> = limits.collect();
    let report = serde_json::json!({"isa": Isa::best().to_string(), "limits": limits});
    writeln!(stdout(), "{report}")
}

fn text(rows: &[Row]) -> std::io::Result<()> {
    let mut out = stdout().lock();
    for (what, threads, samples) in rows {
        let Some(Spread { median, min, max }) = Spread::of(samples.iter().copied()) else {
            continue;
        };
        let [median, min, max] = [median, min, max].map(|rate| rate / 1e9);
        let name = match *what {
            "read_bytes_per_second" => "memory read, GB/s".to_owned(),
            "integer_products_per_second" => {
                format!("products of 4 and 8 bits ({}), G/s", Isa::best())
            }
            _ => format!("f32 multiply-add ({}), GFLOP/s", Isa::best()),
        };
        let plural = if *threads == 1 { "" } else { "s" };
        writeln!(
            out,
            "{name:<40} {threads} thread{plural:<1}  {median:>7.1}  ({min:.1} – {max:.1})"
        )?;
    }
    Ok(())
}

/// Bytes per second that `threads` threads read together, each a part of the buffer.
fn read(buffer: &[u64], threads: usize) -> Vec<f64> {
    let bytes = size_of_val(buffer) as f64;
    let parts: Vec<&[u64]> = buffer.chunks(buffer.len().div_ceil(threads)).collect();
    let measure = || together(threads, |index| black_box(sum(parts[index])));
    (0..REPEATS)
        .map(|_| bytes / measure().as_secs_f64())
        .collect()
}

/// As many sums side by side as two cache lines hold, so that the compiler uses vectors.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 16];
    let (chunks, rest) = words.as_chunks::<16>();
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    let all = sums.iter().chain(rest);
    all.fold(0, |sum, word| sum.wrapping_add(*word))
}

/// Floating-point operations per second, two for each multiply-add.
fn multiply_adds(threads: usize) -> Vec<f64> {
    rate(threads, 2 * LANES * CHAINS * STEPS, || {
        Isa::best().run(MultiplyAdds)
    })
}

/// Products of codes of four bits with numbers of eight, added up, per second: what products of
/// weights of four bits are made of.
fn products(threads: usize) -> Vec<f64> {
    rate(threads, CODES * CHAINS * STEPS, || {
        Isa::best().run(Products)
    })
}

/// Operations per second of `threads` threads together, where `work` is so many of them.
fn rate(threads: usize, operations: usize, work: impl Fn() -> f32 + Sync) -> Vec<f64> {
    let operations = (operations * threads) as f64;
    (0..REPEATS)
        .map(|_| operations / together(threads, |_| work()).as_secs_f64())
        .collect()
}

/// Chains of multiply-adds in registers.
struct MultiplyAdds;

impl Kernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let factor = L::splat(black_box(0.999_999));
        let summand = L::splat(black_box(1e-6));
        let mut chains = [(); CHAINS].map(|()| black_box(L::splat(1.0)));
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = chain.fma(factor, summand);
            }
        }
        chains.into_iter().fold(0.0, |sum, chain| sum + chain.sum())
    }
}

/// Chains of sums of products in registers.
struct Products;

impl Kernel for Products {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let codes = L::codes(&black_box([1; CODES]));
        let x = black_box([1, -1, 1, -1]);
        let mut chains = [(); CHAINS].map(|()| black_box(L::no_integers()));
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = L::dot4(*chain, codes, x);
            }
        }
        let sums = chains
            .into_iter()
            .map(|chain| L::from_integers(chain).sum());
        sums.sum()
    }
}

/// How long `threads` threads take from a common start until the last one is done, by their own
/// clocks: who waits for them may be woken late.
fn together<T>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Duration {
    let ready = Barrier::new(threads);
    let run = |index| {
        ready.wait();
        let start = Instant::now();
        black_box(work(index));
        (start, Instant::now())
    };
    let times: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let run = &run;
        let workers: Vec<_> = (0..threads)
            .map(|index| scope.spawn(move || run(index)))
            .collect();
        let times = workers.into_iter().map(|worker| worker.join());
        times.filter_map(Result::ok).collect()
    });
    let start = times.iter().map(|(start, _)| *start).min();
    let end = times.iter().map(|(_, end)| *end).max();
    start
        .zip(end)
        .map_or(Duration::ZERO, |(start, end)| end.duration_since(start))
}
