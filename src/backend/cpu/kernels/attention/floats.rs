//! Keys and values as they were computed, for `exact`.

use std::ops::Range;

use super::{BLOCK, Block, Query, VECTORS, add_value};
use crate::backend::AttentionShape;
use crate::simd::{LANES, Lanes};

/// Up to [`BLOCK`] positions of f32 elements.
#[derive(Debug, Clone)]
pub(in super::super::super) struct Floats {
    head_dim: usize,
    /// `[width, BLOCK]`: a vector has one element of several positions, so that a query meets
    /// many keys at once and no sum runs across a vector.
    keys: Vec<[f32; BLOCK]>,
    /// `[BLOCK, width]`.
    values: Vec<f32>,
}

impl Floats {
    /// The elements of one head in a row.
    #[inline(always)]
    fn part(&self, head: usize) -> Range<usize> {
        head * self.head_dim..(head + 1) * self.head_dim
    }

    /// The values of one head in some positions.
    #[inline(always)]
    fn values(&self, head: usize, positions: Range<usize>) -> impl Iterator<Item = &[f32]> {
        let width = self.keys.len();
        let rows = &self.values[positions.start * width..positions.end * width];
        let part = self.part(head);
        rows.chunks_exact(width)
            .map(move |value| &value[part.clone()])
    }

    /// Fetches a part of the head's values, one for each pair of elements.
    #[inline(always)]
    fn fetch_values<L: Lanes>(&self, head: usize, pair: usize) {
        let positions = (2 * BLOCK).div_ceil(self.head_dim);
        let first = (pair * positions).min(BLOCK);
        for value in self.values(head, first..(first + positions).min(BLOCK)) {
            for line in value.chunks(LANES) {
                L::prefetch(line.as_ptr().cast(), true);
            }
        }
    }
}

impl Block for Floats {
    const WHOLE: bool = false;

    fn with_room(shape: &AttentionShape) -> Self {
        let width = shape.kv_heads * shape.head_dim;
        Self {
            head_dim: shape.head_dim,
            keys: vec![[0.0; BLOCK]; width],
            values: vec![0.0; BLOCK * width],
        }
    }

    #[inline(always)]
    fn put<L: Lanes>(&mut self, column: usize, key: &[f32], value: &[f32]) {
        for (row, key) in self.keys.iter_mut().zip(key) {
            row[column] = *key;
        }
        let width = self.keys.len();
        self.values[column * width..][..width].copy_from_slice(value);
    }

    /// Even and odd elements are summed apart, fused and in order; then both are added.
    #[inline(always)]
    fn scores<L: Lanes, const H: usize>(
        &self,
        next: Option<&Self>,
        head: usize,
        queries: &[Query<'_>; H],
        mut scores: [&mut [f32; BLOCK]; H],
    ) {
        let part = self.part(head);
        let next = next.map_or(&[][..], |next| &next.keys[part.clone()]);
        let mut sums = [[[L::splat(0.0); VECTORS]; H]; 2];
        for (pair, keys) in self.keys[part].chunks(2).enumerate() {
            for keys in next.chunks(2).skip(pair).take(1) {
                for line in keys.as_flattened().chunks(LANES) {
                    L::prefetch(line.as_ptr().cast(), false);
                }
            }
            self.fetch_values::<L>(head, pair);
            for (parity, keys) in keys.iter().enumerate() {
                let keys = keys.as_chunks::<LANES>().0;
                let keys: [L; VECTORS] = std::array::from_fn(|v| L::load(&keys[v]));
                for h in 0..H {
                    let query = L::splat(queries[h].elements[2 * pair + parity]);
                    for v in 0..VECTORS {
                        let sum = &mut sums[parity][h][v];
                        *sum = query.fma(keys[v], *sum);
                    }
                }
            }
        }
        for (h, scores) in scores.iter_mut().enumerate() {
            for (v, scores) in scores.as_chunks_mut().0.iter_mut().enumerate() {
                let product = sums[0][h][v].add(sums[1][h][v]);
                *scores = product.mul(L::splat(queries[h].factor)).store();
            }
        }
    }

    #[inline(always)]
    fn weigh(&self, _head: usize, _positions: Range<usize>, weights: &mut [f32], total: f32) {
        for weight in weights {
            *weight /= total;
        }
    }

    #[inline(always)]
    fn mix<L: Lanes, const H: usize, const N: usize>(
        &self,
        (head, at): (usize, usize),
        positions: Range<usize>,
        weights: [&[f32]; H],
        mut sums: [[L; N]; H],
    ) -> [[L; N]; H] {
        for (index, value) in self.values(head, positions).enumerate() {
            let value = value[at..][..N * LANES].as_chunks::<LANES>().0;
            let value = std::array::from_fn(|n| L::load(&value[n]));
            add_value(&mut sums, weights.map(|weights| weights[index]), value);
        }
        sums
    }

    #[inline(always)]
    fn value(&self, head: usize, position: usize, element: usize) -> f32 {
        self.values[position * self.keys.len() + head * self.head_dim + element]
    }

    #[cfg(test)]
    fn key(&self, head: usize, position: usize, element: usize) -> f32 {
        self.keys[head * self.head_dim + element][position]
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        size_of_val(self.keys.as_slice()) + size_of_val(self.values.as_slice())
    }
}
