//! Grouped-query attention over a growing cache of keys and values.

use rayon::prelude::*;

use super::{AttentionShape, BackendError, Tensor, dot};

/// Multiplications below which heads are not worth a second thread.
const PARALLEL_FROM: usize = 1 << 16;

/// Keys and values of one sequence, `[positions, kv_heads · head_dim]` per layer.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone, Default)]
struct Layer {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvCache {
    pub(super) fn new(layers: usize) -> Self {
        Self {
            layers: vec![Layer::default(); layers],
        }
    }
}

/// See [`Backend::attention`](super::Backend::attention): scores and softmax in f32, positions
/// summed in order.
pub(super) fn attend(
    [q, k, v]: [Tensor; 3],
    cache: &mut KvCache,
    layer: usize,
    shape: &AttentionShape,
) -> Result<Tensor, BackendError> {
    let layers = cache.layers.len();
    let layer = cache
        .layers
        .get_mut(layer)
        .ok_or_else(|| BackendError(format!("layer {layer} of a cache of {layers} layers")))?;
    layer.keys.extend_from_slice(&k.data);
    layer.values.extend_from_slice(&v.data);
    let rows = q.rows();
    let kv_width = shape.kv_heads * shape.head_dim;
    let positions = layer.keys.len() / kv_width;
    let group = shape.heads / shape.kv_heads;

    let mut data = vec![0.0; q.data.len()];
    let task = |(index, out): (usize, &mut [f32])| {
        let (row, head) = (index / shape.heads, index % shape.heads);
        let query = &q.data[index * shape.head_dim..][..shape.head_dim];
        let visible = positions - rows + row + 1;
        let offset = head / group * shape.head_dim;
        let columns = |position: usize| {
            let start = position * kv_width + offset;
            start..start + shape.head_dim
        };
        let mut scores: Vec<f32> = (0..visible)
            .map(|position| {
                let key = &layer.keys[columns(position)];
                dot(query, key) * shape.scale
            })
            .collect();
        softmax(&mut scores);
        for (position, weight) in scores.iter().enumerate() {
            let value = &layer.values[columns(position)];
            for (out, value) in out.iter_mut().zip(value) {
                *out += weight * value;
            }
        }
    };
    if rows * positions * shape.heads * shape.head_dim < PARALLEL_FROM {
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
    };

    fn tensor(rows: usize, width: usize, seed: f32) -> Tensor {
        Tensor {
            width,
            data: (0..rows * width)
                .map(|i| (i as f32 * 0.71 + seed).sin())
                .collect(),
        }
    }

    fn rows(x: &Tensor, range: std::ops::Range<usize>) -> Tensor {
        Tensor {
            width: x.width,
            data: x.data[range.start * x.width..range.end * x.width].to_vec(),
        }
    }

    #[test]
    fn cutting_the_prompt_changes_no_bit() {
        let (q, k, v) = (tensor(7, 32, 0.1), tensor(7, 16, 0.2), tensor(7, 16, 0.3));
        let mut whole = KvCache::new(1);
        let together =
            attend([q.clone(), k.clone(), v.clone()], &mut whole, 0, &SHAPE).expect("layer 0");
        let mut cut = KvCache::new(1);
        let mut pieces = Vec::new();
        for range in [0..3, 3..4, 4..7] {
            let qkv = [
                rows(&q, range.clone()),
                rows(&k, range.clone()),
                rows(&v, range),
            ];
            pieces.extend(attend(qkv, &mut cut, 0, &SHAPE).expect("layer 0").data);
        }
        assert_eq!(together.data, pieces);
    }

    #[test]
    fn the_first_position_sees_only_its_own_value() {
        let (q, k, v) = (tensor(2, 32, 0.1), tensor(2, 16, 0.2), tensor(2, 16, 0.3));
        let out = attend([q, k, v.clone()], &mut KvCache::new(1), 0, &SHAPE).expect("layer 0");
        // Query heads 0 and 1 share key-value head 0.
        assert_eq!(out.data[..8], v.data[..8]);
        assert_eq!(out.data[8..16], v.data[..8]);
        assert_eq!(out.data[16..24], v.data[8..16]);
    }
}
