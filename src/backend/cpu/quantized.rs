//! Activations as whole numbers of eight bits, for the `fast` precision.
//!
//! Each group of a row has a step of its own, so an outlier costs its neighbours precision and
//! nobody else. A row is quantised by itself: what else is in a batch changes nothing.

use super::kernels::interleaved::Quantize;
use super::pool::Pool;
use crate::simd::Isa;

/// Elements of a batch from which on several threads quantise it.
const PARALLEL_FROM: usize = 1 << 15;

/// One activation row: element `i` is about `steps[group] · codes[i]`.
#[derive(Debug, Default)]
pub(super) struct Quantized {
    /// Numbers from -127 to 127. For weights of four bits, of each eight elements the even ones
    /// come first, as the lower halves of the weights' bytes do.
    pub(super) codes: Vec<i8>,
    /// What a number stands for, per group.
    pub(super) steps: Vec<f32>,
    /// The step times the sum of the numbers, per group.
    pub(super) totals: Vec<f32>,
}

/// Quantises rows of `width` elements for weights of `bits` bits.
pub(super) fn quantize(
    x: &[f32],
    width: usize,
    (bits, group_size): (usize, usize),
    (isa, pool): (Isa, &Pool),
) -> Vec<Quantized> {
    let mut rows: Vec<Quantized> = Vec::new();
    rows.resize_with(x.len() / width.max(1), Quantized::default);
    let task = |index: usize, row: &mut [Quantized]| {
        row[0] = quantize_row(&x[index * width..][..width], bits, group_size, isa);
    };
    if x.len() < PARALLEL_FROM {
        for (index, row) in rows.chunks_mut(1).enumerate() {
            task(index, row);
        }
    } else {
        pool.for_each_piece(&mut rows, 1, task);
    }
    rows
}

fn quantize_row(x: &[f32], bits: usize, group_size: usize, isa: Isa) -> Quantized {
    let groups = x.len() / group_size;
    let mut row = Quantized {
        codes: vec![0; x.len()],
        steps: Vec::with_capacity(groups),
        totals: Vec::with_capacity(groups),
    };
    let codes = row.codes.chunks_exact_mut(group_size);
    for (x, codes) in x.chunks_exact(group_size).zip(codes) {
        let (step, total) = isa.run(Quantize { x, codes });
        row.steps.push(step);
        row.totals.push(step * total);
    }
    if bits == 4 {
        for eight in row.codes.as_chunks_mut::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *eight;
            *eight = [a, c, e, g, b, d, f, h];
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(x: &[f32], bits: usize, isa: Isa) -> Quantized {
        let pool = Pool::new(1).expect("no threads");
        quantize(x, x.len(), (bits, 32), (isa, &pool)).remove(0)
    }

    proptest! {
        #[test]
        fn no_element_is_off_by_more_than_half_a_step(
            x in prop::collection::vec(-1e3f32..1e3, 64),
        ) {
            let row = one(&x, 8, Isa::Portable);
            for (i, x) in x.iter().enumerate() {
                let step = row.steps[i / 32];
                let about = step * f32::from(row.codes[i]);
                prop_assert!((about - x).abs() <= step * 0.501, "{about} for {x}");
            }
            for isa in Isa::available() {
                let other = one(&x, 8, isa);
                prop_assert_eq!(&other.codes, &row.codes);
                prop_assert_eq!(&other.steps, &row.steps);
                prop_assert_eq!(&other.totals, &row.totals);
            }
        }
    }

    #[test]
    fn four_bits_want_the_even_elements_first() {
        let x: Vec<f32> = (0..32).map(|i| 127.0 - i as f32).collect();
        let row = one(&x, 4, Isa::best());
        assert_eq!(row.codes[..8], [127, 125, 123, 121, 126, 124, 122, 120]);
        assert_eq!(row.totals[0], x.iter().sum::<f32>());
    }

    #[test]
    fn zeros_have_no_step_and_what_is_no_number_stays_none() {
        for isa in Isa::available() {
            let zeros = one(&[0.0; 32], 4, isa);
            assert_eq!((zeros.steps[0], zeros.totals[0]), (0.0, 0.0));
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = [1.0; 64];
                x[40] = bad;
                let row = one(&x, 4, isa);
                assert!(row.steps[0].is_finite());
                assert!(
                    row.steps[1].is_nan() && row.totals[1].is_nan(),
                    "{bad} {isa}"
                );
            }
        }
    }
}
