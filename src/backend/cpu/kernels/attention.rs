//! One query head of one row: scores, softmax, and the mix of values.

use super::super::kv_cache::Layer;
use super::super::{AttentionShape, pointwise};
use super::lanes;
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

        let mut scores = Vec::with_capacity(self.visible - hidden);
        for (first, keys, _) in self.layer.blocks_from(hidden) {
            let from = hidden.saturating_sub(first);
            let to = (self.visible.saturating_sub(first)).min(keys.len() / width);
            let key = |position: usize| &keys[position * width..][own.clone()];
            for start in (from..to).step_by(LANES) {
                // Where there are fewer than sixteen, the last is computed again and thrown away.
                let products = std::array::from_fn(|i| {
                    lanes::<L>(self.query, key((start + i).min(to - 1)))
                });
                let products = L::sums(products).mul(L::splat(shape.scale)).store();
                scores.extend_from_slice(&products[..LANES.min(to - start)]);
            }
        }
        if let Some(cap) = shape.softcap {
            for score in &mut scores {
                *score = pointwise::softcap(*score, cap);
            }
        }
        softmax::<L>(&mut scores);

        let mix = Mix {
            layer: self.layer,
            width,
            hidden,
            weights: &scores,
        };
        let mut done = 0;
        while done < self.out.len() {
            let (at, out) = (offset + done, &mut self.out[done..]);
            done += match out.len() / LANES {
                0 => mix.rest(at, out),
                1 => mix.blocks::<L, 1>(at, out),
                2 | 3 => mix.blocks::<L, 2>(at, out),
                _ => mix.blocks::<L, 4>(at, out),
            };
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

/// The sum of values, each times its weight, fused and in the order of positions.
struct Mix<'a> {
    layer: &'a Layer,
    /// Elements of a position.
    width: usize,
    /// Positions before the first weight's.
    hidden: usize,
    weights: &'a [f32],
}

impl Mix<'_> {
    /// Calls `take` with each weight and its position's elements from `at` on.
    #[inline(always)]
    fn for_each(&self, at: usize, mut take: impl FnMut(f32, &[f32])) {
        let mut weights = self.weights;
        for (first, _, values) in self.layer.blocks_from(self.hidden) {
            let skipped = self.hidden.saturating_sub(first);
            let values = values.chunks_exact(self.width).skip(skipped);
            let mut taken = 0;
            for (value, weight) in values.zip(weights) {
                take(*weight, &value[at..]);
                taken += 1;
            }
            weights = &weights[taken..];
        }
    }

    /// Sums `N` vectors of elements in registers; returns how many elements that is.
    #[inline(always)]
    fn blocks<L: Lanes, const N: usize>(&self, at: usize, out: &mut [f32]) -> usize {
        let mut sums = [L::splat(0.0); N];
        self.for_each(at, |weight, value| {
            let weight = L::splat(weight);
            for (sum, value) in sums.iter_mut().zip(value.as_chunks::<LANES>().0) {
                *sum = weight.fma(L::load(value), *sum);
            }
        });
        for (out, sum) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
            *out = sum.store();
        }
        N * LANES
    }

    /// Sums what is left, fewer elements than a vector has.
    #[inline(always)]
    fn rest(&self, at: usize, out: &mut [f32]) -> usize {
        out.fill(0.0);
        self.for_each(at, |weight, value| {
            for (out, value) in out.iter_mut().zip(value) {
                *out = weight.mul_add(*value, *out);
            }
        });
        out.len()
    }
}
