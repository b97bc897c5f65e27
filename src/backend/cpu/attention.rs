//! Grouped-query attention of a batch over the KV caches of its sequences.

use std::cell::RefCell;

use super::buffer::Buffer;
use super::kernels::attention::{Block, Heads, Scratch};
use super::kv_cache::{Append, Layer, Positions};
use super::pool::Pool;
use super::{AttentionShape, BackendError, KvCache, Segment, Tensor};
use crate::simd::Isa;

/// Multiplications below which heads are not worth a second thread, and elements below which
/// writing them down is not.
const PARALLEL_FROM: usize = 1 << 12;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// See [`Backend::attention`](super::Backend::attention): scores and softmax in f32, positions
/// summed in order.
pub(super) fn attend(
    [q, k, v]: [Tensor; 3],
    segments: &mut [Segment<'_, KvCache>],
    layer: usize,
    shape: &AttentionShape,
    (isa, pool): (Isa, &Pool),
) -> Result<Tensor, BackendError> {
    let first = append([&k, &v], segments, layer, shape, (isa, pool))?;
    // For each row: its sequence's layer, and how many positions end with the row itself.
    let mut rows = Vec::with_capacity(first);
    for segment in segments.iter() {
        let layer = segment.cache.layer(layer)?;
        let before = layer.positions() - segment.rows;
        rows.extend((1..=segment.rows).map(|row| (layer, before + row)));
    }

    // A row's heads are one task where there are rows enough for every thread, and those that
    // share keys and values are where that leaves every thread something to do.
    let shared = shape.heads / shape.kv_heads;
    let threads = pool.threads();
    let together = match rows.len() {
        many if many >= 4 * threads => shape.heads,
        some if some * shape.kv_heads >= threads => shared,
        _ => 1,
    };
    let mut data = Buffer::unwritten(q.data.len());
    let size = together * shape.head_dim;
    let task = |index: usize, out: &mut [f32]| {
        let head = index * together;
        let (layer, visible) = rows[head / shape.heads];
        let row = Row {
            queries: &q.data[index * size..][..size],
            visible,
            kv_head: head % shape.heads / shared,
            shape,
        };
        match layer {
            Layer::Exact(layer) => row.attend(layer, isa, out),
            Layer::Fast(layer) => row.attend(layer, isa, out),
        }
    };
    let work: usize = rows.iter().map(|(_, visible)| visible).sum();
    if work * shape.heads * shape.head_dim < 4 * PARALLEL_FROM {
        for (index, out) in data.chunks_exact_mut(size).enumerate() {
            task(index, out);
        }
    } else {
        pool.for_each_piece(&mut data, size, task);
    }
    Ok(Tensor {
        width: q.width,
        data,
    })
}

/// Some heads of one row.
struct Row<'a> {
    queries: &'a [f32],
    visible: usize,
    kv_head: usize,
    shape: &'a AttentionShape,
}

impl Row<'_> {
    fn attend<B: Block>(self, layer: &Positions<B>, isa: Isa, out: &mut [f32]) {
        SCRATCH.with_borrow_mut(|scratch| {
            isa.run(Heads {
                queries: self.queries,
                layer,
                visible: self.visible,
                kv_head: self.kv_head,
                shape: self.shape,
                scratch,
                out,
            });
        });
    }
}

/// Appends keys and values to the caches of their sequences; returns how many rows there were.
fn append(
    [k, v]: [&Tensor; 2],
    segments: &mut [Segment<'_, KvCache>],
    layer: usize,
    shape: &AttentionShape,
    (isa, pool): (Isa, &Pool),
) -> Result<usize, BackendError> {
    let width = shape.kv_heads * shape.head_dim;
    let mut first = 0;
    let mut tasks = Vec::with_capacity(segments.len());
    for segment in segments.iter_mut() {
        let rows = first * width..(first + segment.rows) * width;
        let (Some(keys), Some(values)) = (k.data.get(rows.clone()), v.data.get(rows)) else {
            return Err(BackendError("more rows than activations".to_owned()));
        };
        first += segment.rows;
        tasks.push(Some(Append {
            layer: segment.cache.layer_mut(layer)?,
            keys,
            values,
            shape,
        }));
    }
    let task = |append: &mut Option<Append<'_>>| {
        if let Some(append) = append.take() {
            isa.run(append);
        }
    };
    if first * width < PARALLEL_FROM {
        tasks.iter_mut().for_each(task);
    } else {
        pool.for_each_piece(&mut tasks, 1, |_, tasks| tasks.iter_mut().for_each(task));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::backend::Precision;
    use crate::backend::Precision::{Exact as EXACT, Fast as FAST};

    const SHAPE: AttentionShape = AttentionShape {
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        scale: 0.35,
        window: None,
        softcap: None,
    };

    fn tensor(rows: usize, width: usize, seed: f32) -> Tensor {
        Tensor {
            width,
            data: (0..rows * width)
                .map(|i| (i as f32 * 0.71 + seed).sin())
                .collect::<Vec<_>>()
                .into(),
        }
    }

    fn qkv(rows: usize, seed: f32) -> [Tensor; 3] {
        [
            tensor(rows, 32, seed + 0.1),
            tensor(rows, 16, seed + 0.2),
            tensor(rows, 16, seed + 0.3),
        ]
    }

    fn rows(x: &Tensor, range: std::ops::Range<usize>) -> Tensor {
        Tensor {
            width: x.width,
            data: x.data[range.start * x.width..range.end * x.width]
                .to_vec()
                .into(),
        }
    }

    fn attend_one(qkv: [Tensor; 3], cache: &mut KvCache, shape: &AttentionShape) -> Vec<f32> {
        let rows = qkv[0].rows();
        let mut segments = [Segment { cache, rows }];
        run(qkv, &mut segments, shape)
    }

    /// All instruction sets and threads agree, so any of them is the result.
    fn run(
        qkv: [Tensor; 3],
        segments: &mut [Segment<'_, KvCache>],
        shape: &AttentionShape,
    ) -> Vec<f32> {
        let pool = Pool::new(2).expect("threads");
        let best = (Isa::best(), &pool);
        attend(qkv, segments, 0, shape, best)
            .expect("layer 0")
            .data
            .into_vec()
    }

    fn caches<const N: usize>(precision: Precision) -> [KvCache; N] {
        [(); N].map(|()| KvCache::new(1, precision))
    }

    #[rstest]
    fn cutting_the_prompt_changes_no_bit(#[values(EXACT, FAST)] precision: Precision) {
        for window in [None, Some(3)] {
            let shape = AttentionShape { window, ..SHAPE };
            let whole = qkv(70, 0.0);
            let [mut uncut, mut cut] = caches(precision);
            let together = attend_one(whole.clone(), &mut uncut, &shape);
            let mut pieces = Vec::new();
            for range in [0..3, 3..4, 4..70] {
                let piece = whole.each_ref().map(|x| rows(x, range.clone()));
                pieces.extend(attend_one(piece, &mut cut, &shape));
            }
            assert_eq!(together, pieces);
        }
    }

    #[rstest]
    fn every_instruction_set_gives_the_same_bits(#[values(EXACT, FAST)] precision: Precision) {
        let pool = Pool::new(1).expect("threads");
        let shape = AttentionShape {
            softcap: Some(5.0),
            ..SHAPE
        };
        let mix = |isa| {
            let [mut cache] = caches(precision);
            let mut segments = [Segment {
                cache: &mut cache,
                rows: 37,
            }];
            let mixed = attend(qkv(37, 0.0), &mut segments, 0, &shape, (isa, &pool));
            mixed.expect("layer 0").data.into_vec()
        };
        for isa in Isa::available() {
            assert_eq!(mix(isa), mix(Isa::Portable), "{isa}");
        }
    }

    #[rstest]
    fn neighbours_in_a_batch_change_no_bit(#[values(EXACT, FAST)] precision: Precision) {
        let (one, other) = (qkv(5, 0.0), qkv(3, 9.0));
        let [mut first, mut second, mut third, mut fourth] = caches(precision);
        let mut segments = [
            Segment {
                cache: &mut first,
                rows: 5,
            },
            Segment {
                cache: &mut second,
                rows: 3,
            },
        ];
        let both = [0, 1, 2].map(|i| Tensor {
            width: one[i].width,
            data: [&*one[i].data, &*other[i].data].concat().into(),
        });
        let together = run(both, &mut segments, &SHAPE);
        let alone = attend_one(one, &mut third, &SHAPE);
        assert_eq!(together[..alone.len()], alone);
        let alone = attend_one(other, &mut fourth, &SHAPE);
        assert_eq!(together[together.len() - alone.len()..], alone);
    }

    /// Whole numbers are off by half of a 127th of the greatest element of a head: in a key, a
    /// query and a value.
    #[test]
    fn fast_is_close_to_exact_and_not_the_same() {
        for (head_dim, softcap) in [(8, None), (36, None), (64, Some(5.0))] {
            let shape = AttentionShape {
                head_dim,
                softcap,
                ..SHAPE
            };
            let qkv = [4, 2, 2].map(|heads| tensor(70, heads * head_dim, heads as f32));
            let [exact, fast] = [EXACT, FAST].map(|precision| {
                let [mut cache] = caches(precision);
                attend_one(qkv.clone(), &mut cache, &shape)
            });
            assert_ne!(exact, fast);
            let greatest = exact.iter().zip(&fast).map(|(a, b)| (a - b).abs());
            let greatest = greatest.fold(0.0, f32::max);
            assert!(greatest < 0.05, "{head_dim}: {greatest}");
        }
    }

    /// Queries and keys come from the same activations as values, so values are enough.
    #[rstest]
    fn what_is_not_a_number_stays_none(#[values(EXACT, FAST)] precision: Precision) {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut qkv = qkv(3, 0.0);
            qkv[2].data[1] = bad;
            let [mut cache] = caches(precision);
            let mixed = attend_one(qkv, &mut cache, &SHAPE);
            for row in mixed.chunks(32) {
                assert!(!row[1].is_finite());
                assert!(row[16..].iter().all(|value| value.is_finite()));
            }
        }
    }

    #[rstest]
    fn a_window_forgets_what_lies_before_it(#[values(EXACT, FAST)] precision: Precision) {
        let shape = AttentionShape {
            window: Some(2),
            ..SHAPE
        };
        let whole = qkv(40, 0.0);
        let [mut all, mut last] = caches(precision);
        let windowed = attend_one(whole.clone(), &mut all, &shape);
        let last_two = whole.each_ref().map(|x| rows(x, 38..40));
        let expected = attend_one(last_two, &mut last, &SHAPE);
        assert_eq!(windowed[39 * 32..], expected[32..]);
    }

    #[test]
    fn the_first_position_sees_only_its_own_value() {
        let qkv = qkv(2, 0.0);
        let v = qkv[2].clone();
        let out = attend_one(qkv, &mut KvCache::new(1, Precision::Exact), &SHAPE);
        // Query heads 0 and 1 share key-value head 0.
        assert_eq!(out[..8], v.data[..8]);
        assert_eq!(out[8..16], v.data[..8]);
        assert_eq!(out[16..24], v.data[8..16]);
    }
}
