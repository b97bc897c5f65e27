//! The query heads of one row: scores, softmax, and the mix of values.
//!
//! Heads that share keys and values are computed together, so that each key and value is loaded
//! once for all of them.

use super::super::kv_cache::{BLOCK, Layer};
use super::super::{AttentionShape, pointwise};
use crate::simd::Kernel;
use crate::simd::{LANES, Lanes};

/// Vectors of a block's positions.
const VECTORS: usize = BLOCK / LANES;

/// Attention of some query heads over the positions that their row sees.
pub(in super::super) struct Heads<'a> {
    /// The queries, `[heads, head_dim]`: one head, or all heads of some key and value heads.
    pub(in super::super) queries: &'a [f32],
    /// Keys and values.
    pub(in super::super) layer: &'a Layer,
    /// Positions up to the row's own, itself included.
    pub(in super::super) visible: usize,
    /// The key and value head of the first of them.
    pub(in super::super) kv_head: usize,
    /// All heads.
    pub(in super::super) shape: &'a AttentionShape,
    /// Room for scores, of any length.
    pub(in super::super) scratch: &'a mut Vec<f32>,
    /// The mixes, in the shape of the queries.
    pub(in super::super) out: &'a mut [f32],
}

impl Kernel for Heads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let shape = self.shape;
        let group = shape.heads / shape.kv_heads * shape.head_dim;
        let hidden = shape
            .window
            .map_or(0, |window| self.visible.saturating_sub(window));
        let queries = self.queries.chunks(group);
        for (index, (queries, out)) in queries.zip(self.out.chunks_mut(group)).enumerate() {
            let seen = Seen {
                layer: self.layer,
                width: shape.kv_heads * shape.head_dim,
                offset: (self.kv_head + index) * shape.head_dim,
                head_dim: shape.head_dim,
                hidden,
                visible: self.visible,
            };
            let queries = queries.chunks(4 * shape.head_dim);
            for (queries, out) in queries.zip(out.chunks_mut(4 * shape.head_dim)) {
                match queries.len() / shape.head_dim {
                    1 => seen.attend::<L, 1>(queries, shape, self.scratch, out),
                    2 => seen.attend::<L, 2>(queries, shape, self.scratch, out),
                    3 => seen.attend::<L, 3>(queries, shape, self.scratch, out),
                    _ => seen.attend::<L, 4>(queries, shape, self.scratch, out),
                }
            }
        }
    }
}

/// `exp(x - max) / Σ exp(x - max)`; score `i` is summed in lane `i mod 16`.
#[inline(always)]
fn softmax<L: Lanes>(scores: &mut [f32]) {
    let (blocks, rest) = scores.as_chunks_mut::<LANES>();
    let greatest = blocks.iter().map(L::load);
    let greatest = greatest.fold(L::splat(f32::NEG_INFINITY), L::max).store();
    let max = greatest.iter().chain(&*rest).copied();
    let max = L::splat(max.fold(f32::NEG_INFINITY, f32::max));
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
    /// Elements of the head.
    head_dim: usize,
    /// Positions before the first one seen.
    hidden: usize,
    /// Positions before the first one not seen any more.
    visible: usize,
}

impl<'a> Seen<'a> {
    /// The head's keys, `[head_dim, BLOCK]`, of each block that has positions seen.
    #[inline(always)]
    fn keys(&self) -> impl Iterator<Item = &'a [f32]> {
        let part = self.offset * BLOCK..(self.offset + self.head_dim) * BLOCK;
        self.layer
            .keys(self.hidden, self.visible)
            .map(move |keys| &keys[part.clone()])
    }

    /// Values, `[positions, width]`, of the positions seen, block by block.
    #[inline(always)]
    fn values(&self) -> impl Iterator<Item = &'a [f32]> {
        self.layer.values(self.hidden, self.visible)
    }

    /// The attention of `H` heads.
    #[inline(always)]
    fn attend<L: Lanes, const H: usize>(
        &self,
        queries: &[f32],
        shape: &AttentionShape,
        scratch: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let first = self.hidden / BLOCK;
        let room = (self.visible.div_ceil(BLOCK) - first) * BLOCK;
        if scratch.len() < H * room {
            scratch.resize(H * room, 0.0);
        }
        let mut scores = scratch[..H * room].chunks_exact_mut(room);
        let mut scores: [&mut [f32]; H] =
            std::array::from_fn(|_| scores.next().unwrap_or_default());
        self.scores::<L, H>(queries, shape.scale, &mut scores);
        let seen = self.hidden - first * BLOCK..self.visible - first * BLOCK;
        let weights = scores.map(|scores| {
            let scores = &mut scores[seen.clone()];
            if let Some(cap) = shape.softcap {
                for score in scores.iter_mut() {
                    *score = pointwise::softcap(*score, cap);
                }
            }
            softmax::<L>(scores);
            &*scores
        });
        let mut done = 0;
        while done < self.head_dim {
            done += match (self.head_dim - done) / LANES {
                0 => self.mix_rest(weights, out, done),
                1 => self.mix_blocks::<L, H, 1>(weights, out, done),
                2 | 3 => self.mix_blocks::<L, H, 2>(weights, out, done),
                _ => self.mix_blocks::<L, H, 4>(weights, out, done),
            };
        }
    }

    /// The inner products of `H` queries with the keys of all blocks that have positions seen,
    /// scaled. Even and odd elements are summed apart, fused and in order; then both are added.
    #[inline(always)]
    fn scores<L: Lanes, const H: usize>(
        &self,
        queries: &[f32],
        scale: f32,
        scores: &mut [&mut [f32]; H],
    ) {
        let mut queries = queries.chunks_exact(self.head_dim);
        let queries: [&[f32]; H] = std::array::from_fn(|_| queries.next().unwrap_or_default());
        // What is read once per step and sequence is in no near cache, so it is fetched while
        // something else is computed: the values that will be mixed, and the next keys.
        let mut next = self.keys().skip(1);
        for ((block, keys), values) in self.keys().enumerate().zip(self.values()) {
            let next = next.next().unwrap_or_default();
            let mut sums = [[[L::splat(0.0); VECTORS]; H]; 2];
            for (pair, keys) in keys.chunks(2 * BLOCK).enumerate() {
                for line in next
                    .chunks(LANES)
                    .skip(2 * VECTORS * pair)
                    .take(2 * VECTORS)
                {
                    L::prefetch(line.as_ptr().cast(), false);
                }
                self.fetch_values::<L>(values, pair);
                for (parity, keys) in keys.chunks_exact(BLOCK).enumerate() {
                    let keys = keys.as_chunks::<LANES>().0;
                    let keys: [L; VECTORS] = std::array::from_fn(|v| L::load(&keys[v]));
                    for h in 0..H {
                        let query = L::splat(queries[h][2 * pair + parity]);
                        for v in 0..VECTORS {
                            let sum = &mut sums[parity][h][v];
                            *sum = query.fma(keys[v], *sum);
                        }
                    }
                }
            }
            for (h, scores) in scores.iter_mut().enumerate() {
                let scores = &mut scores[block * BLOCK..][..BLOCK];
                for (v, scores) in scores.as_chunks_mut().0.iter_mut().enumerate() {
                    let product = sums[0][h][v].add(sums[1][h][v]);
                    *scores = product.mul(L::splat(scale)).store();
                }
            }
        }
    }

    /// Fetches a part of the head's values in a block, one for each pair of elements.
    #[inline(always)]
    fn fetch_values<L: Lanes>(&self, values: &[f32], pair: usize) {
        let positions = (2 * BLOCK).div_ceil(self.head_dim);
        for value in values
            .chunks_exact(self.width)
            .skip(pair * positions)
            .take(positions)
        {
            for line in value[self.offset..][..self.head_dim].chunks(LANES) {
                L::prefetch(line.as_ptr().cast(), true);
            }
        }
    }

    /// For `H` heads, the sum of values, each times its weight, fused and in the order of
    /// positions: `N` vectors from element `at` on, in registers. Returns how many elements that
    /// is.
    #[inline(always)]
    fn mix_blocks<L: Lanes, const H: usize, const N: usize>(
        &self,
        mut weights: [&[f32]; H],
        out: &mut [f32],
        at: usize,
    ) -> usize {
        let mut sums = [[L::splat(0.0); N]; H];
        for values in self.values() {
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
            let out = out[h * self.head_dim + at..][..N * LANES].as_chunks_mut().0;
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum.store();
            }
        }
        N * LANES
    }

    /// What is left, fewer elements than a vector has.
    #[inline(always)]
    fn mix_rest<const H: usize>(&self, weights: [&[f32]; H], out: &mut [f32], at: usize) -> usize {
        for (h, weights) in weights.iter().enumerate() {
            let out = &mut out[h * self.head_dim + at..(h + 1) * self.head_dim];
            out.fill(0.0);
            let values = self
                .values()
                .flat_map(|values| values.chunks_exact(self.width));
            for (value, weight) in values.zip(*weights) {
                for (out, value) in out.iter_mut().zip(&value[self.offset + at..]) {
                    *out = weight.mul_add(*value, *out);
                }
            }
        }
        self.head_dim - at
    }
}
