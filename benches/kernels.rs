//! Products of one weight matrix, in every storage that has kernels of its own, for one activation
//! row (decode), eight (a batch) and 256 (prefill); and attention over many positions.
//!
//! Criterion's throughput counts multiply-adds. The matrix is the feed-forward layer of
//! Qwen2.5-0.5B, small enough to stay in a cache: what is measured is arithmetic, not memory.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot go on should stop"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loopwatch::backend::cpu::{Cpu, Tensor};
use loopwatch::backend::{
    Affine, AttentionShape, Backend, Blob, Element, MatrixData, Precision, Segment,
};
use loopwatch::simd::Isa;

const ROWS: usize = 4864;
const COLS: usize = 896;

fn cpu(precision: Precision) -> Cpu {
    Cpu::with(1, Isa::best(), precision).expect("no threads to start")
}

/// Half-precision numbers of the size that weights have.
fn numbers(count: usize) -> Blob {
    let values = (0..count).map(|i| half::bf16::from_f32(0.01 * (i % 17) as f32 - 0.05));
    Blob::new(
        values
            .flat_map(half::bf16::to_le_bytes)
            .collect::<Vec<u8>>(),
    )
}

fn dense(rows: usize, cols: usize) -> MatrixData {
    MatrixData::Dense {
        rows,
        cols,
        element: Element::Bf16,
        data: numbers(rows * cols),
    }
}

fn affine(bits: usize) -> MatrixData {
    let group_size = 64;
    let packed: Vec<u8> = (0..ROWS * COLS * bits / 8)
        .map(|i| (i * 37 % 251) as u8)
        .collect();
    MatrixData::Affine {
        rows: ROWS,
        cols: COLS,
        affine: Affine {
            bits,
            group_size,
            packed: Blob::new(packed),
            scales: numbers(ROWS * COLS / group_size),
            biases: numbers(ROWS * COLS / group_size),
            element: Element::Bf16,
        },
    }
}

/// Activations: rows of a table of numbers.
fn activations(backend: &Cpu, rows: usize, cols: usize) -> Tensor {
    let table = backend.matrix(dense(rows, cols)).expect("a table");
    let tokens: Vec<u32> = (0..rows as u32).collect();
    backend.embed(&table, &tokens).expect("rows of the table")
}

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("product");
    group.sample_size(10);
    for (name, precision, data) in [
        ("bf16", Precision::Exact, dense(ROWS, COLS)),
        ("8-bit", Precision::Exact, affine(8)),
        ("4-bit", Precision::Exact, affine(4)),
        ("8-bit-fast", Precision::Fast, affine(8)),
        ("4-bit-fast", Precision::Fast, affine(4)),
    ] {
        let backend = cpu(precision);
        let matrix = backend.matrix(data).expect("a matrix");
        for rows in [1, 8, 256] {
            let x = activations(&backend, rows, COLS);
            group.throughput(Throughput::Elements((rows * ROWS * COLS) as u64));
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                bencher.iter(|| backend.linear(&x, &matrix, None).expect("a product"));
            });
        }
    }
    group.finish();
}

/// One row that sees 1,024 positions, in the shape of Qwen2.5-0.5B.
fn attention(criterion: &mut Criterion) {
    for precision in Precision::ALL {
        attention_in(precision, criterion);
    }
}

fn attention_in(precision: Precision, criterion: &mut Criterion) {
    const POSITIONS: usize = 1024;
    let shape = AttentionShape {
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        scale: 0.125,
        window: None,
        softcap: None,
    };
    let backend = cpu(precision);
    let tensor = |rows, heads| activations(&backend, rows, heads * shape.head_dim);
    let mut full = backend.kv_cache(1).expect("a cache");
    let mut segments = [Segment {
        cache: &mut full,
        rows: POSITIONS,
    }];
    let prompt = [
        tensor(POSITIONS, shape.heads),
        tensor(POSITIONS, shape.kv_heads),
        tensor(POSITIONS, shape.kv_heads),
    ];
    backend
        .attention(prompt, &mut segments, 0, &shape)
        .expect("attends");
    let row = [
        tensor(1, shape.heads),
        tensor(1, shape.kv_heads),
        tensor(1, shape.kv_heads),
    ];
    let name = format!("attention/1024-positions/{}", precision.name());
    criterion.bench_function(&name, |bencher| {
        bencher.iter_batched(
            || {
                (
                    backend.fork(&full, POSITIONS).expect("long enough"),
                    row.clone(),
                )
            },
            |(mut cache, row)| {
                let mut segments = [Segment {
                    cache: &mut cache,
                    rows: 1,
                }];
                backend
                    .attention(row, &mut segments, 0, &shape)
                    .expect("attends")
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, products, attention);
criterion_main!(benches);
