//! Sixteen lanes as an array: what the compiler makes of it is its business. On aarch64 that is
//! NEON, with its fused multiply-add; elsewhere without vector extensions it is right, and slow.

use super::{CODES, LANES, Lanes};

/// Lanes in an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn map(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Portable {
    type Codes = [u8; CODES];
    type Integers = [i32; LANES];

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self) -> [f32; LANES] {
        self.0
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.map(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.map(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.map(other, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.map(other, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, factor: Self, summand: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            self.0[lane].mul_add(factor.0[lane], summand.0[lane])
        }))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.map(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.map(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.map(f32::round_ties_even))
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        let mut lanes = self.0;
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    #[inline(always)]
    fn codes(bytes: &[u8; CODES]) -> Self::Codes {
        *bytes
    }

    #[inline(always)]
    fn lower(codes: Self::Codes) -> Self::Codes {
        codes.map(|code| code & 0xf)
    }

    #[inline(always)]
    fn upper(codes: Self::Codes) -> Self::Codes {
        codes.map(|code| code >> 4)
    }

    #[inline(always)]
    fn no_integers() -> Self::Integers {
        [0; LANES]
    }

    #[inline(always)]
    fn dot4(sums: Self::Integers, codes: Self::Codes, x: [i8; 4]) -> Self::Integers {
        Self::dot8(sums, codes, x)
    }

    #[inline(always)]
    fn dot8(mut sums: Self::Integers, codes: Self::Codes, x: [i8; 4]) -> Self::Integers {
        for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<4>().0) {
            for (code, x) in codes.iter().zip(x) {
                *sum += i32::from(*code) * i32::from(x);
            }
        }
        sums
    }

    #[inline(always)]
    fn from_integers(integers: Self::Integers) -> Self {
        Self(integers.map(|integer| integer as f32))
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; LANES] {
        self.0.map(|value| value as i8)
    }

    #[inline(always)]
    fn floor(self) -> Self {
        Self(self.0.map(f32::floor))
    }

    #[inline(always)]
    fn exp2_whole(self) -> Self {
        Self(
            self.0
                .map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23)),
        )
    }

    #[inline(always)]
    fn from_f32(bytes: &[u8; 4 * LANES]) -> Self {
        let mut lanes = [0.0; LANES];
        for (lane, raw) in lanes.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *lane = f32::from_le_bytes(*raw);
        }
        Self(lanes)
    }

    #[inline(always)]
    fn splat_f16(bits: u16) -> Self {
        Self([half::f16::from_bits(bits).to_f32_const(); LANES])
    }

    #[inline(always)]
    fn from_f16(bytes: &[u8; 2 * LANES]) -> Self {
        let mut lanes = [0.0; LANES];
        for (lane, raw) in lanes.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *lane = half::f16::from_le_bytes(*raw).to_f32_const();
        }
        Self(lanes)
    }

    #[inline(always)]
    fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self {
        let mut lanes = [0.0; LANES];
        for (lane, raw) in lanes.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *lane = f32::from_bits(u32::from(u16::from_le_bytes(*raw)) << 16);
        }
        Self(lanes)
    }

    #[inline(always)]
    fn from_u8(bytes: &[u8; LANES]) -> Self {
        Self(bytes.map(f32::from))
    }

    #[inline(always)]
    fn from_i8(bytes: &[i8; LANES]) -> Self {
        Self(bytes.map(f32::from))
    }

    #[inline(always)]
    fn look_up(table: Self, codes: &[u8; LANES / 2]) -> Self {
        let mut lanes = [0.0; LANES];
        for (pair, byte) in lanes.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
            pair[0] = table.0[usize::from(byte & 0xf)];
            pair[1] = table.0[usize::from(byte >> 4)];
        }
        Self(lanes)
    }
}
