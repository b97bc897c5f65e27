//! How one stored row of a weight matrix becomes vectors of sixteen elements.
//!
//! Each format unpacks exactly what its plain reference in `affine` and `microscaling` does,
//! `scale · q` rounded before the bias is added, so both have the same bits.

use std::marker::PhantomData;

use crate::backend::Element;
use crate::simd::{LANES, Lanes};

/// A stored floating-point type.
pub(in super::super) trait Stored: Copy + Send + Sync + 'static {
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
    fn block<L: Lanes>(bytes: &[u8], block: usize) -> L {
        L::from_f32(&bytes.as_chunks::<{ 4 * LANES }>().0[block])
    }

    fn rest(bytes: &[u8]) -> Vec<f32> {
        Element::F32.decode(bytes.as_chunks::<{ 4 * LANES }>().1)
    }
}

impl Stored for F16 {
    #[inline(always)]
    fn block<L: Lanes>(bytes: &[u8], block: usize) -> L {
        L::from_f16(&bytes.as_chunks::<{ 2 * LANES }>().0[block])
    }

    fn rest(bytes: &[u8]) -> Vec<f32> {
        Element::F16.decode(bytes.as_chunks::<{ 2 * LANES }>().1)
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    fn block<L: Lanes>(bytes: &[u8], block: usize) -> L {
        L::from_bf16(&bytes.as_chunks::<{ 2 * LANES }>().0[block])
    }

    fn rest(bytes: &[u8]) -> Vec<f32> {
        Element::Bf16.decode(bytes.as_chunks::<{ 2 * LANES }>().1)
    }
}

/// One stored row, or several behind each other. The groups of a row have equal numbers of blocks,
/// and a block has sixteen elements.
pub(in super::super) trait Row: Copy {
    /// Whether blocks come out [`arranged`](Lanes::arranged).
    const ARRANGED: bool = false;

    /// Row `index` of these, which are `count` rows; behind the last one, the last one.
    fn nth(&self, index: usize, count: usize) -> Self;
    /// What the blocks of a group share.
    fn group<L: Lanes>(&self, group: usize) -> [L; 2];
    /// While group `group` of `rows` rows is computed, of which this is the first, fetches a part
    /// of the rows that come next.
    #[inline(always)]
    fn fetch_ahead<L: Lanes>(&self, _rows: usize, _group: usize) {}
    /// One block, counted from the start of the row.
    fn block<L: Lanes>(&self, block: usize, group: &[L; 2]) -> L;
    /// The elements behind the last whole block; quantised rows have none.
    fn rest(&self) -> Vec<f32>;
}

/// Bytes of weights for which there is room in the nearest cache beside the activations.
const NEAR: usize = 16 << 10;

/// Fetches a part of the rows from sixteen rows behind the first of `rows` rows on: as many bytes
/// as a group of all of them has, the next in order for the next group. These rows will be read
/// next, and one after the other each is too short a run of bytes for the processor to see where
/// it leads.
#[inline(always)]
fn fetch_ahead<L: Lanes>(first: &[u8], rows: usize, group: usize, groups: usize) {
    let part = rows * (first.len() / groups);
    let start = LANES * first.len() + group * part;
    // More would drive the activations out of the nearest cache.
    let later = LANES * first.len() > NEAR;
    for line in (start..start + part).step_by(64) {
        L::prefetch(first.as_ptr().wrapping_add(line), later);
    }
}

/// The part of row `index` in what belongs to `count` rows.
#[inline(always)]
fn part<T>(all: &[T], index: usize, count: usize) -> &[T] {
    let length = all.len() / count;
    &all[index.min(count - 1) * length..][..length]
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
    fn nth(&self, index: usize, count: usize) -> Self {
        Self::new(part(self.bytes, index, count))
    }

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
    const ARRANGED: bool = true;

    #[inline(always)]
    fn nth(&self, index: usize, count: usize) -> Self {
        Self {
            packed: part(self.packed, index, count),
            scales: part(self.scales, index, count),
            ..*self
        }
    }

    #[inline(always)]
    fn group<L: Lanes>(&self, group: usize) -> [L; 2] {
        let scale = L::splat(self.scale_of[usize::from(self.scales[group])]);
        [L::load(self.values).mul(scale), scale]
    }

    #[inline(always)]
    fn fetch_ahead<L: Lanes>(&self, rows: usize, group: usize) {
        fetch_ahead::<L>(self.packed, rows, group, self.scales.len());
    }

    #[inline(always)]
    fn block<L: Lanes>(&self, block: usize, [table, _]: &[L; 2]) -> L {
        L::look_up(*table, &self.packed.as_chunks::<{ LANES / 2 }>().0[block])
    }

    fn rest(&self) -> Vec<f32> {
        Vec::new()
    }
}
