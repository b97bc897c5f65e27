//! One query head of one row: scores, softmax, and the mix of values.

use super::super::kv_cache::Layer;
use super::super::{AttentionShape, pointwise};
use super::dot;
use crate::simd::Kernel;
use crate::simd::{LANES, Lanes};

/// Attention of one query head over the positions that its row sees.
pub(in super::super) struct Head<'a> {
    /// The query.
    pub(in super::super) query: &'a [f32],
    /// Keys and values.
    pub(in super::super) layer: &'a Layer,
    /// Positions up to the row's own, itself included.
    pub(in super::super) visible: usize,
    /// Which query head.
    pub(in super::super) head: usize,
    /// All heads.
    pub(in super::super) shape: &'a AttentionShape,
    /// The mix, as many elements as the query.
    pub(in super::super) out: &'a mut [f32],
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let shape = self.shape;
        let width = shape.kv_heads * shape.head_dim;
        let offset = self.head / (shape.heads / shape.kv_heads) * shape.head_dim;
        let own = offset..offset + shape.head_dim;
        let hidden = shape
            .window
            .map_or(0, |window| self.visible.saturating_sub(window));

        let keys = self
            .layer
            .blocks()
            .flat_map(|(keys, _)| keys.chunks_exact(width));
        let mut scores = Vec::with_capacity(self.visible - hidden);
        for key in keys.take(self.visible).skip(hidden) {
            scores.push(dot::<L>(self.query, &key[own.clone()]) * shape.scale);
        }
        if let Some(cap) = shape.softcap {
            for score in &mut scores {
                *score = pointwise::softcap(*score, cap);
            }
        }
        softmax::<L>(&mut scores);

        let values = self
            .layer
            .blocks()
            .flat_map(|(_, values)| values.chunks_exact(width));
        for (value, weight) in values.skip(hidden).zip(&scores) {
            accumulate::<L>(self.out, &value[own.clone()], *weight);
        }
    }
}

/// `exp(x - max) / Σ exp(x - max)`; score `i` is summed in lane `i mod 16`.
#[inline(always)]
fn softmax<L: Lanes>(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let max = L::splat(max);
    let (blocks, rest) = scores.as_chunks_mut::<LANES>();
    let mut sum = L::splat(0.0);
    for block in blocks.iter_mut() {
        let weights = L::load(block).sub(max).exp();
        sum = sum.add(weights);
        *block = weights.store();
    }
    let mut total = sum.store();
    let last = L::load_partial(rest).sub(max).exp().store();
    for ((score, weight), lane) in rest.iter_mut().zip(last).zip(&mut total) {
        *score = weight;
        *lane += weight;
    }
    let total = L::load(&total).sum();
    for score in scores {
        *score /= total;
    }
}

/// `out + weight · value`, fused.
#[inline(always)]
fn accumulate<L: Lanes>(out: &mut [f32], value: &[f32], weight: f32) {
    let (outs, outs_rest) = out.as_chunks_mut::<LANES>();
    let (values, values_rest) = value.as_chunks::<LANES>();
    let weights = L::splat(weight);
    for (out, value) in outs.iter_mut().zip(values) {
        *out = weights.fma(L::load(value), L::load(out)).store();
    }
    for (out, value) in outs_rest.iter_mut().zip(values_rest) {
        *out = weight.mul_add(*value, *out);
    }
}
