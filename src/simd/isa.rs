//! The instruction sets that kernels are compiled for, and which of them this processor has.

use std::fmt;

use super::Lanes;
use super::portable::Portable;

/// A computation written over [`Lanes`].
pub trait Kernel {
    /// What it returns.
    type Output;

    /// The computation. Implementations are `#[inline(always)]`: only then they are compiled with
    /// the features of the instruction set that runs them.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// An instruction set. Which one runs changes the speed and no bit of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Whatever the compiler's target has; NEON on aarch64.
    Portable,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL, VBMI and VNNI: Ice Lake and Zen 4, and what came after.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The instruction sets of this processor, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut available = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx2() {
                available.push(Self::Avx2);
            }
            if has_avx2() && has_avx512() {
                available.push(Self::Avx512);
            }
        }
        available
    }

    /// The fastest instruction set of this processor.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// Reads a name as users write it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::available()
            .into_iter()
            .find(|isa| isa.to_string() == name)
    }

    /// Runs a kernel, compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Portable => kernel.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::avx2(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::avx512(kernel),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "code for a feature is unsafe to enter without it"
)]
mod x86 {
    use super::super::{avx2::Avx2, avx512::Avx512};
    use super::{Kernel, has_avx2, has_avx512};

    pub(super) fn avx2<K: Kernel>(kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Avx2>()
        }
        assert!(has_avx2());
        // SAFETY: the processor has the features, as was just checked.
        unsafe { compiled(kernel) }
    }

    pub(super) fn avx512<K: Kernel>(kernel: K) -> K::Output {
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma,f16c"
        )]
        fn compiled<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<Avx512>()
        }
        assert!(has_avx2() && has_avx512());
        // SAFETY: the processor has the features, as was just checked.
        unsafe { compiled(kernel) }
    }
}
