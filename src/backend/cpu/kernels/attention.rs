//! The query heads of one row that share a key and value head: scores, softmax, and the mix of
//! values.

use super::super::kv_cache::Layer;
use super::super::{AttentionShape, pointwise};
use super::lanes;
use crate::simd::Kernel;
use crate::simd::{LANES, Lanes};

/// Attention of some query heads over the positions that their row sees.
pub(in super::super) struct Heads<'a> {
    /// The queries, `[heads, head_dim]`.
    pub(in super::super) queries: &'a [f32],
    /// Keys and values.
    pub(in super::super) layer: &'a Layer,
    /// Positions up to the row's own, itself included.
    pub(in super::super) visible: usize,
    /// Which key and value head they share.
    pub(in super::super) kv_head: usize,
    /// All heads.
    pub(in super::super) shape: &'a AttentionShape,
    /// The mixes, in the shape of the queries.
    pub(in super::super) out: &'a mut [f32],
}

impl Kernel for Heads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let shape = self.shape;
        let hidden = shape
            .window
            .map_or(0, |window| self.visible.saturating_sub(window));
        let seen = Seen {
            layer: self.layer,
            width: shape.kv_heads * shape.head_dim,
            offset: self.kv_head * shape.head_dim,
            hidden,
            visible: self.visible,
        };
        let count = self.visible - hidden;
        let heads = self.queries.len() / shape.head_dim;
        let mut weights = Vec::with_capacity(heads * count);
        for query in self.queries.chunks_exact(shape.head_dim) {
            let start = weights.len();
            seen.scores::<L>(query, shape.scale, &mut weights);
            let scores = &mut weights[start..];
            if let Some(cap) = shape.softcap {
                for score in scores.iter_mut() {
                    *score = pointwise::softcap(*score, cap);
                }
            }
            softmax::<L>(scores);
        }
        let mut done = 0;
        while done < heads {
            let weights = &weights[done * count..];
            let out = &mut self.out[done * shape.head_dim..];
            done += match heads - done {
                4.. => seen.mix::<L, 4>(weights, out, shape.head_dim),
                2 | 3 => seen.mix::<L, 2>(weights, out, shape.head_dim),
                _ => seen.mix::<L, 1>(weights, out, shape.head_dim),
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

/// One head of the keys and values that a row sees.
struct Seen<'a> {
    layer: &'a Layer,
    /// Elements of a position.
    width: usize,
    /// Elements of a position before the head's own.
    offset: usize,
    /// Positions before the first one seen.
    hidden: usize,
    /// Positions before the first one not seen any more.
    visible: usize,
}

impl<'a> Seen<'a> {
    /// Keys and values, block by block, of the positions seen: `[positions, width]`.
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = (&'a [f32], &'a [f32])> {
        let (width, hidden, visible) = (self.width, self.hidden, self.visible);
        self.layer
            .blocks_from(hidden)
            .map_while(move |(first, keys, values)| {
                let from = hidden.saturating_sub(first);
                let to = visible.checked_sub(first)?.min(keys.len() / width);
                let part = from * width..to * width;
                Some((keys.get(part.clone())?, values.get(part)?))
            })
    }

    /// Appends the inner product with each key, scaled.
    #[inline(always)]
    fn scores<L: Lanes>(&self, query: &[f32], scale: f32, scores: &mut Vec<f32>) {
        for (keys, _) in self.blocks() {
            for sixteen in keys.chunks(LANES * self.width) {
                // Where there are fewer, the last is computed again and thrown away.
                let count = sixteen.len() / self.width;
                let products = std::array::from_fn(|i| {
                    let start = i.min(count - 1) * self.width + self.offset;
                    lanes::<L>(query, &sixteen[start..][..query.len()])
                });
                let products = L::sums(products).mul(L::splat(scale)).store();
                scores.extend_from_slice(&products[..count]);
            }
        }
    }

    /// For `H` heads, the sum of values, each times its weight, fused and in the order of
    /// positions. Returns `H`.
    #[inline(always)]
    fn mix<L: Lanes, const H: usize>(
        &self,
        weights: &[f32],
        out: &mut [f32],
        head_dim: usize,
    ) -> usize {
        let count = self.visible - self.hidden;
        let weights: [&[f32]; H] = std::array::from_fn(|h| &weights[h * count..][..count]);
        let mut done = 0;
        while done < head_dim {
            done += match (head_dim - done) / LANES {
                0 => self.mix_rest(weights, out, head_dim, done),
                1 => self.mix_blocks::<L, H, 1>(weights, out, head_dim, done),
                2 | 3 => self.mix_blocks::<L, H, 2>(weights, out, head_dim, done),
                _ => self.mix_blocks::<L, H, 4>(weights, out, head_dim, done),
            };
        }
        H
    }

    /// `N` vectors of each head from element `at` on, in registers; returns how many elements
    /// that is.
    #[inline(always)]
    fn mix_blocks<L: Lanes, const H: usize, const N: usize>(
        &self,
        mut weights: [&[f32]; H],
        out: &mut [f32],
        head_dim: usize,
        at: usize,
    ) -> usize {
        let mut sums = [[L::splat(0.0); N]; H];
        for (_, values) in self.blocks() {
            let count = values.len() / self.width;
            let these = weights.map(|weights| &weights[..count]);
            for (position, value) in values.chunks_exact(self.width).enumerate() {
                let value = &value[self.offset + at..][..N * LANES];
                let value = value.as_chunks::<LANES>().0;
                let value: [L; N] = std::array::from_fn(|n| L::load(&value[n]));
                for h in 0..H {
                    let weight = L::splat(these[h][position]);
                    for n in 0..N {
                        sums[h][n] = weight.fma(value[n], sums[h][n]);
                    }
                }
            }
            weights = weights.map(|weights| &weights[count..]);
        }
        for (h, sums) in sums.iter().enumerate() {
            let out = out[h * head_dim + at..][..N * LANES].as_chunks_mut().0;
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum.store();
            }
        }
        N * LANES
    }

    /// What is left, fewer elements than a vector has.
    #[inline(always)]
    fn mix_rest<const H: usize>(
        &self,
        weights: [&[f32]; H],
        out: &mut [f32],
        head_dim: usize,
        at: usize,
    ) -> usize {
        for (h, weights) in weights.iter().enumerate() {
            let out = &mut out[h * head_dim + at..(h + 1) * head_dim];
            out.fill(0.0);
            let values = self
                .blocks()
                .flat_map(|(_, values)| values.chunks_exact(self.width));
            for (value, weight) in values.zip(*weights) {
                for (out, value) in out.iter_mut().zip(&value[self.offset + at..]) {
                    *out = weight.mul_add(*value, *out);
                }
            }
        }
        head_dim - at
    }
}
