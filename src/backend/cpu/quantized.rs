//! Activations as whole numbers, one step for each group of elements that share a scale.
//!
//! An outlier costs its neighbours in the group precision and nobody else. A row is quantised by
//! itself: what else is in a batch changes nothing. How many digits of eight bits a number has is
//! the precision: one for `fast`; three for `exact`, which then errs by no more than f32 itself
//! errs on the greatest element of the group.

use super::Precision;
use super::kernels::quantize::Quantize;
use super::pool::Pool;
use crate::simd::Isa;

/// Elements of a batch from which on several threads quantise it.
const PARALLEL_FROM: usize = 1 << 13;

/// Which numbers weights are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bits of the weights' codes, four or eight.
    pub(super) bits: usize,
    /// Elements that share a scale, and a step.
    pub(super) group_size: usize,
    /// How many digits.
    pub(super) precision: Precision,
}

/// Activation rows as numbers.
#[derive(Debug)]
pub(super) struct Quantized {
    /// Elements of a row.
    width: usize,
    layout: Layout,
    codes: Vec<i8>,
    steps: Vec<f32>,
    totals: Vec<f32>,
}

/// One activation row: element `i` is about `step of its group · Σ over digits d of 256^(last - d)
/// · codes[d][i]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// `[digits, width]`, the greatest digit first. For weights of four bits, of each eight
    /// elements the even ones come first, as the lower halves of the weights' bytes do.
    pub(super) codes: &'a [i8],
    /// What a number stands for, per group.
    pub(super) steps: &'a [f32],
    /// The step times the sum of the numbers, per group.
    pub(super) totals: &'a [f32],
}

impl Precision {
    /// Digits of an activation.
    fn digits(self) -> usize {
        match self {
            Self::Exact => 3,
            Self::Fast => 1,
        }
    }
}

impl Quantized {
    /// Quantises rows of `width` elements, which is a multiple of the group size.
    pub(super) fn new(x: &[f32], width: usize, layout: Layout, (isa, pool): (Isa, &Pool)) -> Self {
        let groups = x.len() / layout.group_size;
        let mut quantized = Self {
            width,
            layout,
            codes: vec![0; layout.precision.digits() * x.len()],
            steps: vec![0.0; groups],
            totals: vec![0.0; groups],
        };
        let groups = width / layout.group_size;
        let codes = quantized
            .codes
            .chunks_exact_mut(layout.precision.digits() * width);
        let steps = quantized.steps.chunks_exact_mut(groups);
        let results = codes.zip(steps.zip(quantized.totals.chunks_exact_mut(groups)));
        let rows = x.chunks_exact(width).zip(results);
        let mut rows: Vec<_> = rows
            .map(|(x, (codes, (steps, totals)))| {
                Some(Quantize {
                    x,
                    layout,
                    codes,
                    steps,
                    totals,
                })
            })
            .collect();
        let task = |row: &mut Option<Quantize<'_>>| {
            if let Some(row) = row.take() {
                isa.run(row);
            }
        };
        if x.len() < PARALLEL_FROM {
            rows.iter_mut().for_each(task);
        } else {
            pool.for_each_piece(&mut rows, 1, |_, row| row.iter_mut().for_each(task));
        }
        quantized
    }

    /// For which weights.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// How many there are.
    pub(super) fn rows(&self) -> usize {
        self.codes.len() / (self.layout.precision.digits() * self.width)
    }

    /// Row `index`.
    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> Row<'_> {
        let codes = self.layout.precision.digits() * self.width;
        let groups = self.width / self.layout.group_size;
        Row {
            codes: &self.codes[index * codes..][..codes],
            steps: &self.steps[index * groups..][..groups],
            totals: &self.totals[index * groups..][..groups],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(x: &[f32], bits: usize, precision: Precision, isa: Isa) -> Quantized {
        let pool = Pool::new(1).expect("no threads");
        let layout = Layout {
            bits,
            group_size: 32,
            precision,
        };
        Quantized::new(x, x.len(), layout, (isa, &pool))
    }

    /// The number that the digits of element `i` are.
    fn number(row: Row<'_>, width: usize, i: usize) -> i64 {
        let digits = row.codes.chunks(width).map(|codes| i64::from(codes[i]));
        digits.fold(0, |number, digit| 256 * number + digit)
    }

    /// Elements of very different size, as activations have them.
    fn elements() -> impl Strategy<Value = Vec<f32>> {
        let element = (-1f32..1.0, -20i32..20).prop_map(|(x, e)| x * (e as f32).exp2());
        prop::collection::vec(element, 64)
    }

    proptest! {
        #[test]
        fn no_element_is_off_by_more_than_half_a_step(x in elements(), precision in 0usize..2) {
            let precision = Precision::ALL[precision];
            let quantized = one(&x, 8, precision, Isa::Portable);
            let row = quantized.row(0);
            for (i, value) in x.iter().enumerate() {
                let step = f64::from(row.steps[i / 32]);
                let about = step * number(row, x.len(), i) as f64;
                // One digit's step is rounded itself.
                let error = (about - f64::from(*value)).abs();
                prop_assert!(error <= step * 0.501, "{} for {}", about, value);
            }
            for (group, elements) in x.chunks(32).enumerate() {
                let sum: i64 = (0..32).map(|i| number(row, x.len(), 32 * group + i)).sum();
                let total = f64::from(row.steps[group]) * sum as f64;
                let size = f64::from(elements.iter().map(|x| x.abs()).sum::<f32>());
                let error = (total - f64::from(row.totals[group])).abs();
                prop_assert!(error <= 2e-7 * size.max(1e-30), "{} of {}", error, size);
                if precision == Precision::Exact {
                    let most = elements.iter().fold(0f32, |most, x| most.max(x.abs()));
                    prop_assert!(row.steps[group] <= most * 2f32.powi(-21));
                }
            }
            for isa in Isa::available() {
                let other = one(&x, 8, precision, isa);
                prop_assert_eq!(&other.codes, &quantized.codes);
                prop_assert_eq!(&other.steps, &quantized.steps);
                prop_assert_eq!(&other.totals, &quantized.totals);
            }
        }
    }

    #[test]
    fn the_greatest_and_the_smallest_numbers_fit() {
        let greatest = [
            f32::MAX,
            f32::MIN_POSITIVE,
            1.0,
            2.0f32.next_down(),
            1.9925,
            1.9921,
        ];
        for most in greatest {
            let x = [[most; 32], [-most; 32]].concat();
            for isa in Isa::available() {
                let quantized = one(&x, 8, Precision::Exact, isa);
                let row = quantized.row(0);
                for (i, x) in x.iter().enumerate() {
                    let step = f64::from(row.steps[i / 32]);
                    let about = step * number(row, 64, i) as f64;
                    let error = (about - f64::from(*x)).abs();
                    assert!(error <= step / 2.0, "{about:e} for {x:e}, {isa}");
                }
            }
        }
    }

    #[test]
    fn four_bits_want_the_even_elements_first() {
        let x: Vec<f32> = (0..32).map(|i| 127.0 - i as f32).collect();
        for isa in Isa::available() {
            let quantized = one(&x, 4, Precision::Fast, isa);
            let row = quantized.row(0);
            assert_eq!(row.codes[..8], [127, 125, 123, 121, 126, 124, 122, 120]);
            assert_eq!(row.codes[24..], [103, 101, 99, 97, 102, 100, 98, 96]);
            assert_eq!(row.totals[0], x.iter().sum::<f32>());
        }
    }

    #[test]
    fn zeros_are_zero_and_what_is_no_number_stays_none() {
        for (isa, precision) in Isa::available()
            .into_iter()
            .flat_map(|isa| Precision::ALL.map(|precision| (isa, precision)))
        {
            let zeros = one(&[0.0; 32], 4, precision, isa);
            assert!(zeros.codes.iter().all(|code| *code == 0));
            assert!(zeros.steps[0].is_finite());
            assert_eq!(zeros.totals[0], 0.0);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = [1.0; 64];
                x[40] = bad;
                let quantized = one(&x, 4, precision, isa);
                let row = quantized.row(0);
                assert!(row.steps[0].is_finite());
                assert!(
                    row.steps[1].is_nan() && row.totals[1].is_nan(),
                    "{bad} {isa}"
                );
            }
        }
    }

    #[test]
    fn rows_of_a_batch_are_those_of_their_own() {
        let pool = Pool::new(2).expect("threads");
        let width = 512;
        let x: Vec<f32> = (0..40 * width).map(|i| (i as f32 * 0.37).sin()).collect();
        for precision in Precision::ALL {
            let layout = Layout {
                bits: 4,
                group_size: 32,
                precision,
            };
            let all = Quantized::new(&x, width, layout, (Isa::best(), &pool));
            assert_eq!(all.rows(), 40);
            for (index, x) in x.chunks(width).enumerate() {
                let alone = one(x, 4, precision, Isa::best());
                assert_eq!(all.row(index).codes, alone.codes);
                assert_eq!(all.row(index).steps, alone.steps);
                assert_eq!(all.row(index).totals, alone.totals);
            }
        }
    }
}
