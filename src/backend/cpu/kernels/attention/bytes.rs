//! Keys and values as whole numbers of eight bits, one step for each head of each position, for
//! `fast`: a quarter of the memory, which is what attention of many sequences waits for.
//!
//! Queries become whole numbers too, so scores are sums of integers and exact in any order. A
//! position is quantised by itself: what is in the cache beside it changes nothing.

use std::ops::Range;

use super::super::quantize::to_codes;
use super::{BLOCK, Block, Query, VECTORS, add_value};
use crate::backend::AttentionShape;
use crate::simd::{CODES, LANES, Lanes};

/// What is added to a key's number, so that it has no sign: inner products want one factor
/// without.
const OFFSET: u8 = 128;

/// Up to [`BLOCK`] positions of whole numbers.
#[derive(Debug, Clone)]
pub(in super::super::super) struct Bytes {
    head_dim: usize,
    /// `[kv_heads, head_dim / 4, BLOCK, 4]`, with [`OFFSET`]: a vector has four elements of
    /// sixteen positions.
    keys: Vec<[u8; CODES]>,
    /// What a key's number stands for, `[kv_heads, BLOCK]`.
    key_steps: Vec<[f32; BLOCK]>,
    /// `[kv_heads, BLOCK, head_dim]`.
    values: Vec<i8>,
    /// What a value's number stands for, `[kv_heads, BLOCK]`.
    value_steps: Vec<[f32; BLOCK]>,
}

impl Bytes {
    /// Vectors of one head's keys.
    #[inline(always)]
    fn vectors(&self) -> usize {
        self.head_dim.div_ceil(4) * VECTORS
    }

    /// The keys of one head.
    #[inline(always)]
    fn keys(&self, head: usize) -> &[[u8; CODES]] {
        &self.keys[head * self.vectors()..][..self.vectors()]
    }

    /// The values of one head, all positions.
    #[inline(always)]
    fn values(&self, head: usize) -> &[i8] {
        let length = BLOCK * self.head_dim;
        &self.values[head * length..][..length]
    }

    /// Writes the key of one head.
    #[inline(always)]
    fn put_key<L: Lanes>(&mut self, head: usize, column: usize, key: &[f32]) {
        let vectors = self.vectors();
        let keys = &mut self.keys[head * vectors..][..vectors];
        let (vector, lane) = (column / LANES, column % LANES);
        let (step, _) = to_codes::<L>(key, |index, codes| {
            let fours = keys.chunks_exact_mut(VECTORS).skip(index * LANES / 4);
            for (keys, codes) in fours.zip(codes.as_chunks::<4>().0) {
                let codes = codes.map(|code| code.cast_unsigned().wrapping_add(OFFSET));
                keys[vector][4 * lane..][..4].copy_from_slice(&codes);
            }
        });
        self.key_steps[head][column] = step;
    }

    /// Writes the value of one head.
    #[inline(always)]
    fn put_value<L: Lanes>(&mut self, head: usize, column: usize, value: &[f32]) {
        let start = (head * BLOCK + column) * self.head_dim;
        let values = &mut self.values[start..][..self.head_dim];
        let (step, _) = to_codes::<L>(value, |index, codes| {
            let values = &mut values[index * LANES..];
            match values.first_chunk_mut() {
                Some(values) => *values = codes,
                None => values.copy_from_slice(&codes[..values.len()]),
            }
        });
        self.value_steps[head][column] = step;
    }
}

impl Block for Bytes {
    const WHOLE: bool = true;

    fn with_room(shape: &AttentionShape) -> Self {
        let heads = shape.kv_heads;
        Self {
            head_dim: shape.head_dim,
            keys: vec![[OFFSET; CODES]; heads * shape.head_dim.div_ceil(4) * VECTORS],
            key_steps: vec![[0.0; BLOCK]; heads],
            values: vec![0; heads * BLOCK * shape.head_dim],
            value_steps: vec![[0.0; BLOCK]; heads],
        }
    }

    #[inline(always)]
    fn put<L: Lanes>(&mut self, column: usize, key: &[f32], value: &[f32]) {
        let rows = key
            .chunks_exact(self.head_dim)
            .zip(value.chunks_exact(self.head_dim));
        for (head, (key, value)) in rows.enumerate() {
            self.put_key::<L>(head, column, key);
            self.put_value::<L>(head, column, value);
        }
    }

    #[inline(always)]
    fn scores<L: Lanes, const H: usize>(
        &self,
        next: Option<&Self>,
        head: usize,
        queries: &[Query<'_>; H],
        mut scores: [&mut [f32; BLOCK]; H],
    ) {
        let next = next.map_or(&[][..], |next| next.keys(head));
        let values = self.values(head).chunks(CODES);
        let keys = self.keys(head);
        for (line, values) in next.iter().zip(values) {
            L::prefetch(line.as_ptr(), false);
            L::prefetch(values.as_ptr().cast(), true);
        }
        let mut sums = [[L::no_integers(); VECTORS]; H];
        for (four, keys) in keys.chunks_exact(VECTORS).enumerate() {
            let keys: [L::Codes; VECTORS] = std::array::from_fn(|v| L::codes(&keys[v]));
            for h in 0..H {
                for v in 0..VECTORS {
                    sums[h][v] = L::dot8(sums[h][v], keys[v], queries[h].codes[four]);
                }
            }
        }
        let steps = self.key_steps[head].as_chunks::<LANES>().0;
        for (h, scores) in scores.iter_mut().enumerate() {
            let offset = L::splat(f32::from(OFFSET) * queries[h].total);
            for (v, scores) in scores.as_chunks_mut().0.iter_mut().enumerate() {
                // Sums of up to 512 products are below 2^24, so exact in f32.
                let product = L::from_integers(sums[h][v]).sub(offset);
                let stands_for = L::load(&steps[v]).mul(L::splat(queries[h].factor));
                *scores = product.mul(stands_for).store();
            }
        }
    }

    #[inline(always)]
    fn weigh(&self, head: usize, positions: Range<usize>, weights: &mut [f32], total: f32) {
        let share = 1.0 / total;
        for (weight, step) in weights.iter_mut().zip(&self.value_steps[head][positions]) {
            *weight *= step * share;
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
        let rows = &self.values(head)[positions.start * self.head_dim..];
        let rows = rows.chunks_exact(self.head_dim).take(positions.len());
        for (index, value) in rows.enumerate() {
            let value = value[at..][..N * LANES].as_chunks::<LANES>().0;
            let value = std::array::from_fn(|n| L::from_i8(&value[n]));
            add_value(&mut sums, weights.map(|weights| weights[index]), value);
        }
        sums
    }

    #[inline(always)]
    fn value(&self, head: usize, position: usize, element: usize) -> f32 {
        f32::from(self.values(head)[position * self.head_dim + element])
    }

    #[cfg(test)]
    fn key(&self, head: usize, position: usize, element: usize) -> f32 {
        let vector = self.keys(head)[element / 4 * VECTORS + position / LANES];
        let number = vector[position % LANES * 4 + element % 4];
        (f32::from(number) - f32::from(OFFSET)) * self.key_steps[head][position]
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        size_of_val(self.keys.as_slice())
            + size_of_val(self.key_steps.as_slice())
            + size_of_val(self.values.as_slice())
            + size_of_val(self.value_steps.as_slice())
    }
}
