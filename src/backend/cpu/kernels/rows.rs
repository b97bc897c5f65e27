//! How one stored row of a weight matrix becomes vectors of sixteen elements.
//!
//! Each format unpacks exactly what its plain reference in `affine` and `microscaling` does,
//! `scale · q` rounded before the bias is added, so both have the same bits.

use std::marker::PhantomData;

use crate::simd::{LANES, Lanes};

/// A stored floating-point type.
pub(in super::super) trait Stored: Copy + Send + Sync + 'static {
    /// Element `index`, in all lanes.
    fn splat<L: Lanes>(bytes: &[u8], index: usize) -> L;
    /// Elements `16 · block ..`, one per lane.
    fn block<L: Lanes>(bytes: &[u8], block: usize) -> L;
    /// The elements behind the last whole block.
    fn rest(bytes: &[u8]) -> Vec<f32>;
}

/// IEEE binary32.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct F32;
/// IEEE binary16.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct F16;
/// bfloat16.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Bf16;

impl Stored for F32 {
    #[inline(always)]
    fn splat<L: Lanes>(bytes: &[u8], index: usize) -> L {
        L::splat(f32::from_le_bytes(bytes.as_chunks::<4>().0[index]))
    }

    #[inline(always)]
    fn block<L: Lanes>(bytes: &[u8], block: usize) -> L {
        L::from_f32(&bytes.as_chunks::<{ 4 * LANES }>().0[block])
    }

    fn rest(bytes: &[u8]) -> Vec<f32> {
        crate::backend::Element::F32.decode(bytes.as_chunks::<{ 4 * LANES }>().1)
    }
}

impl Stored for F16 {
    #[inline(always)]
    fn splat<L: Lanes>(bytes: &[u8], index: usize) -> L {
        L::splat_f16(u16::from_le_bytes(bytes.as_chunks::<2>().0[index]))
    }

    #[inline(always)]
    fn block<L: Lanes>(bytes: &[u8], block: usize) -> L {
        L::from_f16(&bytes.as_chunks::<{ 2 * LANES }>().0[block])
    }

    fn rest(bytes: &[u8]) -> Vec<f32> {
        crate::backend::Element::F16.decode(bytes.as_chunks::<{ 2 * LANES }>().1)
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    fn splat<L: Lanes>(bytes: &[u8], index: usize) -> L {
        let bits = u16::from_le_bytes(bytes.as_chunks::<2>().0[index]);
        L::splat(f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    fn block<L: Lanes>(bytes: &[u8], block: usize) -> L {
        L::from_bf16(&bytes.as_chunks::<{ 2 * LANES }>().0[block])
    }

    fn rest(bytes: &[u8]) -> Vec<f32> {
        crate::backend::Element::Bf16.decode(bytes.as_chunks::<{ 2 * LANES }>().1)
    }
}

/// One stored row. Its groups have equal numbers of blocks, and a block has sixteen elements.
pub(in super::super) trait Row: Copy {
    /// What the blocks of a group share.
    fn group<L: Lanes>(&self, group: usize) -> [L; 2];
    /// One block, counted from the start of the row.
    fn block<L: Lanes>(&self, block: usize, group: &[L; 2]) -> L;
    /// The elements behind the last whole block; quantised rows have none.
    fn rest(&self) -> Vec<f32>;
}

/// Elements one after the other. The whole row is one group.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Dense<'a, E> {
    bytes: &'a [u8],
    element: PhantomData<E>,
}

impl<'a, E: Stored> Dense<'a, E> {
    /// A row from its bytes.
    pub(in super::super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            element: PhantomData,
        }
    }
}

impl<E: Stored> Row for Dense<'_, E> {
    #[inline(always)]
    fn group<L: Lanes>(&self, _group: usize) -> [L; 2] {
        [L::splat(0.0); 2]
    }

    #[inline(always)]
    fn block<L: Lanes>(&self, block: usize, _group: &[L; 2]) -> L {
        E::block(self.bytes, block)
    }

    fn rest(&self) -> Vec<f32> {
        E::rest(self.bytes)
    }
}

/// Sixteen equidistant values per group: affine quantisation with four bits.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Affine4<'a, E> {
    /// Two elements per byte.
    pub(in super::super) packed: &'a [u8],
    /// One per group.
    pub(in super::super) scales: &'a [u8],
    /// One per group.
    pub(in super::super) biases: &'a [u8],
    /// The type of scales and biases.
    pub(in super::super) element: PhantomData<E>,
}

/// The numbers that four bits can stand for.
const CODES: [f32; LANES] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
];

impl<E: Stored> Row for Affine4<'_, E> {
    /// The values of all sixteen codes: one look-up then gives an element.
    #[inline(always)]
    fn group<L: Lanes>(&self, group: usize) -> [L; 2] {
        let (scale, bias): (L, L) = (E::splat(self.scales, group), E::splat(self.biases, group));
        [L::load(&CODES).mul(scale).add(bias), bias]
    }

    #[inline(always)]
    fn block<L: Lanes>(&self, block: usize, [table, _]: &[L; 2]) -> L {
        L::look_up(*table, &self.packed.as_chunks::<{ LANES / 2 }>().0[block])
    }

    fn rest(&self) -> Vec<f32> {
        Vec::new()
    }
}

/// Affine quantisation with eight bits.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Affine8<'a, E> {
    /// One element per byte.
    pub(in super::super) packed: &'a [u8],
    /// One per group.
    pub(in super::super) scales: &'a [u8],
    /// One per group.
    pub(in super::super) biases: &'a [u8],
    /// The type of scales and biases.
    pub(in super::super) element: PhantomData<E>,
}

impl<E: Stored> Row for Affine8<'_, E> {
    #[inline(always)]
    fn group<L: Lanes>(&self, group: usize) -> [L; 2] {
        [E::splat(self.scales, group), E::splat(self.biases, group)]
    }

    #[inline(always)]
    fn block<L: Lanes>(&self, block: usize, [scale, bias]: &[L; 2]) -> L {
        L::from_u8(&self.packed.as_chunks::<LANES>().0[block])
            .mul(*scale)
            .add(*bias)
    }

    fn rest(&self) -> Vec<f32> {
        Vec::new()
    }
}

/// Sixteen values of a table, times a scale per group: mxfp4 and nvfp4.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Scaled4<'a> {
    /// Two elements per byte.
    pub(in super::super) packed: &'a [u8],
    /// One byte per group.
    pub(in super::super) scales: &'a [u8],
    /// What a scale byte means.
    pub(in super::super) scale_of: &'a [f32; 256],
    /// What a code means.
    pub(in super::super) values: &'a [f32; LANES],
}

impl Row for Scaled4<'_> {
    #[inline(always)]
    fn group<L: Lanes>(&self, group: usize) -> [L; 2] {
        let scale = L::splat(self.scale_of[usize::from(self.scales[group])]);
        [L::load(self.values).mul(scale), scale]
    }

    #[inline(always)]
    fn block<L: Lanes>(&self, block: usize, [table, _]: &[L; 2]) -> L {
        L::look_up(*table, &self.packed.as_chunks::<{ LANES / 2 }>().0[block])
    }

    fn rest(&self) -> Vec<f32> {
        Vec::new()
    }
}

/// Elements that are unpacked already.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Plain<'a>(pub(in super::super) &'a [f32]);

impl Row for Plain<'_> {
    #[inline(always)]
    fn group<L: Lanes>(&self, _group: usize) -> [L; 2] {
        [L::splat(0.0); 2]
    }

    #[inline(always)]
    fn block<L: Lanes>(&self, block: usize, _group: &[L; 2]) -> L {
        L::load(&self.0.as_chunks::<LANES>().0[block])
    }

    fn rest(&self) -> Vec<f32> {
        self.0.as_chunks::<LANES>().1.to_vec()
    }
}
