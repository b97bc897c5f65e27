//! Sixteen lanes as one AVX-512 register.

#![expect(unsafe_code, reason = "vector instructions are unsafe to call")]

use std::arch::x86_64::*;

use super::avx2::sum_eight;
use super::{CODES, LANES, Lanes};

/// Lanes in a 512-bit register.
///
/// SAFETY (of every block below): values of this type come into being only inside `Isa::run`,
/// which compiles kernels for this type with the features avx512f, avx512bw, avx512dq, avx512vl,
/// avx512vbmi, avx512vnni, avx2, fma and f16c, and runs them only where the processor reports all
/// of them. Loads and stores go through references to arrays of exactly the size that the
/// instruction touches, and have no demand on alignment.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

impl Lanes for Avx512 {
    type Codes = __m512i;
    type Integers = __m512i;
    const WIDE: bool = true;

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
    fn sum(self) -> f32 {
        // SAFETY: see the type.
        unsafe {
            let lower = _mm512_castps512_ps256(self.0);
            let eight = _mm256_add_ps(lower, _mm512_extractf32x8_ps::<1>(self.0));
            sum_eight(eight)
        }
    }

    #[inline(always)]
    fn sums(vectors: [Self; LANES]) -> Self {
        // Each step adds the two halves of what is left of every vector, and packs two results
        // into one register; the last step leaves the sums in the order 0, 4, 8, 12, 1, …
        // SAFETY: see the type.
        Self(unsafe {
            let v = vectors.map(|vector| vector.0);
            let eight: [__m512; 8] = std::array::from_fn(|i| {
                let (a, b) = (v[2 * i], v[2 * i + 1]);
                _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x44>(a, b),
                    _mm512_shuffle_f32x4::<0xee>(a, b),
                )
            });
            let four: [__m512; 4] = std::array::from_fn(|i| {
                let (a, b) = (eight[2 * i], eight[2 * i + 1]);
                _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x88>(a, b),
                    _mm512_shuffle_f32x4::<0xdd>(a, b),
                )
            });
            let two: [__m512; 2] = std::array::from_fn(|i| {
                let (a, b) = (four[2 * i], four[2 * i + 1]);
                _mm512_add_ps(
                    _mm512_shuffle_ps::<0x44>(a, b),
                    _mm512_shuffle_ps::<0xee>(a, b),
                )
            });
            let one = _mm512_add_ps(
                _mm512_shuffle_ps::<0x88>(two[0], two[1]),
                _mm512_shuffle_ps::<0xdd>(two[0], two[1]),
            );
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_ps(order, one)
        })
    }

    #[inline(always)]
    fn codes(bytes: &[u8; CODES]) -> __m512i {
        // SAFETY: see the type.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn lower(codes: __m512i) -> __m512i {
        // SAFETY: see the type.
        unsafe { _mm512_and_si512(codes, _mm512_set1_epi8(0xf)) }
    }

    #[inline(always)]
    fn upper(codes: __m512i) -> __m512i {
        // SAFETY: see the type.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(codes), _mm512_set1_epi8(0xf)) }
    }

    #[inline(always)]
    fn no_integers() -> __m512i {
        // SAFETY: see the type.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn dot4(sums: __m512i, codes: __m512i, x: [i8; 4]) -> __m512i {
        Self::dot8(sums, codes, x)
    }

    #[inline(always)]
    fn dot8(sums: __m512i, codes: __m512i, x: [i8; 4]) -> __m512i {
        let x = i32::from_le_bytes(x.map(i8::cast_unsigned));
        // SAFETY: see the type.
        unsafe { _mm512_dpbusd_epi32(sums, codes, _mm512_set1_epi32(x)) }
    }

    #[inline(always)]
    fn from_integers(integers: __m512i) -> Self {
        // SAFETY: see the type.
        Self(unsafe { _mm512_cvtepi32_ps(integers) })
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; LANES] {
        let mut bytes = [0; LANES];
        // SAFETY: see the type.
        unsafe {
            let packed = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(self.0));
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), packed);
        }
        bytes
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
    fn from_i8(bytes: &[i8; LANES]) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            let wide = _mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm512_cvtepi32_ps(wide)
        })
    }

    #[inline(always)]
    fn look_up(table: Self, codes: &[u8; LANES / 2]) -> Self {
        let codes = i64::from_le_bytes(*codes);
        // SAFETY: see the type.
        Self(unsafe {
            // Every pair of lanes holds all sixteen codes, eight in each lane, and shifts its own
            // two to the bottom; the look-up reads only the lowest four bits of a lane. A shift of
            // bytes to any place would keep the natural order, and takes half as long again.
            let bits = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
            let codes = _mm512_srlv_epi32(_mm512_set1_epi64(codes), bits);
            _mm512_permutexvar_ps(codes, table.0)
        })
    }

    #[inline(always)]
    fn arranged(self) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            let order = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
            _mm512_permutexvar_ps(order, self.0)
        })
    }

    #[inline(always)]
    fn restored(self) -> Self {
        // SAFETY: see the type.
        Self(unsafe {
            let order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
            _mm512_permutexvar_ps(order, self.0)
        })
    }

    #[inline(always)]
    fn prefetch(address: *const u8, later: bool) {
        // SAFETY: a prefetch has no effect but on caches, whatever the address.
        unsafe {
            match later {
                false => _mm_prefetch::<_MM_HINT_T0>(address.cast()),
                true => _mm_prefetch::<_MM_HINT_T1>(address.cast()),
            }
        };
    }
}
