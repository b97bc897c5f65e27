//! Products of interleaved weights with activations that are whole numbers: integer sums within a
//! group, then one fixed order of f32 operations over the groups.
//!
//! Lane `i` belongs to weight row `i` of a panel, so nothing is ever added across lanes, and a sum
//! of integers is exact in any order: the bits of a product depend on nothing but its two rows.

use super::super::Precision;
use super::super::interleaved::{LINE, Panel};
use super::super::pool::Strip;
use super::super::quantized::{Quantized, Row};
use crate::backend::Element;
use crate::simd::{Kernel, LANES, Lanes};

/// One panel of sixteen weight rows times some activation rows.
pub(in super::super) struct PanelProduct<'a, 'b> {
    /// The weights.
    pub(in super::super) panel: Panel<'a>,
    /// The activation rows.
    pub(in super::super) x: &'a Quantized,
    /// Column `m` of the result is activation row `m`.
    pub(in super::super) out: &'a mut Strip<'b, f32>,
    /// Where in a row of the result the sixteen products begin.
    pub(in super::super) at: usize,
}

impl Kernel for PanelProduct<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match (self.panel.bits, self.x.layout().precision) {
            (4, Precision::Fast) => self.all::<L, 8, 1>(four_bits::<L>),
            (4, Precision::Exact) => self.all::<L, 8, 3>(four_bits::<L>),
            (_, Precision::Fast) => self.all::<L, 4, 1>(eight_bits::<L>),
            (_, Precision::Exact) => self.all::<L, 4, 3>(eight_bits::<L>),
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

impl PanelProduct<'_, '_> {
    /// As many activation rows of `D` digits at a time as there are registers for.
    #[inline(always)]
    fn all<L: Lanes, const K: usize, const D: usize>(
        self,
        line: impl Fn(L::Codes, &[i8; K], L::Integers) -> L::Integers + Copy,
    ) {
        let Self { panel, x, out, at } = self;
        let mut done = 0;
        while done < x.rows() {
            let (x, out) = ((x, done), (&mut *out, at));
            done += match x.0.rows() - done {
                12.. if L::WIDE && D == 1 => columns::<L, 12, K, D>(&panel, x, out, line),
                8.. if L::WIDE => columns::<L, 8, K, D>(&panel, x, out, line),
                4.. if L::WIDE => columns::<L, 4, K, D>(&panel, x, out, line),
                2.. => columns::<L, 2, K, D>(&panel, x, out, line),
                _ => columns::<L, 1, K, D>(&panel, x, out, line),
            };
        }
    }
}

/// `M` activation rows from one on, and their products in the result, where a line of codes holds `K` elements of each weight row:
/// `Σ over groups of (scale · Σ codes · x) · step + bias · (step · Σ x)`. Returns `M`.
#[inline(always)]
fn columns<L: Lanes, const M: usize, const K: usize, const D: usize>(
    panel: &Panel<'_>,
    (x, first): (&Quantized, usize),
    (out, at): (&mut Strip<'_, f32>, usize),
    line: impl Fn(L::Codes, &[i8; K], L::Integers) -> L::Integers,
) -> usize {
    let x: [Row<'_>; M] = std::array::from_fn(|m| x.row(first + m));
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
        let x_codes: [[&[[i8; K]]; D]; M] = std::array::from_fn(|m| {
            let width = x[m].codes.len() / D;
            std::array::from_fn(|d| {
                let start = d * width + index * panel.group_size;
                x[m].codes[start..][..panel.group_size].as_chunks::<K>().0
            })
        });
        let mut integers = [[L::no_integers(); D]; M];
        for (k, codes) in codes.iter().enumerate() {
            let codes = L::codes(codes);
            for m in 0..M {
                for d in 0..D {
                    integers[m][d] = line(codes, &x_codes[m][d][k], integers[m][d]);
                }
            }
        }
        let [scales, biases] = decode::<L>(panel.element, parameters);
        for m in 0..M {
            // A sum of one digit's products is below 2^24, so exact in f32.
            let mut products = L::from_integers(integers[m][0]);
            for digit in &integers[m][1..] {
                products = products.fma(L::splat(256.0), L::from_integers(*digit));
            }
            let scaled = products.mul(scales);
            sums[m] = scaled.fma(L::splat(x[m].steps[index]), sums[m]);
            sums[m] = biases.fma(L::splat(x[m].totals[index]), sums[m]);
        }
    }
    for (m, sum) in sums.iter().enumerate() {
        let out = &mut out.row(first + m)[at..];
        match out.first_chunk_mut() {
            Some(out) => *out = sum.store(),
            None => out.copy_from_slice(&sum.store()[..out.len()]),
        }
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
