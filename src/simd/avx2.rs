//! Sixteen lanes as two AVX2 registers: lanes 0 to 7, and 8 to 15.

#![expect(unsafe_code, reason = "vector instructions are unsafe to call")]

use std::arch::x86_64::*;

use super::{CODES, LANES, Lanes};

/// Lanes in two 256-bit registers.
///
/// SAFETY (of every block below): values of this type come into being only inside `Isa::run`,
/// which compiles kernels for this type with the features avx2, fma and f16c, and runs them only
/// where the processor reports all of them. Loads and stores go through references to arrays of
/// exactly the size that the instructions touch, and have no demand on alignment.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256, __m256);

/// The sum of eight lanes, added pairwise: `i` and `i + 4`, then `i + 2`, then the last two.
///
/// SAFETY: to be called with AVX2 only.
#[inline(always)]
pub(super) unsafe fn sum_eight(lanes: __m256) -> f32 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let four = _mm_add_ps(
            _mm256_castps256_ps128(lanes),
            _mm256_extractf128_ps::<1>(lanes),
        );
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

impl Avx2 {
    #[inline(always)]
    fn map(self, f: impl Fn(__m256) -> __m256) -> Self {
        Self(f(self.0), f(self.1))
    }

    #[inline(always)]
    fn with(self, other: Self, f: impl Fn(__m256, __m256) -> __m256) -> Self {
        Self(f(self.0, other.0), f(self.1, other.1))
    }
}

impl Lanes for Avx2 {
    type Codes = [__m256i; 2];
    type Integers = [__m256i; 2];

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the type.
        let half = unsafe { _mm256_set1_ps(value) };
        Self(half, half)
    }

    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        // SAFETY: see the type; the second half begins eight elements behind the first.
        unsafe {
            let start = values.as_ptr();
            Self(
                _mm256_loadu_ps(start),
                _mm256_loadu_ps(start.add(LANES / 2)),
            )
        }
    }

    #[inline(always)]
    fn store(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: see the type; the second half begins eight elements behind the first.
        unsafe {
            let start = lanes.as_mut_ptr();
            _mm256_storeu_ps(start, self.0);
            _mm256_storeu_ps(start.add(LANES / 2), self.1);
        }
        lanes
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the type.
        self.with(other, |a, b| unsafe { _mm256_add_ps(a, b) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see the type.
        self.with(other, |a, b| unsafe { _mm256_sub_ps(a, b) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see the type.
        self.with(other, |a, b| unsafe { _mm256_mul_ps(a, b) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see the type.
        self.with(other, |a, b| unsafe { _mm256_div_ps(a, b) })
    }

    #[inline(always)]
    fn fma(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see the type.
        unsafe {
            Self(
                _mm256_fmadd_ps(self.0, factor.0, summand.0),
                _mm256_fmadd_ps(self.1, factor.1, summand.1),
            )
        }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the type.
        self.with(other, |a, b| unsafe { _mm256_max_ps(a, b) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the type.
        self.with(other, |a, b| unsafe { _mm256_min_ps(a, b) })
    }

    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the type.
        self.map(|a| unsafe {
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
        })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: see the type.
        unsafe {
            let eight = _mm256_add_ps(self.0, self.1);
            sum_eight(eight)
        }
    }

    #[inline(always)]
    fn codes(bytes: &[u8; CODES]) -> [__m256i; 2] {
        // SAFETY: see the type; each half is 32 bytes.
        unsafe {
            let start = bytes.as_ptr();
            [
                _mm256_loadu_si256(start.cast()),
                _mm256_loadu_si256(start.add(CODES / 2).cast()),
            ]
        }
    }

    #[inline(always)]
    fn lower(codes: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: see the type.
        codes.map(|half| unsafe { _mm256_and_si256(half, _mm256_set1_epi8(0xf)) })
    }

    #[inline(always)]
    fn upper(codes: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: see the type.
        Self::lower(codes.map(|half| unsafe { _mm256_srli_epi16::<4>(half) }))
    }

    #[inline(always)]
    fn no_integers() -> [__m256i; 2] {
        // SAFETY: see the type.
        [unsafe { _mm256_setzero_si256() }; 2]
    }

    #[inline(always)]
    fn dot4(sums: [__m256i; 2], codes: [__m256i; 2], x: [i8; 4]) -> [__m256i; 2] {
        let x = i32::from_le_bytes(x.map(i8::cast_unsigned));
        std::array::from_fn(|i| {
            // SAFETY: see the type. Two products of a number below 16 and one of eight bits fit
            // into sixteen bits, so the first addition does not saturate.
            unsafe {
                let pairs = _mm256_maddubs_epi16(codes[i], _mm256_set1_epi32(x));
                let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
                _mm256_add_epi32(sums[i], fours)
            }
        })
    }

    #[inline(always)]
    fn dot8(sums: [__m256i; 2], codes: [__m256i; 2], x: [i8; 4]) -> [__m256i; 2] {
        let lower = Self::dot4(sums, Self::lower(codes), x);
        let upper = Self::dot4(Self::no_integers(), Self::upper(codes), x);
        std::array::from_fn(|i| {
            // SAFETY: see the type.
            unsafe { _mm256_add_epi32(lower[i], _mm256_slli_epi32::<4>(upper[i])) }
        })
    }

    #[inline(always)]
    fn from_integers(integers: [__m256i; 2]) -> Self {
        let [low, high] = integers;
        // SAFETY: see the type.
        unsafe { Self(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)) }
    }

    #[inline(always)]
    fn to_i8(self) -> [i8; LANES] {
        let mut bytes = [0; LANES];
        // SAFETY: see the type.
        unsafe {
            let (low, high) = (_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1));
            // Packing works on each half of a register for itself: 0 1 4 5 | 2 3 6 7.
            let words = _mm256_permute4x64_epi64::<0xd8>(_mm256_packs_epi32(low, high));
            let packed = _mm_packs_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), packed);
        }
        bytes
    }

    #[inline(always)]
    fn floor(self) -> Self {
        // SAFETY: see the type.
        self.map(|a| unsafe { _mm256_floor_ps(a) })
    }

    #[inline(always)]
    fn exp2_whole(self) -> Self {
        // SAFETY: see the type.
        self.map(|a| unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        })
    }

    #[inline(always)]
    fn from_f32(bytes: &[u8; 4 * LANES]) -> Self {
        // SAFETY: see the type; each half is 32 bytes.
        unsafe {
            let start = bytes.as_ptr();
            Self(
                _mm256_loadu_ps(start.cast()),
                _mm256_loadu_ps(start.add(2 * LANES).cast()),
            )
        }
    }

    #[inline(always)]
    fn splat_f16(bits: u16) -> Self {
        // SAFETY: see the type.
        let half = unsafe { _mm256_cvtph_ps(_mm_set1_epi16(bits.cast_signed())) };
        Self(half, half)
    }

    #[inline(always)]
    fn from_f16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see the type; each half is sixteen bytes.
        unsafe {
            let start = bytes.as_ptr();
            Self(
                _mm256_cvtph_ps(_mm_loadu_si128(start.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(start.add(LANES).cast())),
            )
        }
    }

    #[inline(always)]
    fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self {
        // SAFETY: see the type; each half is sixteen bytes.
        unsafe {
            let widen = |halves| {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(halves));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            };
            let start = bytes.as_ptr();
            Self(widen(start.cast()), widen(start.add(LANES).cast()))
        }
    }

    #[inline(always)]
    fn from_u8(bytes: &[u8; LANES]) -> Self {
        // SAFETY: see the type; each half is eight bytes.
        unsafe {
            let widen =
                |quarter| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(quarter)));
            let start = bytes.as_ptr();
            Self(widen(start.cast()), widen(start.add(LANES / 2).cast()))
        }
    }

    #[inline(always)]
    fn from_i8(bytes: &[i8; LANES]) -> Self {
        // SAFETY: see the type; each half is eight bytes.
        unsafe {
            let widen =
                |quarter| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(quarter)));
            let start = bytes.as_ptr();
            Self(widen(start.cast()), widen(start.add(LANES / 2).cast()))
        }
    }

    #[inline(always)]
    fn look_up(table: Self, codes: &[u8; LANES / 2]) -> Self {
        let [a, b, c, d, e, f, g, h] = *codes;
        // SAFETY: see the type.
        unsafe {
            let half = |word| {
                let shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
                let codes = _mm256_srlv_epi32(_mm256_set1_epi32(word), shifts);
                // A permutation reads three bits of a code; the fourth chooses between the two
                // halves of the table, as the sign that the blend reads.
                let low = _mm256_permutevar8x32_ps(table.0, codes);
                let high = _mm256_permutevar8x32_ps(table.1, codes);
                let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
                _mm256_blendv_ps(low, high, fourth)
            };
            Self(
                half(i32::from_le_bytes([a, b, c, d])),
                half(i32::from_le_bytes([e, f, g, h])),
            )
        }
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
