//! Grouped-query attention of a batch over the KV caches of its sequences.

use rayon::prelude::*;

use super::kv_cache::Layer;
use super::{AttentionShape, BackendError, KvCache, Segment, Tensor, dot, pointwise};

/// Multiplications below which heads are not worth a second thread.
const PARALLEL_FROM: usize = 1 << 16;

/// See [`Backend::attention`](super::Backend::attention): scores and softmax in f32, positions
/// summed in order.
pub(super) fn attend(
    [q, k, v]: [Tensor; 3],
    segments: &mut [Segment<'_, KvCache>],
    layer: usize,
    shape: &AttentionShape,
) -> Result<Tensor, BackendError> {
    let width = shape.kv_heads * shape.head_dim;
    let mut first = 0;
    for segment in segments.iter_mut() {
        let rows = first * width..(first + segment.rows) * width;
        let (Some(keys), Some(values)) = (k.data.get(rows.clone()), v.data.get(rows)) else {
            return Err(BackendError("more rows than activations".to_owned()));
        };
        segment.cache.append(layer, width, keys, values)?;
        first += segment.rows;
    }
    // For each row: its sequence's layer, and how many positions end with the row itself.
    let mut rows = Vec::with_capacity(first);
    for segment in segments.iter() {
        let layer = segment.cache.layer(layer)?;
        let before = layer.positions() - segment.rows;
        rows.extend((1..=segment.rows).map(|row| (layer, before + row)));
    }

    let mut data = vec![0.0; q.data.len()];
    let task = |(index, out): (usize, &mut [f32])| {
        let (layer, visible) = rows[index / shape.heads];
        let query = &q.data[index * shape.head_dim..][..shape.head_dim];
        head(query, layer, visible, index % shape.heads, shape, out);
    };
    let work: usize = rows.iter().map(|(_, visible)| visible).sum();
    if work * shape.heads * shape.head_dim < PARALLEL_FROM {
        data.chunks_exact_mut(shape.head_dim)
            .enumerate()
            .for_each(task);
    } else {
        data.par_chunks_exact_mut(shape.head_dim)
            .enumerate()
            .for_each(task);
    }
    Ok(Tensor {
        width: q.width,
        data,
    })
}

/// One query head of one row: it sees the last `window` of the first `visible` positions.
fn head(
    query: &[f32],
    layer: &Layer,
    visible: usize,
    head: usize,
    shape: &AttentionShape,
    out: &mut [f32],
) {
    let width = shape.kv_heads * shape.head_dim;
    let offset = head / (shape.heads / shape.kv_heads) * shape.head_dim;
    let hidden = shape
        .window
        .map_or(0, |window| visible.saturating_sub(window));
    let part = |row: &'_ [f32]| offset..(offset + shape.head_dim).min(row.len());
    let keys = layer
        .blocks()
        .flat_map(|(keys, _)| keys.chunks_exact(width));
    let mut scores: Vec<f32> = keys
        .take(visible)
        .skip(hidden)
        .map(|key| {
            let score = dot(query, &key[part(key)]) * shape.scale;
            shape
                .softcap
                .map_or(score, |cap| pointwise::softcap(score, cap))
        })
        .collect();
    softmax(&mut scores);
    let values = layer
        .blocks()
        .flat_map(|(_, values)| values.chunks_exact(width));
    for (value, weight) in values.skip(hidden).zip(&scores) {
        for (out, value) in out.iter_mut().zip(&value[part(value)]) {
            *out += weight * value;
        }
    }
}

/// `exp(x - max) / Σ exp(x - max)`, summed in order.
fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::expf(*score - max);
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
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
        attend(qkv, &mut segments, 0, shape).expect("layer 0").data
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
        let together = attend(both, &mut segments, 0, &SHAPE).expect("layer 0");
        let alone = attend_one(one, &mut KvCache::new(1), &SHAPE);
        assert_eq!(together.data[..alone.len()], alone);
        let alone = attend_one(other, &mut KvCache::new(1), &SHAPE);
        assert_eq!(together.data[together.data.len() - alone.len()..], alone);
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
