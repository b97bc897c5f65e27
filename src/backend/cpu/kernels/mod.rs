//! The inner loops, written once over [`Lanes`] and compiled for every
//! instruction set.
//!
//! [`rows`] says how a stored row becomes lanes, [`product`] multiplies rows with activations;
//! [`quantize`] turns activations into whole numbers, [`interleaved`] multiplies panels with them;
//! [`attention`] mixes values, [`pointwise`] has what works element by element. Who calls them,
//! and on how many threads, is the business of the modules above.

pub(super) mod attention;
pub(super) mod interleaved;
pub(super) mod pointwise;
pub(super) mod product;
pub(super) mod quantize;
pub(super) mod rows;

#[cfg(test)]
use crate::simd::Kernel;
use crate::simd::{LANES, Lanes};

/// The inner product of two rows of equal length.
///
/// Element `i` is multiplied into lane `i mod 16`, fused and in order; then the lanes are added
/// pairwise. This order is the backend's contract: every product of a weight row and an
/// activation row has it, whatever the storage and the instruction set.
#[inline(always)]
pub(super) fn dot<L: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    lanes::<L>(a, b).sum()
}

/// [`dot`] before its lanes are added.
#[inline(always)]
pub(super) fn lanes<L: Lanes>(a: &[f32], b: &[f32]) -> L {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sum = L::splat(0.0);
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        sum = L::load(a).fma(L::load(b), sum);
    }
    if !a_rest.is_empty() {
        sum = L::load_partial(a_rest).fma(L::load_partial(b_rest), sum);
    }
    sum
}

/// [`dot`] as a kernel of its own, which other kernels are compared with.
#[cfg(test)]
pub(super) struct Dot<'a>(pub(super) &'a [f32], pub(super) &'a [f32]);

#[cfg(test)]
impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        dot::<L>(self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Isa;

    proptest! {
        #[test]
        fn dot_agrees_with_a_sum_in_double_precision(
            pairs in prop::collection::vec((-4.0f32..4.0, -4.0f32..4.0), 0..200),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let exact: f64 = pairs.iter().map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let size: f64 = pairs.iter().map(|(x, y)| f64::from(x * y).abs()).sum();
            let expected = Isa::Portable.run(Dot(&a, &b));
            prop_assert!((f64::from(expected) - exact).abs() <= 1e-6 * size + 1e-12);
            for isa in Isa::available() {
                prop_assert_eq!(isa.run(Dot(&a, &b)).to_bits(), expected.to_bits(), "{}", isa);
            }
        }
    }
}
