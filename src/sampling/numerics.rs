//! The elementary functions and sums that decide a draw, with the bits of MLX on a CPU.
//!
//! A cumulative distribution is compared with a random number, so the last bit of an exponential
//! can choose another token. MLX 0.32.4 on x86-64 works on one f32 at a time, in order
//! (`backend/cpu/simd/base_simd.h`, `max_size` 1), and so does this module, on every machine: it
//! uses IEEE additions, multiplications and fused multiply-adds only, and no mathematics library
//! of the platform. MLX on ARM and on Metal sums several lanes at a time and can differ in the
//! last bits.

use std::ops::ControlFlow;

use crate::generation::CompiledConstants;
use crate::simd::{Isa, Kernel, LANES, Lanes};

/// A constant as a compiled function of MLX sees it.
pub(super) fn constant(value: f64, constants: CompiledConstants) -> f32 {
    let narrowed = value as f32;
    match constants {
        CompiledConstants::Exact => narrowed,
        // The text is read back as an f64 and narrowed, as a C++ compiler does.
        CompiledConstants::SevenDigits => match format!("{narrowed:.6e}").parse::<f64>() {
            Ok(read) => read as f32,
            Err(_) => narrowed,
        },
    }
}

/// The coefficients of the polynomial behind [`exp`], the highest alone.
const HIGHEST: f32 = 1.535_336_2e-4;
const HIGHEST_FIRST: [f32; 6] = [
    1.339_887_4e-3,
    9.618_437e-3,
    5.550_332_5e-2,
    2.402_264_8e-1,
    6.931_472e-1,
    1.0,
];

/// `e^x` by a polynomial of degree 6 for the fraction of `x·log2(e)` (`backend/cpu/simd/math.h`,
/// `exp`). Infinite above 88, and 0 below -88.
pub(super) fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x > 88.0 {
        return f32::INFINITY;
    }
    if x < -88.0 {
        return 0.0;
    }
    let scaled = x * std::f32::consts::LOG2_E;
    // MLX adds the one half in f64, where the sum is exact.
    let whole = (f64::from(scaled) + 0.5).floor() as f32;
    let fraction = scaled - whole;
    let power = HIGHEST_FIRST.iter().fold(HIGHEST, |sum: f32, coefficient| {
        sum.mul_add(fraction, *coefficient)
    });
    // From -127 to 127 the shifted sum is a sign-free f32; -127 gives 0.
    f32::from_bits(((whole as i32 + 127) as u32) << 23) * power
}

/// Log-weights: each value times the factor, less the shift.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogWeights<'a> {
    pub(super) values: &'a [f32],
    pub(super) factor: f32,
    pub(super) shift: f32,
}

impl LogWeights<'_> {
    /// The exponential of one.
    fn exp(self, value: f32) -> f32 {
        exp(value * self.factor - self.shift)
    }

    /// The exponentials of sixteen.
    #[inline(always)]
    fn exp_block<L: Lanes>(self, block: &[f32; LANES]) -> [f32; LANES] {
        let x = L::load(block).mul(L::splat(self.factor));
        let x = x.sub(L::splat(self.shift));
        // Outside, and for what is not a number, the plain function has branches.
        let usual = |x: &f32| (-88.0..=88.0).contains(x);
        match x.store().iter().all(usual) {
            true => exp_lanes(x).store(),
            false => block.map(|value| self.exp(value)),
        }
    }
}

/// [`exp`] of many log-weights, with the same bits, handed to `visit` in order until it says that
/// it has seen enough.
struct Exponentials<'a, V> {
    log_weights: LogWeights<'a>,
    visit: V,
}

impl<V: FnMut(f32) -> ControlFlow<()>> Kernel for Exponentials<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let (blocks, rest) = self.log_weights.values.as_chunks::<LANES>();
        for block in blocks {
            for exponential in self.log_weights.exp_block::<L>(block) {
                if (self.visit)(exponential).is_break() {
                    return;
                }
            }
        }
        for value in rest {
            if (self.visit)(self.log_weights.exp(*value)).is_break() {
                return;
            }
        }
    }
}

/// [`exp`] between -88 and 88. The whole part is `floor(x + ½)`, here from the fraction above
/// `floor(x)`, which is exact in f32.
#[inline(always)]
fn exp_lanes<L: Lanes>(x: L) -> L {
    let scaled = x.mul(L::splat(std::f32::consts::LOG2_E));
    let below = scaled.floor();
    let twice = scaled.sub(below).mul(L::splat(2.0));
    let whole = below.add(twice.floor().min(L::splat(1.0)));
    let fraction = scaled.sub(whole);
    let mut power = L::splat(HIGHEST);
    for coefficient in HIGHEST_FIRST {
        power = power.fma(fraction, L::splat(coefficient));
    }
    whole.exp2_whole().mul(power)
}

/// Visits the exponentials of log-weights in order, until `visit` has seen enough.
pub(super) fn visit_exponentials(
    log_weights: LogWeights<'_>,
    visit: impl FnMut(f32) -> ControlFlow<()>,
) {
    Isa::best().run(Exponentials { log_weights, visit });
}

/// The exponentials of `values - shift`.
pub(super) fn exponentials(values: &[f32], shift: f32) -> Vec<f32> {
    let mut all = Vec::with_capacity(values.len());
    let log_weights = LogWeights {
        values,
        factor: 1.0,
        shift,
    };
    visit_exponentials(log_weights, |exponential| {
        all.push(exponential);
        ControlFlow::Continue(())
    });
    all
}

/// How many exponentials lie between two of the [`running_sums`].
pub(super) const STRETCH: usize = 64;

/// How many rows are summed at a time.
const TOGETHER: usize = 4;

/// For each row the sum of its exponentials, added one by one, as it stands behind each
/// [`STRETCH`] of them and behind the last.
///
/// The additions of a row wait for each other, four cycles each; those of several rows do not, so
/// four sums take hardly longer than one.
pub(super) fn running_sums(rows: &[LogWeights<'_>]) -> Vec<Vec<f32>> {
    let mut sums = Vec::with_capacity(rows.len());
    for rows in rows.chunks(TOGETHER) {
        match *rows {
            [a, b, c, d] if [b, c, d].iter().all(|x| x.values.len() == a.values.len()) => {
                sums.extend(Isa::best().run(RunningSums([a, b, c, d])));
            }
            _ => {
                let each = rows
                    .iter()
                    .flat_map(|row| Isa::best().run(RunningSums([*row])));
                sums.extend(each);
            }
        }
    }
    sums
}

/// Rows of the same length.
struct RunningSums<'a, const N: usize>([LogWeights<'a>; N]);

impl<const N: usize> Kernel for RunningSums<'_, N> {
    type Output = [Vec<f32>; N];

    #[inline(always)]
    fn run<L: Lanes>(self) -> [Vec<f32>; N] {
        let rows = self.0;
        let blocks = rows.map(|row| row.values.as_chunks::<LANES>());
        let length = rows.iter().map(|row| row.values.len()).min().unwrap_or(0);
        let mut all = [(); N].map(|()| Vec::with_capacity(length.div_ceil(STRETCH)));
        let mut sums = [0.0; N];
        for stretch in 0..length.div_ceil(STRETCH) {
            let end = (STRETCH * (stretch + 1)).min(length);
            for block in STRETCH / LANES * stretch..end / LANES {
                let exponentials: [[f32; LANES]; N] =
                    std::array::from_fn(|n| rows[n].exp_block::<L>(&blocks[n].0[block]));
                for lane in 0..LANES {
                    for (sum, exponentials) in sums.iter_mut().zip(&exponentials) {
                        *sum += exponentials[lane];
                    }
                }
            }
            for n in 0..N {
                if end == length {
                    for value in blocks[n].1 {
                        sums[n] += rows[n].exp(*value);
                    }
                }
                all[n].push(sums[n]);
            }
        }
        all
    }
}

/// Natural logarithm with the bits of glibc's `logf`, which MLX calls: a table of 16 intervals and
/// a cubic, in f64 (Arm's optimized-routines, `math/logf.c`, whose constants these are; found
/// equal on every positive f32).
pub(super) fn log(x: f32) -> f32 {
    const LN_2: f64 = f64::from_bits(0x3fe6_2e42_fefa_39ef);
    const CUBIC: [f64; 3] = [
        f64::from_bits(0xbfd0_0ea3_48b8_8334),
        f64::from_bits(0x3fd5_575b_0be0_0b6a),
        f64::from_bits(0xbfdf_fffe_f20a_4123),
    ];
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x == f32::INFINITY || x == 1.0 {
        return if x == 1.0 { 0.0 } else { x };
    }
    let subnormal = x < f32::MIN_POSITIVE;
    let bits = if subnormal {
        (x * 8_388_608.0).to_bits().wrapping_sub(23 << 23)
    } else {
        x.to_bits()
    };
    let offset = bits.wrapping_sub(0x3f33_0000);
    let (inverse, logarithm) = INTERVALS[(offset >> 19) as usize % INTERVALS.len()];
    let exponent = (offset as i32) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub(offset & 0xff80_0000));
    let r = f64::from(mantissa) * inverse - 1.0;
    let near = logarithm + f64::from(exponent) * LN_2;
    let squared = r * r;
    let cubic = CUBIC[0] * squared + (CUBIC[1] * r + CUBIC[2]);
    (cubic * squared + (near + r)) as f32
}

/// For each sixteenth of an octave, about the inverse of its middle, and minus the logarithm of
/// that.
const INTERVALS: [(f64, f64); 16] = {
    const BITS: [(u64, u64); 16] = [
        (0x3ff6_61ec_79f8_f3be, 0xbfd5_7bf7_808c_aade),
        (0x3ff5_71ed_4aaf_883d, 0xbfd2_bef0_a7c0_6ddb),
        (0x3ff4_9539_f0f0_10b0, 0xbfd0_1eae_7f51_3a67),
        (0x3ff3_c995_b0b8_0385, 0xbfcb_31d8_a682_24e9),
        (0x3ff3_0d19_0c88_64a5, 0xbfc6_574f_0ac0_7758),
        (0x3ff2_5e22_7b0b_8ea0, 0xbfc1_aa2b_c79c_8100),
        (0x3ff1_bb4a_4a1a_343f, 0xbfba_4e76_ce8c_0e5e),
        (0x3ff1_2358_f08a_e5ba, 0xbfb1_973c_5a61_1ccc),
        (0x3ff0_953f_4199_00a7, 0xbfa2_52f4_38e1_0c1e),
        (0x3ff0_0000_0000_0000, 0x0000_0000_0000_0000),
        (0x3fee_608c_fd9a_47ac, 0x3faa_a5aa_5df2_5984),
        (0x3fec_a4b3_1f02_6aa0, 0x3fbc_5e53_aa36_2eb4),
        (0x3feb_2036_576a_fce6, 0x3fc5_26e5_7720_db08),
        (0x3fe9_c2d1_63a1_aa2d, 0x3fcb_c286_0d22_4770),
        (0x3fe8_86e6_0378_41ed, 0x3fd1_058b_c8a0_7ee1),
        (0x3fe7_67dc_f553_4862, 0x3fd4_0430_57b6_ee09),
    ];
    let mut table = [(0.0, 0.0); 16];
    let mut i = 0;
    while i < 16 {
        table[i] = (f64::from_bits(BITS[i].0), f64::from_bits(BITS[i].1));
        i += 1;
    }
    table
};

/// The greatest value; negative infinity of none. What is not a number does not count.
pub(super) fn maximum(values: &[f32]) -> f32 {
    match greatest(values) {
        Some([first, _]) => first,
        None => values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
    }
}

/// The greatest and the second-greatest value, which are equal if two are the greatest; negative
/// infinity where there is none. `None` if some value is not a number.
pub(super) fn greatest(values: &[f32]) -> Option<[f32; 2]> {
    Isa::best().run(Greatest(values))
}

struct Greatest<'a>(&'a [f32]);

impl Kernel for Greatest<'_> {
    type Output = Option<[f32; 2]>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Option<[f32; 2]> {
        let (blocks, rest) = self.0.as_chunks::<LANES>();
        let none = L::splat(f32::NEG_INFINITY);
        let (mut first, mut second) = (none, none);
        let mut not_numbers = [false; LANES];
        for block in blocks {
            for (found, value) in not_numbers.iter_mut().zip(block) {
                *found |= value.is_nan();
            }
            let x = L::load(block);
            second = second.max(first.min(x));
            first = first.max(x);
        }
        if not_numbers.contains(&true) || rest.iter().any(|value| value.is_nan()) {
            return None;
        }
        // The two greatest of all are among the two greatest of each lane.
        let candidates = [first.store(), second.store()];
        let candidates = candidates.as_flattened().iter().chain(rest);
        Some(
            candidates.fold([f32::NEG_INFINITY; 2], |[first, second], value| {
                [first.max(*value), second.max(first.min(*value))]
            }),
        )
    }
}

/// The index of the first element that equals `value`.
pub(super) fn first_equal(values: &[f32], value: f32) -> Option<usize> {
    Isa::best().run(FirstEqual { values, value })
}

struct FirstEqual<'a> {
    values: &'a [f32],
    value: f32,
}

impl Kernel for FirstEqual<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Option<usize> {
        let is_it = |value: &f32| *value == self.value;
        let (blocks, _) = self.values.as_chunks::<LANES>();
        // Without an early end inside a block, so that its elements are compared together.
        let has_it = |block: &[f32; LANES]| block.iter().fold(false, |any, x| any | is_it(x));
        let before = LANES * blocks.iter().take_while(|block| !has_it(block)).count();
        let place = self.values[before..].iter().position(is_it)?;
        Some(before + place)
    }
}

/// `x - log Σ exp x` in place, for each row (`backend/cpu/logsumexp.cpp`; mlx-lm subtracts it).
pub(super) fn log_softmax(rows: &mut [&mut [f32]]) {
    let shifted = rows.iter().map(|values| LogWeights {
        shift: maximum(values),
        factor: 1.0,
        values,
    });
    let shifted: Vec<_> = shifted.collect();
    let finite = shifted.iter().filter(|row| !row.shift.is_infinite());
    let sums = running_sums(&finite.copied().collect::<Vec<_>>());
    let mut sums = sums.iter().map(|sums| sums.last().copied().unwrap_or(0.0));
    let log_sums = shifted.iter().map(|row| match row.shift.is_infinite() {
        true => row.shift,
        false => log(sums.next().unwrap_or(0.0)) + row.shift,
    });
    let log_sums: Vec<f32> = log_sums.collect();
    for (values, log_sum) in rows.iter_mut().zip(log_sums) {
        for value in values.iter_mut() {
            *value -= log_sum;
        }
    }
}

/// `exp x / Σ exp x`, by one reciprocal (`backend/cpu/softmax.cpp`).
pub(super) fn softmax(values: &[f32]) -> Vec<f32> {
    let max = maximum(values);
    let mut weights = exponentials(values, max);
    let normalizer = 1.0 / weights.iter().fold(0.0, |sum, weight| sum + weight);
    for weight in &mut weights {
        *weight *= normalizer;
    }
    weights
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_number_line() {
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-88.1), 0.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(88.1), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(log(0.0), f32::NEG_INFINITY);
        assert_eq!(log(1.0), 0.0);
        assert_eq!(log(f32::INFINITY), f32::INFINITY);
        assert!(log(-1.0).is_nan() && log(f32::NAN).is_nan());
    }

    #[test]
    fn seven_digits_are_not_enough_for_an_f32() {
        let seven = |value| constant(value, CompiledConstants::SevenDigits);
        assert_eq!(seven(1.0 / 0.7), 1.428_571);
        assert_ne!(seven(1.0 / 0.7), (1.0 / 0.7) as f32);
        assert_eq!(seven(4_294_967_295.0), 4_294_967_000.0);
        assert_eq!(seven(0.5), 0.5);
        assert_eq!(seven(f64::NEG_INFINITY), f32::NEG_INFINITY);
        assert_eq!(constant(0.1, CompiledConstants::Exact), 0.1);
    }

    proptest! {
        #[test]
        fn exp_is_near_the_exponential(x in -87.0f32..88.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            // The product with log2(e) is rounded to 24 bits, so the error grows with the argument.
            prop_assert!(error < 1e-6 + 1.2e-7 * f64::from(x.abs()), "{error}");
        }

        #[test]
        fn many_at_a_time_have_the_bits_of_one(
            values in prop::collection::vec(prop_oneof![
                -130.0f32..100.0, -1.0f32..1.0, Just(f32::NEG_INFINITY), Just(f32::NAN), Just(0.0),
            ], 0..70),
            shift in -5.0f32..5.0,
            factor in prop_oneof![Just(1.0f32), 0.3f32..3.0],
        ) {
            let bits = |e: f32| if e.is_nan() { None } else { Some(e.to_bits()) };
            let expected: Vec<_> = values.iter().map(|value| bits(exp(value * factor - shift))).collect();
            for isa in Isa::available() {
                let mut out = Vec::new();
                let log_weights = LogWeights { values: &values, factor, shift };
                isa.run(Exponentials { log_weights, visit: |exponential| {
                    out.push(exponential);
                    ControlFlow::Continue(())
                }});
                let found: Vec<_> = out.into_iter().map(bits).collect();
                prop_assert_eq!(&found, &expected, "{}", isa);
            }
        }

        #[test]
        fn sums_of_rows_together_are_those_of_adding_one_by_one(
            rows in prop::collection::vec(prop::collection::vec(-9.0f32..0.0, 150), 0..10),
            lengths in prop::collection::vec(prop_oneof![Just(150usize), 0usize..150], 10),
        ) {
            let rows = rows.iter().zip(lengths).map(|(row, length)| LogWeights {
                values: &row[..length],
                factor: 1.5,
                shift: -1.0,
            });
            let rows: Vec<_> = rows.collect();
            let all = running_sums(&rows);
            prop_assert_eq!(all.len(), rows.len());
            for (row, sums) in rows.iter().zip(all) {
                let mut sum = 0.0;
                let mut expected = Vec::new();
                for stretch in row.values.chunks(STRETCH) {
                    stretch.iter().for_each(|value| sum += row.exp(*value));
                    expected.push(sum);
                }
                prop_assert_eq!(sums, expected);
            }
        }

        #[test]
        fn the_greatest_values_and_the_first_place_of_one(
            values in prop::collection::vec(prop_oneof![
                -3i8..3, Just(100), Just(-100),
            ].prop_map(|value| match value {
                100 => f32::INFINITY,
                -100 => f32::NEG_INFINITY,
                value => f32::from(value),
            }), 0..80),
            not_a_number in prop::option::of(0usize..80),
        ) {
            let mut values = values;
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            sorted.extend([f32::NEG_INFINITY; 2]);
            let expected = [sorted[0], sorted[1]];
            for isa in Isa::available() {
                prop_assert_eq!(isa.run(Greatest(&values)), Some(expected), "{}", isa);
                for value in [expected[0], 7.0] {
                    let place = values.iter().position(|other| *other == value);
                    let found = isa.run(FirstEqual { values: &values, value });
                    prop_assert_eq!(found, place, "{}", isa);
                }
            }
            if let Some(place) = not_a_number.and_then(|place| values.get_mut(place)) {
                *place = f32::NAN;
                for isa in Isa::available() {
                    prop_assert_eq!(isa.run(Greatest(&values)), None, "{}", isa);
                }
            }
        }

        #[test]
        fn log_is_the_logarithm_to_one_ulp(bits in 1u32..0x7f80_0000) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).ln();
            let ulp = f64::from((exact as f32).abs().next_up() - (exact as f32).abs());
            prop_assert!((f64::from(log(x)) - exact).abs() <= ulp.max(1e-45));
        }
    }
}
