//! What works element by element and is worth vectors: activations with an exponential.

use crate::simd::{Kernel, LANES, Lanes};

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
