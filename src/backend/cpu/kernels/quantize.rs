//! Activations become whole numbers: of one digit of eight bits, or of three.

use super::super::Precision;
use super::super::quantized::Layout;
use crate::simd::{Kernel, LANES, Lanes};

/// One row to quantise; see [`Row`](super::super::quantized::Row) for the result.
pub(in super::super) struct Quantize<'a> {
    /// Its elements.
    pub(in super::super) x: &'a [f32],
    /// What is wanted.
    pub(in super::super) layout: Layout,
    /// `[digits, elements]`, the greatest digits first.
    pub(in super::super) codes: &'a mut [i8],
    /// What a number stands for, per group.
    pub(in super::super) steps: &'a mut [f32],
    /// The step times the sum of the numbers, per group.
    pub(in super::super) totals: &'a mut [f32],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let even_first = self.layout.bits == 4;
        let codes = match self.layout.precision {
            Precision::Fast => self.one_digit::<L>(),
            Precision::Exact => self.three_digits::<L>(),
        };
        if even_first {
            put_even_first(codes);
        }
    }
}

impl<'a> Quantize<'a> {
    /// Every element becomes a number from -127 to 127.
    #[inline(always)]
    fn one_digit<L: Lanes>(self) -> &'a mut [i8] {
        let size = self.layout.group_size;
        let results = self.steps.iter_mut().zip(self.totals);
        let groups = self
            .x
            .chunks_exact(size)
            .zip(self.codes.chunks_exact_mut(size));
        for ((x, codes), (step, sum)) in groups.zip(results) {
            let codes = codes.as_chunks_mut::<LANES>().0;
            let whole = to_codes::<L>(x, |index, whole| codes[index] = whole);
            *step = whole.0;
            *sum = whole.0 * whole.1;
        }
        self.codes
    }

    /// Every element becomes a number of three digits, each from -128 to 127, with a power of two
    /// as its step.
    #[inline(always)]
    fn three_digits<L: Lanes>(self) -> &'a mut [i8] {
        let size = self.layout.group_size;
        let (high, lower) = self.codes.split_at_mut(self.x.len());
        let (middle, low) = lower.split_at_mut(self.x.len());
        let lower = middle
            .chunks_exact_mut(size)
            .zip(low.chunks_exact_mut(size));
        let digits = high.chunks_exact_mut(size).zip(lower);
        let results = self.steps.iter_mut().zip(self.totals);
        let groups = self.x.chunks_exact(size).zip(digits);
        for ((x, (high, (middle, low))), (step, total)) in groups.zip(results) {
            let (most, poison) = greatest::<L>(x);
            let power = power_for(most);
            let sum = digits_of::<L>(x.as_chunks::<LANES>().0, 1.0 / power, [high, middle, low]);
            *step = power + poison;
            *total = *step * sum;
        }
        self.codes
    }
}

/// Hands over elements as numbers from -127 to 127, sixteen at a time with zeros behind the last;
/// returns what a number stands for, and the sum of the numbers.
#[inline(always)]
pub(super) fn to_codes<L: Lanes>(x: &[f32], mut put: impl FnMut(usize, [i8; LANES])) -> (f32, f32) {
    let (most, poison) = greatest::<L>(x);
    let factor = L::splat(if most > 0.0 { 127.0 / most } else { 0.0 });
    let mut total = L::splat(0.0);
    for (index, x) in vectors::<L>(x).enumerate() {
        let whole = x.mul(factor).round();
        total = total.add(whole);
        put(index, whole.to_i8());
    }
    (most / 127.0 + poison, total.sum())
}

/// Sixteen elements at a time, with zeros behind the last.
#[inline(always)]
pub(super) fn vectors<L: Lanes>(x: &[f32]) -> impl Iterator<Item = L> {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let rest = (!rest.is_empty()).then(|| L::load_partial(rest));
    blocks.iter().map(L::load).chain(rest)
}

/// The greatest absolute value, and zero or, if something is not a finite number, NaN.
#[inline(always)]
fn greatest<L: Lanes>(x: &[f32]) -> (f32, f32) {
    let zero = L::splat(0.0);
    let (mut most, mut poison) = (zero, zero);
    for x in vectors::<L>(x) {
        // A maximum alone would lose what is not a number.
        poison = x.fma(zero, poison);
        most = most.max(x.max(zero.sub(x)));
    }
    // In halves, since one lane after the other would take as long as a group.
    let [a, b] = halves::<8, LANES>(most.store());
    let [a, b] = halves::<4, 8>(greater(a, b));
    let [a, b] = halves::<2, 4>(greater(a, b));
    let [a, b] = greater(a, b);
    (if a > b { a } else { b }, poison.sum())
}

#[inline(always)]
fn halves<const N: usize, const M: usize>(values: [f32; M]) -> [[f32; N]; 2] {
    [0, N].map(|start| std::array::from_fn(|i| values[start + i]))
}

/// Element by element, without the branches that [`f32::max`] has for what is not a number.
#[inline(always)]
fn greater<const N: usize>(a: [f32; N], b: [f32; N]) -> [f32; N] {
    std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
}

/// The power of two by which no number gets further from zero than `127 · (256² + 256 + 1)`, where
/// the greatest digit ends. Groups without elements of any size have one too.
#[inline(always)]
fn power_for(most: f32) -> f32 {
    // 1.004 is above 2^23 by that number; the rest keeps the greatest f32 from becoming infinite.
    let most = most.max(2f32.powi(-100)) * (1.004 / 4.0);
    let power = f32::from_bits(most.to_bits() & f32::INFINITY.to_bits());
    power * 2f32.powi(3 - 23)
}

/// Takes the numbers apart; returns their sum, rounded once for each digit.
#[inline(always)]
fn digits_of<L: Lanes>(
    blocks: &[[f32; LANES]],
    factor: f32,
    [high, middle, low]: [&mut [i8]; 3],
) -> f32 {
    let factor = L::splat(factor);
    let mut sums = [L::splat(0.0); 3];
    let lower = middle
        .as_chunks_mut::<LANES>()
        .0
        .iter_mut()
        .zip(low.as_chunks_mut::<LANES>().0);
    let digits = high.as_chunks_mut::<LANES>().0.iter_mut().zip(lower);
    for (block, (high, (middle, low))) in blocks.iter().zip(digits) {
        // Every step but the first is exact: all these are whole numbers below 2^24.
        let number = L::load(block).mul(factor).round();
        let first = number
            .add(L::splat(128.0 * 256.0 + 128.0))
            .mul(L::splat(1.0 / 65536.0))
            .floor();
        let rest = first.fma(L::splat(-65536.0), number);
        let second = rest.add(L::splat(128.0)).mul(L::splat(1.0 / 256.0)).floor();
        let third = second.fma(L::splat(-256.0), rest);
        for (sum, digit) in sums.iter_mut().zip([first, second, third]) {
            *sum = sum.add(digit);
        }
        *high = first.to_i8();
        *middle = second.to_i8();
        *low = third.to_i8();
    }
    let [first, second, third] = sums.map(L::sum);
    first.mul_add(256.0, second).mul_add(256.0, third)
}

/// Of each eight numbers, the even ones before the odd ones.
#[inline(always)]
fn put_even_first(codes: &mut [i8]) {
    for eight in codes.as_chunks_mut::<8>().0 {
        let all = u64::from_le_bytes(eight.map(i8::cast_unsigned));
        let [even, odd] = [all, all >> 8].map(|bytes| {
            let bytes = bytes & 0x00ff_00ff_00ff_00ff;
            let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
            (pairs | pairs >> 16) & 0xffff_ffff
        });
        *eight = (even | odd << 32).to_le_bytes().map(u8::cast_signed);
    }
}
