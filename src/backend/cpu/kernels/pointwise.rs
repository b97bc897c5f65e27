//! What works row by row or element by element and is worth vectors: norms, rotations, and
//! activations with an exponential.

use super::dot;
use super::quantize::vectors;
use crate::simd::{Kernel, LANES, Lanes};

/// `x · weight / √(mean x² + eps)` for each group of as many elements as there are weights.
pub(in super::super) struct RmsNorm<'a> {
    /// Groups one after the other.
    pub(in super::super) x: &'a [f32],
    /// One weight for each element of a group.
    pub(in super::super) weight: &'a [f32],
    /// What is added to the mean.
    pub(in super::super) eps: f32,
    /// In the shape of `x`.
    pub(in super::super) out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let length = self.weight.len().max(1);
        let groups = self.x.chunks_exact(length);
        for (x, out) in groups.zip(self.out.chunks_exact_mut(length)) {
            let mean_square = dot::<L>(x, x) / length as f32;
            let scale = 1.0 / libm::sqrtf(mean_square + self.eps);
            let scale = L::splat(scale);
            let products = vectors::<L>(x).zip(vectors::<L>(self.weight));
            let products = products.map(|(x, weight)| x.mul(scale).mul(weight).store());
            for (out, product) in out.chunks_mut(LANES).zip(products) {
                match out.first_chunk_mut() {
                    Some(out) => *out = product,
                    None => out.copy_from_slice(&product[..out.len()]),
                }
            }
        }
    }
}

/// Turns pairs of elements, half of a head apart, in place.
pub(in super::super) struct TurnHalves<'a> {
    /// Heads of one row, one after the other.
    pub(in super::super) row: &'a mut [f32],
    /// Elements of a head; those behind the pairs stay.
    pub(in super::super) head_dim: usize,
    /// The sine of each pair.
    pub(in super::super) sines: &'a [f32],
    /// The cosine of each pair.
    pub(in super::super) cosines: &'a [f32],
}

impl Kernel for TurnHalves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let pairs = self.sines.len();
        for head in self.row.chunks_exact_mut(self.head_dim) {
            let (first, second) = head[..2 * pairs].split_at_mut(pairs);
            let turns = self.sines.iter().zip(self.cosines);
            for ((a, b), (sin, cos)) in first.iter_mut().zip(second).zip(turns) {
                (*a, *b) = turn_pair(*a, *b, (*sin, *cos));
            }
        }
    }
}

/// One pair, turned.
#[inline(always)]
pub(in super::super) fn turn_pair(a: f32, b: f32, (sin, cos): (f32, f32)) -> (f32, f32) {
    (a * cos - b * sin, a * sin + b * cos)
}

/// `gate / (1 + exp(-gate)) · up`, in place.
pub(in super::super) struct SiluGate<'a> {
    /// The gate, and then the result.
    pub(in super::super) gate: &'a mut [f32],
    /// The other factor.
    pub(in super::super) up: &'a [f32],
}

impl Kernel for SiluGate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (gates, gates_rest) = self.gate.as_chunks_mut::<LANES>();
        let (ups, ups_rest) = self.up.as_chunks::<LANES>();
        for (gate, up) in gates.iter_mut().zip(ups) {
            *gate = silu_gate(L::load(gate), L::load(up)).store();
        }
        let last: [f32; LANES] =
            silu_gate(L::load_partial(gates_rest), L::load_partial(ups_rest)).store();
        for (gate, value) in gates_rest.iter_mut().zip(last) {
            *gate = value;
        }
    }
}

#[inline(always)]
fn silu_gate<L: Lanes>(gate: L, up: L) -> L {
    let denominator = L::splat(0.0).sub(gate).exp().add(L::splat(1.0));
    gate.div(denominator).mul(up)
}
