//! Sixteen lanes as one AVX-512 register.

#![expect(unsafe_code, reason = "vector instructions are unsafe to call")]

use std::arch::x86_64::*;

use super::{LANES, Lanes};

/// Lanes in a 512-bit register.
///
/// SAFETY (of every block below): values of this type come into being only inside `Isa::run`,
/// which compiles kernels for this type with the features avx512f, avx512bw, avx512dq, avx512vl,
/// fma and f16c, and runs them only where the processor reports all of them. Loads and stores go
/// through references to arrays of exactly the size that the instruction touches, and have no
/// demand on alignment.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

/// Lanes 8 to 15.
const UPPER: __mmask16 = 0xff00;

impl Lanes for Avx512 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn store(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: see the type.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), self.0) };
        lanes
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn fma(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, summand.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)
        })
    }

    #[inline(always)]
    fn floor(self) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self.0)
        })
    }

    #[inline(always)]
    fn exp2_whole(self) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        })
    }

    #[inline(always)]
    fn from_f32(bytes: &[u8; 4 * LANES]) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_loadu_ps(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn splat_f16(bits: u16) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_cvtph_ps(_mm256_set1_epi16(bits.cast_signed())) })
    }

    #[inline(always)]
    fn from_f16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.as_ptr().cast())) })
    }

    #[inline(always)]
    fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        })
    }

    #[inline(always)]
    fn from_u8(bytes: &[u8; LANES]) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm512_cvtepi32_ps(wide)
        })
    }

    #[inline(always)]
    fn look_up(table: Self, codes: &[u8; LANES / 2]) -> Self {
        let [a, b, c, d, e, f, g, h] = *codes;
        let lower = i32::from_le_bytes([a, b, c, d]);
        let upper = i32::from_le_bytes([e, f, g, h]);
        // SAFETY: see the type.
        Self(unsafe {
            // Lane i shifts its code to the bottom; the look-up reads only the lowest four bits.
            let shifts =
                _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
            let words = _mm512_mask_set1_epi32(_mm512_set1_epi32(lower), UPPER, upper);
            _mm512_permutexvar_ps(_mm512_srlv_epi32(words, shifts), table.0)
        })
    }
}
