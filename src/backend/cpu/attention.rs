//! Grouped-query attention of a batch over the KV caches of its sequences.

use std::cell::RefCell;

use super::kernels::attention::Heads;
use super::kv_cache::Layer;
use super::pool::Pool;
use super::{AttentionShape, BackendError, KvCache, Segment, Tensor};
use crate::simd::Isa;

/// Multiplications below which heads are not worth a second thread, and elements below which
/// writing them down is not.
const PARALLEL_FROM: usize = 1 << 12;

thread_local! {
    /// Each thread's scores, kept because their allocation would cost as much as a head.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
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
    let first = append([&k, &v], segments, layer, shape, pool)?;
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
    let mut data = vec![0.0; q.data.len()];
    let size = together * shape.head_dim;
    let task = |index: usize, out: &mut [f32]| {
        let head = index * together;
        let (layer, visible) = rows[head / shape.heads];
        SCORES.with_borrow_mut(|scratch| {
            isa.run(Heads {
                queries: &q.data[index * size..][..size],
                layer,
                visible,
                kv_head: head % shape.heads / shared,
                shape,
                scratch,
                out,
            });
        });
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

/// Appends keys and values to the caches of their sequences; returns how many rows there were.
fn append(
    [k, v]: [&Tensor; 2],
    segments: &mut [Segment<'_, KvCache>],
    layer: usize,
    shape: &AttentionShape,
    pool: &Pool,
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
        tasks.push((segment.cache.layer_mut(layer)?, keys, values));
    }
    let task = |(layer, keys, values): &mut (&mut Layer, &[f32], &[f32])| {
        layer.append(width, keys, values);
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
    use super::*;

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
                .collect(),
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
            data: x.data[range.start * x.width..range.end * x.width].to_vec(),
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
        attend(qkv, segments, 0, shape, best).expect("layer 0").data
    }

    #[test]
    fn cutting_the_prompt_changes_no_bit() {
        for window in [None, Some(3)] {
            let shape = AttentionShape { window, ..SHAPE };
            let whole = qkv(70, 0.0);
            let together = attend_one(whole.clone(), &mut KvCache::new(1), &shape);
            let mut cut = KvCache::new(1);
            let mut pieces = Vec::new();
            for range in [0..3, 3..4, 4..70] {
                let piece = whole.each_ref().map(|x| rows(x, range.clone()));
                pieces.extend(attend_one(piece, &mut cut, &shape));
            }
            assert_eq!(together, pieces);
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let pool = Pool::new(1).expect("threads");
        let shape = AttentionShape {
            softcap: Some(5.0),
            ..SHAPE
        };
        let mix = |isa| {
            let mut cache = KvCache::new(1);
            let mut segments = [Segment {
                cache: &mut cache,
                rows: 37,
            }];
            let mixed = attend(qkv(37, 0.0), &mut segments, 0, &shape, (isa, &pool));
            mixed.expect("layer 0").data
        };
        for isa in Isa::available() {
            assert_eq!(mix(isa), mix(Isa::Portable), "{isa}");
        }
    }

    #[test]
    fn neighbours_in_a_batch_change_no_bit() {
        let (one, other) = (qkv(5, 0.0), qkv(3, 9.0));
        let mut caches = [KvCache::new(1), KvCache::new(1)];
        let [first, second] = &mut caches;
        let mut segments = [
            Segment {
                cache: first,
                rows: 5,
            },
            Segment {
                cache: second,
                rows: 3,
            },
        ];
        let both = [0, 1, 2].map(|i| Tensor {
            width: one[i].width,
            data: [one[i].data.clone(), other[i].data.clone()].concat(),
        });
        let together = run(both, &mut segments, &SHAPE);
        let alone = attend_one(one, &mut KvCache::new(1), &SHAPE);
        assert_eq!(together[..alone.len()], alone);
        let alone = attend_one(other, &mut KvCache::new(1), &SHAPE);
        assert_eq!(together[together.len() - alone.len()..], alone);
    }

    #[test]
    fn a_window_forgets_what_lies_before_it() {
        let shape = AttentionShape {
            window: Some(2),
            ..SHAPE
        };
        let whole = qkv(40, 0.0);
        let windowed = attend_one(whole.clone(), &mut KvCache::new(1), &shape);
        let last_two = whole.each_ref().map(|x| rows(x, 38..40));
        let expected = attend_one(last_two, &mut KvCache::new(1), &SHAPE);
        assert_eq!(windowed[39 * 32..], expected[32..]);
    }

    #[test]
    fn the_first_position_sees_only_its_own_value() {
        let qkv = qkv(2, 0.0);
        let v = qkv[2].clone();
        let out = attend_one(qkv, &mut KvCache::new(1), &SHAPE);
        // Query heads 0 and 1 share key-value head 0.
        assert_eq!(out[..8], v.data[..8]);
        assert_eq!(out[8..16], v.data[..8]);
        assert_eq!(out[16..24], v.data[8..16]);
    }
}
