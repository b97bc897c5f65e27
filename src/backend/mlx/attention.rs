//! Grouped-query attention of a batch over the KV caches of its sequences.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{concatenate, select, softmax_axis};

use super::convert::index;
use super::{KvCache, pointwise};
use crate::backend::{AttentionShape, BackendError, Segment};

/// See [`Backend::attention`](crate::backend::Backend::attention).
pub(super) fn attend(
    [q, k, v]: [&Array; 3],
    segments: &mut [Segment<'_, KvCache>],
    layer: usize,
    shape: &AttentionShape,
) -> Result<Array, BackendError> {
    let rows: usize = segments.iter().map(|segment| segment.rows).sum();
    if index(rows)? != q.dim(0) {
        let given = q.dim(0);
        return Err(BackendError(format!("{given} rows for segments of {rows}")));
    }
    let mut mixed = Vec::with_capacity(segments.len());
    let mut first = 0;
    for segment in segments {
        let rows = first..first + segment.rows;
        first = rows.end;
        let q = heads(q, &rows, shape.heads, shape.head_dim)?;
        let k = heads(k, &rows, shape.kv_heads, shape.head_dim)?;
        let v = heads(v, &rows, shape.kv_heads, shape.head_dim)?;
        let out = attend_one(&q, [k, v], segment, layer, shape)?;
        let width = index(shape.heads * shape.head_dim)?;
        mixed.push(out.swap_axes(1, 2)?.reshape(&[index(rows.len())?, width])?);
    }
    Ok(concatenate(&mixed, 0)?)
}

/// `[rows, heads · head_dim]` to `[1, heads, rows, head_dim]`, for some of the rows.
fn heads(
    x: &Array,
    rows: &Range<usize>,
    heads: usize,
    head_dim: usize,
) -> Result<Array, BackendError> {
    let part = x.try_index((index(rows.start)?..index(rows.end)?, ..))?;
    let shape = [1, index(rows.len())?, index(heads)?, index(head_dim)?];
    Ok(part.reshape(&shape)?.swap_axes(1, 2)?)
}

/// One sequence: `q` is `[1, heads, rows, head_dim]`, and so is the result.
fn attend_one(
    q: &Array,
    new: [Array; 2],
    segment: &mut Segment<'_, KvCache>,
    layer: usize,
    shape: &AttentionShape,
) -> Result<Array, BackendError> {
    let rows = segment.rows;
    let cached = segment.cache.layer(layer)?;
    let before = cached.positions();
    cached.append(new, rows)?;
    // The first row sees furthest back.
    let start = shape
        .window
        .map_or(0, |window| (before + 1).saturating_sub(window));
    let [keys, values] = cached.from(start)?;
    if rows > 1 && segment.cache.is_last(layer) {
        // A prompt whose logits nobody asks for would stay a plan, and grow with each chunk.
        segment.cache.evaluate()?;
    }
    let visible = Visible {
        queries: before..before + rows,
        start,
        window: shape.window,
    };
    if let Some(cap) = shape.softcap {
        return capped(q, [&keys, &values], &visible, cap, shape);
    }
    let window_hides = shape.window.is_some_and(|window| before + rows > window);
    let mask;
    let mask = match (rows, window_hides) {
        (1, _) => None,
        (_, false) => Some(ScaledDotProductAttentionMask::Causal),
        (_, true) => {
            mask = visible.mask()?;
            Some(ScaledDotProductAttentionMask::Array(&mask))
        }
    };
    let scale = shape.scale;
    Ok(scaled_dot_product_attention(
        q, &keys, &values, scale, mask, None,
    )?)
}

/// Attention whose scores are capped, as in Gemma 2 (mlx-lm 0.32.2, `models/gemma2.py`): MLX has
/// no kernel for it.
fn capped(
    q: &Array,
    [keys, values]: [&Array; 2],
    visible: &Visible,
    cap: f32,
    shape: &AttentionShape,
) -> Result<Array, BackendError> {
    let group = index(shape.heads / shape.kv_heads)?;
    let [kv_heads, rows, head_dim] = [keys.dim(1), q.dim(2), q.dim(3)];
    let grouped = q.reshape(&[1, kv_heads, group, rows, head_dim])?;
    let queries = grouped.multiply(Array::from_f32(shape.scale))?;
    let keys = keys.expand_dims(2)?.swap_axes(3, 4)?;
    let scores = pointwise::softcap(&queries.matmul(keys)?, cap)?;
    let hidden = Array::from_f32(f32::NEG_INFINITY);
    let scores = select(visible.mask()?, scores, hidden)?;
    let weights = softmax_axis(&scores, -1, true)?;
    let mixed = weights.matmul(values.expand_dims(2)?)?;
    Ok(mixed.reshape(q.shape())?)
}

/// Which keys each query sees.
struct Visible {
    /// Positions of the queries.
    queries: Range<usize>,
    /// Position of the first key; the last one is that of the last query.
    start: usize,
    window: Option<usize>,
}

impl Visible {
    /// `[queries, keys]`, true where the key is seen.
    fn mask(&self) -> Result<Array, BackendError> {
        let keys = self.start..self.queries.end;
        let sees = |query: usize, key: usize| {
            key <= query && self.window.is_none_or(|window| key + window > query)
        };
        let cells = self
            .queries
            .clone()
            .flat_map(|query| keys.clone().map(move |key| sees(query, key)));
        let shape = [index(self.queries.len())?, index(keys.len())?];
        Ok(Array::from_iter(cells, &shape))
    }
}
