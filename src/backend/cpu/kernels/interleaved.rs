//! Products of interleaved weights with activations of eight bits: integer sums within a group,
//! then one fixed order of f32 operations over the groups.
//!
//! Lane `i` belongs to weight row `i` of a panel, so nothing is ever added across lanes, and a sum
//! of integers is exact in any order: the bits of a product depend on nothing but its two rows.

use super::super::interleaved::{LINE, Panel};
use super::super::quantized::Quantized;
use crate::backend::Element;
use crate::simd::{Kernel, LANES, Lanes};

/// One panel of sixteen weight rows times some activation rows.
pub(in super::super) struct PanelProduct<'a> {
    /// The weights.
    pub(in super::super) panel: Panel<'a>,
    /// The activation rows.
    pub(in super::super) x: &'a [Quantized],
    /// Sixteen products for each of them.
    pub(in super::super) out: &'a mut [[f32; LANES]],
}

impl Kernel for PanelProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.panel.bits {
            4 => self.all::<L, 8>(four_bits::<L>),
            _ => self.all::<L, 4>(eight_bits::<L>),
        }
    }
}

/// Eight elements of each row: the even ones below, the odd ones above, as in [`Quantized`].
#[inline(always)]
fn four_bits<L: Lanes>(codes: L::Codes, x: &[i8; 8], sums: L::Integers) -> L::Integers {
    let [a, b, c, d, e, f, g, h] = *x;
    let sums = L::dot4(sums, L::lower(codes), [a, b, c, d]);
    L::dot4(sums, L::upper(codes), [e, f, g, h])
}

/// Four elements of each row.
#[inline(always)]
fn eight_bits<L: Lanes>(codes: L::Codes, x: &[i8; 4], sums: L::Integers) -> L::Integers {
    L::dot8(sums, codes, *x)
}

impl PanelProduct<'_> {
    /// As many activation rows at a time as there are registers for.
    #[inline(always)]
    fn all<L: Lanes, const K: usize>(
        self,
        line: impl Fn(L::Codes, &[i8; K], L::Integers) -> L::Integers + Copy,
    ) {
        let Self { panel, x, out } = self;
        let mut done = 0;
        while done < x.len() {
            let (x, out) = (&x[done..], &mut out[done..]);
            done += match x.len() {
                12.. if L::WIDE => columns::<L, 12, K>(&panel, x, out, line),
                8.. if L::WIDE => columns::<L, 8, K>(&panel, x, out, line),
                4.. if L::WIDE => columns::<L, 4, K>(&panel, x, out, line),
                2.. => columns::<L, 2, K>(&panel, x, out, line),
                _ => columns::<L, 1, K>(&panel, x, out, line),
            };
        }
    }
}

/// The first `M` activation rows, where a line of codes holds `K` elements of each weight row:
/// `Σ over groups of (scale · Σ codes · x) · step + bias · (step · Σ x)`. Returns `M`.
#[inline(always)]
fn columns<L: Lanes, const M: usize, const K: usize>(
    panel: &Panel<'_>,
    x: &[Quantized],
    out: &mut [[f32; LANES]],
    line: impl Fn(L::Codes, &[i8; K], L::Integers) -> L::Integers,
) -> usize {
    let mut sums = [L::splat(0.0); M];
    for (index, group) in panel.groups().enumerate() {
        // The panel behind this one is what comes next. With one activation row there is nothing
        // to hide the fetching behind, and the processor foresees it as well.
        if M > 1 {
            for line in group {
                L::prefetch(line.as_ptr().wrapping_add(panel.bytes()), false);
            }
        }
        let (codes, parameters) = group.split_at(panel.group_size / K);
        let x_codes: [&[[i8; K]]; M] = std::array::from_fn(|m| {
            let codes = &x[m].codes[index * panel.group_size..][..panel.group_size];
            codes.as_chunks::<K>().0
        });
        let mut integers = [L::no_integers(); M];
        for (k, codes) in codes.iter().enumerate() {
            let codes = L::codes(codes);
            for m in 0..M {
                integers[m] = line(codes, &x_codes[m][k], integers[m]);
            }
        }
        let [scales, biases] = decode::<L>(panel.element, parameters);
        for m in 0..M {
            let scaled = L::from_integers(integers[m]).mul(scales);
            sums[m] = scaled.fma(L::splat(x[m].steps[index]), sums[m]);
            sums[m] = biases.fma(L::splat(x[m].totals[index]), sums[m]);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum.store();
    }
    M
}

/// The scales and biases of a group, one of each per lane.
#[inline(always)]
fn decode<L: Lanes>(element: Element, lines: &[[u8; LINE]]) -> [L; 2] {
    let halves = lines.as_flattened().as_chunks::<{ 2 * LANES }>().0;
    match element {
        Element::F32 => [L::from_f32(&lines[0]), L::from_f32(&lines[1])],
        Element::F16 => [L::from_f16(&halves[0]), L::from_f16(&halves[1])],
        Element::Bf16 => [L::from_bf16(&halves[0]), L::from_bf16(&halves[1])],
    }
}

/// Sixteen elements of a row at a time become whole numbers of eight bits.
pub(in super::super) struct Quantize<'a> {
    /// The elements of one group.
    pub(in super::super) x: &'a [f32],
    /// The numbers, in the order of the elements.
    pub(in super::super) codes: &'a mut [i8],
}

impl Kernel for Quantize<'_> {
    /// What a number stands for, and the sum of the numbers.
    type Output = (f32, f32);

    #[inline(always)]
    fn run<L: Lanes>(self) -> (f32, f32) {
        let zero = L::splat(0.0);
        let blocks = self.x.as_chunks::<LANES>().0;
        let (mut most, mut poison) = (zero, zero);
        for block in blocks {
            let x = L::load(block);
            // What is not a number stays none: a maximum alone would lose it.
            poison = x.fma(zero, poison);
            most = most.max(x.max(zero.sub(x)));
        }
        let most = most.store().into_iter().fold(0.0, f32::max);
        let factor = L::splat(if most > 0.0 { 127.0 / most } else { 0.0 });
        let mut total = zero;
        for (block, codes) in blocks.iter().zip(self.codes.as_chunks_mut::<LANES>().0) {
            let whole = L::load(block).mul(factor).round();
            total = total.add(whole);
            *codes = whole.to_i8();
        }
        (most / 127.0 + poison.sum(), total.sum())
    }
}
