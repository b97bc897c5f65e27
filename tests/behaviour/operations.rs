//! Each operation of the mlx backend against the cpu backend, on the same numbers.
//!
//! The conformance tests see only what today's checkpoints use; these see every variant.

use loopwatch::backend::cpu::Cpu;
use loopwatch::backend::mlx::Mlx;
use loopwatch::backend::{
    Activation, Affine, AttentionShape, Backend, Blob, Element, MatrixData, Microformat,
    Microscaled, Rope, RopeLayout, Segment,
};
use rstest::rstest;

/// Numbers of both signs that no two places share.
fn numbers(count: usize, seed: f32) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.71 + seed).sin()).collect()
}

fn dense(values: &[f32], cols: usize) -> MatrixData {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    MatrixData::Dense {
        rows: values.len() / cols,
        cols,
        element: Element::F32,
        data: Blob::new(bytes),
    }
}

/// An activation with these values.
fn tensor<B: Backend>(backend: &B, values: &[f32], width: usize) -> B::Tensor {
    let table = backend.matrix(dense(values, width)).expect("f32");
    let rows: Vec<u32> = (0..(values.len() / width) as u32).collect();
    backend.embed(&table, &rows).expect("its own rows")
}

#[track_caller]
fn compare(cpu: &[f32], mlx: &[f32]) {
    assert_eq!(cpu.len(), mlx.len());
    for (place, (cpu, mlx)) in cpu.iter().zip(mlx).enumerate() {
        let bound = 2e-5 * cpu.abs().max(1.0);
        assert!(
            (cpu - mlx).abs() <= bound,
            "place {place}: {cpu} on cpu, {mlx} on mlx"
        );
    }
}

/// Runs a function of a backend on both; the results must be the same to rounding.
macro_rules! assert_agree {
    ($function:ident, $($argument:expr),*) => {
        compare(
            &$function(&Cpu::new(1).expect("a thread"), $($argument),*),
            &$function(&Mlx::new().expect("a device"), $($argument),*),
        )
    };
}

#[rstest]
#[case::whole_heads(Rope::plain(8, 10_000.0))]
#[case::partial(Rope { frequencies: vec![1.0, 0.3], ..Rope::plain(8, 1.0) })]
#[case::scaled(Rope { position_scale: 0.25, amplitude: 1.19, ..Rope::plain(8, 500.0) })]
#[case::interleaved(Rope { layout: RopeLayout::Interleaved, ..Rope::plain(8, 10_000.0) })]
#[case::partial_interleaved(Rope {
    frequencies: vec![0.9, 0.01, 0.002],
    layout: RopeLayout::Interleaved,
    ..Rope::plain(8, 1.0)
})]
fn rotations(#[case] rope: Rope) {
    fn rotate<B: Backend>(backend: &B, rope: &Rope) -> Vec<f32> {
        let x = tensor(backend, &numbers(3 * 16, 0.1), 16);
        let far = backend.rotation(rope, &[0, 7, 30_001]).expect("turns");
        let near = backend.rotation(rope, &[5, 6, 2]).expect("turns");
        let once = backend.rotate(x, &far).expect("rotates");
        let other = backend.rotate(once, &near).expect("rotates");
        backend.to_host(other).expect("values")
    }
    assert_agree!(rotate, &rope);
}

const SHAPE: AttentionShape = AttentionShape {
    heads: 4,
    kv_heads: 2,
    head_dim: 8,
    scale: 0.35,
    window: None,
    softcap: None,
};

#[rstest]
#[case::whole(SHAPE)]
#[case::window(AttentionShape { window: Some(5), ..SHAPE })]
#[case::wide_window(AttentionShape { window: Some(290), ..SHAPE })]
#[case::softcap(AttentionShape { softcap: Some(0.5), ..SHAPE })]
#[case::both(AttentionShape { window: Some(5), softcap: Some(0.5), ..SHAPE })]
#[case::no_groups(AttentionShape { kv_heads: 4, ..SHAPE })]
fn attention(#[case] shape: AttentionShape) {
    /// Two sequences: a prefill of both, a chunk and a token, and then a fork of the first.
    fn attend<B: Backend>(backend: &B, shape: &AttentionShape) -> Vec<f32> {
        let mut first = backend.kv_cache(2).expect("room");
        let mut second = backend.kv_cache(2).expect("room");
        let mut all = Vec::new();
        let mut seed = 0.0;
        let mut step = |caches: &mut [(&mut B::KvCache, usize)]| {
            for layer in 0..2 {
                let mut segments: Vec<_> = caches
                    .iter_mut()
                    .map(|(cache, rows)| Segment {
                        cache: &mut **cache,
                        rows: *rows,
                    })
                    .collect();
                let rows: usize = segments.iter().map(|segment| segment.rows).sum();
                let part = |heads: usize, offset: f32| {
                    let width = heads * shape.head_dim;
                    tensor(backend, &numbers(rows * width, seed + offset), width)
                };
                let qkv = [
                    part(shape.heads, 0.1),
                    part(shape.kv_heads, 0.2),
                    part(shape.kv_heads, 0.3),
                ];
                let out = backend.attention(qkv, &mut segments, layer, shape);
                all.extend(backend.to_host(out.expect("attends")).expect("values"));
                seed += 1.0;
            }
        };
        step(&mut [(&mut first, 250), (&mut second, 3)]);
        step(&mut [(&mut first, 40), (&mut second, 1)]);
        step(&mut [(&mut first, 1), (&mut second, 1)]);
        let mut fork = backend.fork(&first, 260).expect("long enough");
        step(&mut [(&mut fork, 2), (&mut first, 2)]);
        step(&mut [(&mut first, 1)]);
        all
    }
    assert_agree!(attend, &shape);
}

#[rstest]
fn element_by_element(
    #[values(Activation::Silu, Activation::Gelu, Activation::GeluTanh)] activation: Activation,
) {
    fn compute<B: Backend>(backend: &B, activation: Activation) -> Vec<f32> {
        let values: Vec<f32> = numbers(60, 0.2).iter().map(|x| x * 6.0).collect();
        let x = || tensor(backend, &values, 12);
        let up = tensor(backend, &numbers(60, 0.9), 12);
        let weight = backend.vector(numbers(4, 0.4)).expect("room");
        let gated = backend.gated(x(), &up, activation).expect("gates");
        let sum = backend.add(gated, &up).expect("adds");
        let scaled = backend.scale(sum, 3.5).expect("scales");
        let capped = backend.softcap(scaled, 2.0).expect("caps");
        let normed = backend.rms_norm(&capped, &weight, 1e-5).expect("norms");
        let rows = backend.select(normed, &[4, 0, 0]).expect("selects");
        backend.to_host(rows).expect("values")
    }
    assert_agree!(compute, activation);
}

/// A product with a bias, and some rows, of a matrix of 32 by 128.
fn product_and_rows<B: Backend>(backend: &B, data: &MatrixData, rows: usize) -> Vec<f32> {
    let matrix = backend.matrix(data.clone()).expect("supported");
    let bias = backend.vector(numbers(32, 0.8)).expect("room");
    let x = tensor(backend, &numbers(rows * 128, 0.5), 128);
    let product = backend
        .linear(&x, &matrix, Some(&bias))
        .expect("multiplies");
    let embedded = backend.embed(&matrix, &[31, 0, 7]).expect("rows");
    let mut all = backend.to_host(product).expect("values");
    all.extend(backend.to_host(embedded).expect("values"));
    all
}

#[rstest]
fn affine_products_and_rows(
    #[values(2, 3, 4, 5, 6, 8)] bits: usize,
    #[values(32, 64, 128)] group_size: usize,
    #[values(Element::F32, Element::F16, Element::Bf16)] element: Element,
    #[values(1, 5)] rows: usize,
) {
    const OUTPUTS: usize = 32;
    const INPUTS: usize = 128;
    let packed: Vec<u8> = (0..OUTPUTS * INPUTS * bits / 8)
        .map(|i| (i * 151 % 251) as u8)
        .collect();
    let stored = |values: Vec<f32>| {
        let bytes = values.into_iter().flat_map(|value| match element {
            Element::F32 => value.to_le_bytes().to_vec(),
            Element::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            Element::Bf16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
        });
        Blob::new(bytes.collect::<Vec<u8>>())
    };
    let groups = OUTPUTS * INPUTS / group_size;
    let small = |values: Vec<f32>| values.iter().map(|x| x / 64.0).collect();
    let data = MatrixData::Affine {
        rows: OUTPUTS,
        cols: INPUTS,
        affine: Affine {
            bits,
            group_size,
            packed: Blob::new(packed),
            scales: stored(small(numbers(groups, 0.3))),
            biases: stored(numbers(groups, 0.6)),
            element,
        },
    };
    assert_agree!(product_and_rows, &data, rows);
}

#[rstest]
fn microscaled_products_and_rows(
    #[values(Microformat::Mxfp4, Microformat::Nvfp4, Microformat::Mxfp8)] format: Microformat,
    #[values(1, 5)] rows: usize,
) {
    const OUTPUTS: usize = 32;
    const INPUTS: usize = 128;
    let bytes = |count: usize, low: usize, range: usize| {
        let values = (0..count).map(|i| (low + i * 151 % range) as u8);
        Blob::new(values.collect::<Vec<u8>>())
    };
    let groups = OUTPUTS * INPUTS / format.group_size();
    let data = MatrixData::Microscaled {
        rows: OUTPUTS,
        cols: INPUTS,
        microscaled: Microscaled {
            format,
            // Below the bytes that stand for no number.
            packed: bytes(OUTPUTS * INPUTS * format.bits() / 8, 0, 127),
            scales: match format {
                Microformat::Nvfp4 => bytes(groups, 20, 40),
                Microformat::Mxfp4 | Microformat::Mxfp8 => bytes(groups, 118, 5),
            },
        },
    };
    assert_agree!(product_and_rows, &data, rows);
}

#[rstest]
fn dense_products(#[values(1, 5)] rows: usize) {
    fn compute<B: Backend>(backend: &B, rows: usize) -> Vec<f32> {
        let matrix = backend
            .matrix(dense(&numbers(24 * 16, 0.7), 16))
            .expect("f32");
        let x = tensor(backend, &numbers(rows * 16, 0.5), 16);
        let product = backend.linear(&x, &matrix, None).expect("multiplies");
        backend.to_host(product).expect("values")
    }
    assert_agree!(compute, rows);
}

#[test]
fn what_would_be_read_outside_an_array_is_an_error() {
    let mlx = Mlx::new().expect("a device");
    let table = mlx.matrix(dense(&numbers(8, 0.0), 4)).expect("f32");
    assert!(mlx.embed(&table, &[0, 2]).is_err());
    let x = || tensor(&mlx, &numbers(8, 0.0), 4);
    assert!(mlx.select(x(), &[2]).is_err());
    let short = MatrixData::Dense {
        rows: 3,
        cols: 4,
        element: Element::F32,
        data: Blob::new(vec![0; 32]),
    };
    assert!(mlx.matrix(short).is_err());
}
