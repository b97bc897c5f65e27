//! The query heads of one row: scores, softmax, and the mix of values.
//!
//! Heads that share keys and values are computed together, so that each key and value is loaded
//! once for all of them. What keys and values are stored as, and what it takes to read them, is
//! the business of [`floats`] and [`bytes`].

mod bytes;
mod floats;

use std::ops::Range;

use super::super::kv_cache::Positions;
use super::super::{AttentionShape, pointwise};
use super::quantize::to_codes;
use crate::simd::{Kernel, LANES, Lanes};

pub(in super::super) use bytes::Bytes;
pub(in super::super) use floats::Floats;

/// Positions per block: small enough that a fork copies little, large enough that walking the
/// blocks costs nothing beside the work on their contents.
pub(in super::super) const BLOCK: usize = 32;

/// Vectors of a block's positions.
const VECTORS: usize = BLOCK / LANES;

/// Keys and values of up to [`BLOCK`] positions. Behind the last one lies anything.
pub(in super::super) trait Block: Clone {
    /// Whether keys are whole numbers, and want such queries.
    const WHOLE: bool;

    /// A block without positions.
    fn with_room(shape: &AttentionShape) -> Self;

    /// Writes one position: `kv_heads · head_dim` elements of each.
    fn put<L: Lanes>(&mut self, column: usize, key: &[f32], value: &[f32]);

    /// The inner products of `H` queries with the keys of one head, of all positions, scaled.
    /// Fetches ahead what comes next: the keys of the next block, and the values of this one.
    fn scores<L: Lanes, const H: usize>(
        &self,
        next: Option<&Self>,
        head: usize,
        queries: &[Query<'_>; H],
        scores: [&mut [f32; BLOCK]; H],
    );

    /// Divides weights of some positions by their total, and makes them weights of the values as
    /// they are stored.
    fn weigh(&self, head: usize, positions: Range<usize>, weights: &mut [f32], total: f32);

    /// Adds to `N` vectors the values of some positions, each times its weight, fused and in
    /// order. `place` is the head, and the element from which on they are.
    fn mix<L: Lanes, const H: usize, const N: usize>(
        &self,
        place: (usize, usize),
        positions: Range<usize>,
        weights: [&[f32]; H],
        sums: [[L; N]; H],
    ) -> [[L; N]; H];

    /// One element of a stored value.
    fn value(&self, head: usize, position: usize, element: usize) -> f32;

    /// One element of a key, as it counts.
    #[cfg(test)]
    fn key(&self, head: usize, position: usize, element: usize) -> f32;

    /// Bytes of keys, values, and what they stand for.
    #[cfg(test)]
    fn bytes(&self) -> usize;
}

/// Adds one value to the sums of `H` heads, times the weight that each has for it.
#[inline(always)]
fn add_value<L: Lanes, const H: usize, const N: usize>(
    sums: &mut [[L; N]; H],
    weights: [f32; H],
    value: [L; N],
) {
    for h in 0..H {
        let weight = L::splat(weights[h]);
        for n in 0..N {
            sums[h][n] = weight.fma(value[n], sums[h][n]);
        }
    }
}

/// One head of a query.
#[derive(Clone, Copy)]
pub(in super::super) struct Query<'a> {
    /// Its elements.
    elements: &'a [f32],
    /// The elements as whole numbers, if keys want them, four by four with zeros behind the last.
    codes: &'a [[i8; 4]],
    /// The sum of these.
    total: f32,
    /// What a product stands for: the scale of the scores, times that of the numbers.
    factor: f32,
}

/// What a thread keeps from one row to the next, because allocating it would cost as much as a
/// head.
#[derive(Default)]
pub(in super::super) struct Scratch {
    scores: Vec<[f32; BLOCK]>,
    codes: Vec<[i8; 4]>,
}

/// Attention of some query heads over the positions that their row sees.
pub(in super::super) struct Heads<'a, B> {
    /// The queries, `[heads, head_dim]`: one head, or all heads of some key and value heads.
    pub(in super::super) queries: &'a [f32],
    /// Keys and values.
    pub(in super::super) layer: &'a Positions<B>,
    /// Positions up to the row's own, itself included.
    pub(in super::super) visible: usize,
    /// The key and value head of the first of them.
    pub(in super::super) kv_head: usize,
    /// All heads.
    pub(in super::super) shape: &'a AttentionShape,
    /// Room of any size.
    pub(in super::super) scratch: &'a mut Scratch,
    /// The mixes, in the shape of the queries.
    pub(in super::super) out: &'a mut [f32],
}

impl<B: Block> Kernel for Heads<'_, B> {
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
                head: self.kv_head + index,
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

/// `exp(x - max)`, and `Σ exp(x - max)`; score `i` is summed in lane `i mod 16`.
#[inline(always)]
fn exponentials<L: Lanes>(scores: &mut [f32]) -> f32 {
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
    L::load(&total).sum()
}

/// One head of the keys and values that a row sees.
struct Seen<'a, B> {
    layer: &'a Positions<B>,
    /// Which key and value head.
    head: usize,
    /// Elements of the head.
    head_dim: usize,
    /// Positions before the first one seen.
    hidden: usize,
    /// Positions before the first one not seen any more.
    visible: usize,
}

impl<B: Block> Seen<'_, B> {
    /// The attention of `H` heads.
    #[inline(always)]
    fn attend<L: Lanes, const H: usize>(
        &self,
        queries: &[f32],
        shape: &AttentionShape,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let blocks = self.visible.div_ceil(BLOCK) - self.hidden / BLOCK;
        if scratch.scores.len() < H * blocks {
            scratch.scores.resize(H * blocks, [0.0; BLOCK]);
        }
        let mut scores = scratch.scores.chunks_exact_mut(blocks);
        let mut scores: [&mut [[f32; BLOCK]]; H] =
            std::array::from_fn(|_| scores.next().unwrap_or_default());
        let queries = self.queries::<L, H>(queries, shape.scale, &mut scratch.codes);
        self.scores::<L, H>(&queries, &mut scores);
        let first = self.hidden / BLOCK * BLOCK;
        let seen = self.hidden - first..self.visible - first;
        let weights = scores.map(|scores| {
            let scores = &mut scores.as_flattened_mut()[seen.clone()];
            if let Some(cap) = shape.softcap {
                for score in scores.iter_mut() {
                    *score = pointwise::softcap(*score, cap);
                }
            }
            let total = exponentials::<L>(scores);
            self.weigh(scores, total);
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

    /// The heads of a query, as the keys want them.
    #[inline(always)]
    fn queries<'q, L: Lanes, const H: usize>(
        &self,
        queries: &'q [f32],
        scale: f32,
        codes: &'q mut Vec<[i8; 4]>,
    ) -> [Query<'q>; H] {
        let mut heads = queries.chunks_exact(self.head_dim);
        let mut heads: [Query<'_>; H] = std::array::from_fn(|_| Query {
            elements: heads.next().unwrap_or_default(),
            codes: &[],
            total: 0.0,
            factor: scale,
        });
        if !B::WHOLE {
            return heads;
        }
        let length = self.head_dim.next_multiple_of(LANES) / 4;
        if codes.len() < H * length {
            codes.resize(H * length, [0; 4]);
        }
        for (head, codes) in heads.iter_mut().zip(codes.chunks_exact_mut(length)) {
            let sixteens = codes.as_chunks_mut::<{ LANES / 4 }>().0;
            let (step, total) = to_codes::<L>(head.elements, |index, codes| {
                sixteens[index].as_flattened_mut().copy_from_slice(&codes);
            });
            head.codes = codes;
            head.total = total;
            head.factor = scale * step;
        }
        heads
    }

    /// The scores of all positions in the blocks that have some seen.
    #[inline(always)]
    fn scores<L: Lanes, const H: usize>(
        &self,
        queries: &[Query<'_>; H],
        scores: &mut [&mut [[f32; BLOCK]]; H],
    ) {
        // What is read once per step and sequence is in no near cache, so it is fetched while
        // something else is computed.
        let mut blocks = self.layer.blocks(self.hidden, self.visible).peekable();
        let mut index = 0;
        while let Some((block, _)) = blocks.next() {
            let next = blocks.peek().map(|(block, _)| *block);
            let scores = scores.each_mut().map(|scores| &mut scores[index]);
            block.scores::<L, H>(next, self.head, queries, scores);
            index += 1;
        }
    }

    /// Exponentials become weights of what is stored for the values.
    #[inline(always)]
    fn weigh(&self, weights: &mut [f32], total: f32) {
        let mut rest = weights;
        for (block, positions) in self.layer.blocks(self.hidden, self.visible) {
            let (these, others) = rest.split_at_mut(positions.len());
            block.weigh(self.head, positions, these, total);
            rest = others;
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
        for (block, positions) in self.layer.blocks(self.hidden, self.visible) {
            let count = positions.len();
            let these = weights.map(|weights| &weights[..count]);
            sums = block.mix::<L, H, N>((self.head, at), positions, these, sums);
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
            let positions = self.layer.blocks(self.hidden, self.visible);
            let positions =
                positions.flat_map(|(block, positions)| positions.map(move |p| (block, p)));
            for ((block, position), weight) in positions.zip(*weights) {
                for (index, out) in out.iter_mut().enumerate() {
                    let value = block.value(self.head, position, at + index);
                    *out = weight.mul_add(value, *out);
                }
            }
        }
        self.head_dim - at
    }
}
