//! Sixteen lanes of f32 or i32, in every instruction set the same.
//!
//! A [`Kernel`] is written once over [`Lanes`] and compiled for each instruction set ([`Isa`]).
//! All of them compute the same operations in the same order, each correctly rounded, so a result
//! has the same bits on every processor. This module knows arithmetic; what a kernel is for is
//! its caller's business.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod portable;

pub use isa::{Isa, Kernel};

/// Lanes of every vector, on every machine.
pub const LANES: usize = 16;

/// Codes of one vector: four for each lane.
pub const CODES: usize = 4 * LANES;

/// A vector of sixteen f32, and what goes with it: sixty-four unsigned bytes, and sixteen i32.
pub trait Lanes: Copy {
    /// Unsigned bytes; lane `i` has the four from `4 · i` on.
    type Codes: Copy;
    /// Sixteen i32.
    type Integers: Copy;
    /// Whether a vector is one register, of which there are thirty-two.
    const WIDE: bool = false;

    /// The same value in all lanes.
    fn splat(value: f32) -> Self;
    /// Lane `i` is element `i`.
    fn load(values: &[f32; LANES]) -> Self;
    /// The lanes as elements.
    fn store(self) -> [f32; LANES];
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self - other`.
    fn sub(self, other: Self) -> Self;
    /// `self · other`.
    fn mul(self, other: Self) -> Self;
    /// `self / other`.
    fn div(self, other: Self) -> Self;
    /// `self · factor + summand`, rounded once.
    fn fma(self, factor: Self, summand: Self) -> Self;
    /// The greater of two numbers, lane by lane; no lane may be NaN.
    fn max(self, other: Self) -> Self;
    /// The lesser of two numbers, lane by lane; no lane may be NaN.
    fn min(self, other: Self) -> Self;
    /// The nearest whole number, ties to even.
    fn round(self) -> Self;
    /// The greatest whole number that is not greater.
    fn floor(self) -> Self;
    /// `2^n` for whole numbers from -126 to 127.
    fn exp2_whole(self) -> Self;
    /// Sixteen f32 elements, little-endian.
    fn from_f32(bytes: &[u8; 4 * LANES]) -> Self;
    /// The same IEEE binary16 number in all lanes.
    fn splat_f16(bits: u16) -> Self;
    /// Widens IEEE binary16 elements, little-endian.
    fn from_f16(bytes: &[u8; 2 * LANES]) -> Self;
    /// Widens bfloat16 elements, little-endian.
    fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self;
    /// Converts unsigned bytes.
    fn from_u8(bytes: &[u8; LANES]) -> Self;
    /// Converts signed bytes.
    fn from_i8(bytes: &[i8; LANES]) -> Self;
    /// Each lane becomes the lane of `table` that its code names: codes are four bits each, the
    /// earlier of two in the lower half of a byte. The results are [`arranged`](Self::arranged).
    fn look_up(table: Self, codes: &[u8; LANES / 2]) -> Self;
    /// The lanes in the order in which a look-up is cheapest.
    #[inline(always)]
    fn arranged(self) -> Self {
        self
    }
    /// Arranged lanes in their natural order again.
    #[inline(always)]
    fn restored(self) -> Self {
        self
    }
    /// Says that the bytes at an address, which need not exist, will be read soon: they go to the
    /// nearest cache, or with `later` to the one behind it.
    #[inline(always)]
    fn prefetch(_address: *const u8, _later: bool) {}

    /// Lane `i` is element `i` of up to sixteen, and zero behind them.
    #[inline(always)]
    fn load_partial(values: &[f32]) -> Self {
        let mut whole = [0.0; LANES];
        for (lane, value) in whole.iter_mut().zip(values) {
            *lane = *value;
        }
        Self::load(&whole)
    }

    /// The sum of all lanes, added pairwise: lane `i` and lane `i + 8`, then `i + 4`, and so on.
    fn sum(self) -> f32;

    /// Lane `i` becomes the [`sum`](Self::sum) of vector `i`.
    #[inline(always)]
    fn sums(vectors: [Self; LANES]) -> Self {
        Self::load(&vectors.map(Self::sum))
    }

    /// Sixty-four codes.
    fn codes(bytes: &[u8; CODES]) -> Self::Codes;
    /// The lower four bits of each code.
    fn lower(codes: Self::Codes) -> Self::Codes;
    /// The upper four bits of each code.
    fn upper(codes: Self::Codes) -> Self::Codes;
    /// Sixteen zeros.
    fn no_integers() -> Self::Integers;
    /// Adds to each lane the inner product of its four codes, each less than 16, and `x`.
    fn dot4(sums: Self::Integers, codes: Self::Codes, x: [i8; 4]) -> Self::Integers;
    /// Adds to each lane the inner product of its four codes and `x`.
    fn dot8(sums: Self::Integers, codes: Self::Codes, x: [i8; 4]) -> Self::Integers;
    /// Converts integers, rounding to nearest.
    fn from_integers(integers: Self::Integers) -> Self;
    /// Converts whole numbers from -128 to 127.
    fn to_i8(self) -> [i8; LANES];

    /// `exp(self)`, within two units in the last place; clamped where f32 has no normal number.
    ///
    /// Cody and Waite's reduction by `ln 2` in two parts, then the polynomial of degree 6 that
    /// Cephes uses (Moshier, `expf.c`).
    #[inline(always)]
    fn exp(self) -> Self {
        let x = self.max(Self::splat(-87.0)).min(Self::splat(88.0));
        let n = x.mul(Self::splat(std::f32::consts::LOG2_E)).round();
        let r = n.fma(Self::splat(-0.693_359_4), x);
        let r = n.fma(Self::splat(2.121_944_4e-4), r);
        let mut p = Self::splat(1.987_569_1e-4);
        for coefficient in [
            1.398_2e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            5e-1,
        ] {
            p = p.fma(r, Self::splat(coefficient));
        }
        let p = p.fma(r.mul(r), r.add(Self::splat(1.0)));
        p.mul(n.exp2_whole())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every operation of the trait on the same input, as bits.
    struct All<'a> {
        a: &'a [f32; LANES],
        b: &'a [f32; LANES],
        bytes: &'a [u8; 2 * LANES],
        sixty_four: &'a [u8; 4 * LANES],
    }

    impl Kernel for All<'_> {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<u32> {
            let (a, b) = (L::load(self.a), L::load(self.b));
            let (low, _) = self.bytes.split_at(LANES);
            let bytes = low.first_chunk::<LANES>().expect("sixteen");
            let codes = low.first_chunk::<8>().expect("eight");
            let vectors = [
                L::splat(self.a[3]),
                a.add(b),
                a.sub(b),
                a.mul(b),
                a.div(b),
                a.fma(b, a),
                a.max(b),
                a.min(b),
                a.round(),
                a.floor(),
                a.round()
                    .max(L::splat(-126.0))
                    .min(L::splat(127.0))
                    .exp2_whole(),
                L::from_f32(self.sixty_four),
                L::splat_f16(u16::from_le_bytes([self.bytes[0], self.bytes[1]])),
                L::from_f16(self.bytes),
                L::from_bf16(self.bytes),
                L::from_u8(bytes),
                L::from_i8(&bytes.map(u8::cast_signed)),
                L::look_up(a, codes).restored(),
                a.arranged().restored(),
                L::look_up(a, codes).add(b.arranged()).restored(),
                L::load_partial(&self.a[..5]),
                L::splat(a.sum()),
                a.exp(),
                L::sums(std::array::from_fn(|i| a.mul(L::splat(i as f32)))),
                integers::<L>(self.sixty_four),
                L::load(
                    &a.max(L::splat(-128.0))
                        .min(L::splat(127.0))
                        .round()
                        .to_i8()
                        .map(f32::from),
                ),
            ];
            vectors
                .iter()
                .flat_map(|vector| vector.store().map(f32::to_bits))
                .collect()
        }
    }

    /// Sums of products of the largest codes and numbers too, which must not saturate.
    #[inline(always)]
    fn integers<L: Lanes>(bytes: &[u8; CODES]) -> L {
        let codes = L::codes(bytes);
        let mut sums = L::no_integers();
        for x in [[1, -2, 3, -4], [127; 4], [-128, 127, -128, -128]] {
            sums = L::dot4(sums, L::lower(codes), x);
            sums = L::dot4(sums, L::upper(codes), x);
            sums = L::dot8(sums, codes, x);
        }
        sums = L::dot8(sums, L::codes(&[255; CODES]), [-128; 4]);
        L::from_integers(sums)
    }

    fn lanes() -> impl Strategy<Value = [f32; LANES]> {
        prop::array::uniform16(prop_oneof![
            -100.0f32..100.0,
            -1e30f32..1e30,
            -1e-3f32..1e-3
        ])
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_same_bits(
            a in lanes(),
            b in lanes(),
            mut bytes in prop::array::uniform32(any::<u8>()),
        ) {
            // Not-a-number has many bit patterns, and no weight is one.
            for pair in bytes.as_chunks_mut::<2>().0 {
                pair[1] &= 0x3f;
            }
            let mut sixty_four = [0; 64];
            for (raw, value) in sixty_four.as_chunks_mut::<4>().0.iter_mut().zip(a) {
                *raw = value.to_le_bytes();
            }
            let run = |isa: Isa| {
                isa.run(All { a: &a, b: &b, bytes: &bytes, sixty_four: &sixty_four })
            };
            let expected = run(Isa::Portable);
            for isa in Isa::available() {
                prop_assert_eq!(run(isa), expected.clone(), "{}", isa);
            }
        }

        #[test]
        fn exp_is_close_to_the_true_value(x in -87.0f32..88.0) {
            let ours = portable::Portable::splat(x).exp().store()[0];
            let exact = f64::from(x).exp();
            prop_assert!((f64::from(ours) / exact - 1.0).abs() < 2.5e-7, "{ours} {exact}");
        }
    }

    #[test]
    fn inner_products_of_codes_are_exact() {
        let bytes: [u8; CODES] = std::array::from_fn(|i| (i * 37 % 256) as u8);
        let x = [5, -128, 127, -7];
        let product = |lane: usize, part: fn(u8) -> u8| -> i32 {
            let codes = bytes[4 * lane..][..4]
                .iter()
                .map(|code| i32::from(part(*code)));
            codes.zip(x).map(|(code, x)| code * i32::from(x)).sum()
        };
        type L = portable::Portable;
        let codes = L::codes(&bytes);
        let nothing = L::no_integers();
        let whole = L::from_integers(L::dot8(nothing, codes, x)).store();
        let lower = L::from_integers(L::dot4(nothing, L::lower(codes), x)).store();
        let upper = L::from_integers(L::dot4(nothing, L::upper(codes), x)).store();
        for lane in 0..LANES {
            assert_eq!(whole[lane], product(lane, |code| code) as f32);
            assert_eq!(lower[lane], product(lane, |code| code & 15) as f32);
            assert_eq!(upper[lane], product(lane, |code| code >> 4) as f32);
        }
    }

    #[test]
    fn exp_has_its_exact_points() {
        let exp = |x| portable::Portable::splat(x).exp().store()[0];
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1000.0) < 1e-37);
        assert!(exp(1000.0).is_finite());
    }
}
