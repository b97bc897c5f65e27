//! Small floating-point elements with a shared scale per group, unpacked exactly.
//!
//! Every product of an element and a scale is exact in f32, so there is nothing to round. This is
//! the reference that the vector kernels are checked against.

use std::ops::Range;

use super::BackendError;
use super::kernels::rows::Scaled4;
use super::matrix::check_length;
use crate::backend::{self, Blob, Microformat};

/// The sixteen E2M1 numbers: one sign bit, two bits of exponent, one of mantissa (OCP
/// Microscaling Formats 1.0, table 5).
const E2M1: [f32; 16] = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

/// Packed rows and the tables that turn codes into numbers.
#[derive(Debug)]
pub(super) struct Microscaled {
    format: Microformat,
    /// What a scale byte means.
    scale_of: Box<[f32; 256]>,
    /// What an element of eight bits means; unused by formats of four.
    element_of: Box<[f32; 256]>,
    packed: Blob,
    scales: Blob,
}

impl Microscaled {
    /// # Errors
    /// If the groups do not divide the rows, or the lengths do not agree with the shape.
    pub(super) fn new(
        rows: usize,
        cols: usize,
        data: &backend::Microscaled,
    ) -> Result<Self, BackendError> {
        let format = data.format;
        let group_size = format.group_size();
        if !cols.is_multiple_of(group_size) {
            return Err(BackendError(format!(
                "groups of {group_size} do not divide rows of {cols}"
            )));
        }
        let elements = rows * cols;
        check_length(
            "elements",
            data.packed.bytes().len(),
            elements * format.bits() / 8,
        )?;
        check_length("scales", data.scales.bytes().len(), elements / group_size)?;
        let scale_of = match format {
            Microformat::Nvfp4 => e4m3,
            Microformat::Mxfp4 | Microformat::Mxfp8 => e8m0,
        };
        Ok(Self {
            format,
            scale_of: table(scale_of),
            element_of: table(e4m3),
            packed: data.packed.clone(),
            scales: data.scales.clone(),
        })
    }

    /// The format.
    pub(super) fn format(&self) -> Microformat {
        self.format
    }

    /// Some rows of four-bit elements, for the kernels.
    pub(super) fn rows4(&self, rows: Range<usize>, cols: usize) -> Scaled4<'_> {
        let bytes = cols / 2;
        let groups = cols / self.format.group_size();
        Scaled4 {
            packed: &self.packed.bytes()[rows.start * bytes..rows.end * bytes],
            scales: &self.scales.bytes()[rows.start * groups..rows.end * groups],
            scale_of: &self.scale_of,
            values: &E2M1,
        }
    }

    /// Writes row `row` as f32.
    pub(super) fn row_into(&self, row: usize, out: &mut [f32]) {
        let group_size = self.format.group_size();
        let row_bytes = out.len() * self.format.bits() / 8;
        let groups = out.len() / group_size;
        let packed = &self.packed.bytes()[row * row_bytes..][..row_bytes];
        let scales = &self.scales.bytes()[row * groups..][..groups];
        for ((out, packed), scale) in out
            .chunks_exact_mut(group_size)
            .zip(packed.chunks_exact(group_size * self.format.bits() / 8))
            .zip(scales)
        {
            let scale = self.scale_of[usize::from(*scale)];
            match self.format {
                Microformat::Mxfp4 | Microformat::Nvfp4 => {
                    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(packed) {
                        pair[0] = scale * E2M1[usize::from(byte & 0xf)];
                        pair[1] = scale * E2M1[usize::from(byte >> 4)];
                    }
                }
                Microformat::Mxfp8 => {
                    for (value, byte) in out.iter_mut().zip(packed) {
                        *value = scale * self.element_of[usize::from(*byte)];
                    }
                }
            }
        }
    }
}

fn table(meaning: fn(u8) -> f32) -> Box<[f32; 256]> {
    let mut table = Box::new([0.0; 256]);
    for (value, code) in table.iter_mut().zip(0..=u8::MAX) {
        *value = meaning(code);
    }
    table
}

/// `2^(code - 127)`: the exponent of an f32 and nothing else, except that code 0 stands for the
/// subnormal 2^-127.
fn e8m0(code: u8) -> f32 {
    match code {
        0 => f32::from_bits(1 << 22),
        _ => f32::from_bits(u32::from(code) << 23),
    }
}

/// One sign bit, four bits of exponent (bias 7), three of mantissa; no infinities, and all ones
/// is not a number (OCP 8-bit Floating Point 1.0, E4M3).
fn e4m3(code: u8) -> f32 {
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((code >> 3) & 0xf);
    let mantissa = f32::from(code & 0x7);
    let size = match (exponent, code & 0x7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    };
    sign * size
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0x00, 0.0)]
    #[case(0x01, 0.001_953_125)]
    #[case(0x07, 0.013_671_875)]
    #[case(0x08, 0.015_625)]
    #[case(0x38, 1.0)]
    #[case(0x7e, 448.0)]
    #[case(0xb9, -1.125)]
    fn e4m3_numbers(#[case] code: u8, #[case] value: f32) {
        assert_eq!(e4m3(code).to_bits(), value.to_bits());
    }

    #[test]
    fn scales_of_every_byte_are_powers_of_two() {
        assert_eq!(e8m0(127), 1.0);
        assert_eq!(e8m0(124), 0.125);
        assert_eq!(e8m0(254), 2f32.powi(127));
        assert_eq!(e8m0(0), 2f32.powi(-126) / 2.0);
    }

    #[rstest]
    fn scales_that_are_no_numbers_are_those_without_a_finite_value(
        #[values(Microformat::Mxfp4, Microformat::Nvfp4, Microformat::Mxfp8)] format: Microformat,
    ) {
        let scale = match format {
            Microformat::Nvfp4 => e4m3,
            _ => e8m0,
        };
        for code in 0..=u8::MAX {
            assert_eq!(
                format.is_scale_finite(code),
                scale(code).is_finite(),
                "{code}"
            );
        }
    }

    #[test]
    fn a_row_is_elements_times_the_scale_of_their_group() {
        // Element 16·r + i has code i, in rows of 32 with two groups of nvfp4.
        let packed: Vec<u8> = (0..2 * 16)
            .map(|byte| (byte % 8 * 2) | ((byte % 8 * 2 + 1) << 4))
            .collect();
        let data = backend::Microscaled {
            format: Microformat::Nvfp4,
            packed: Blob::new(packed),
            scales: Blob::new(vec![0x38, 0x40, 0xb8, 0x30]),
        };
        let matrix = Microscaled::new(2, 32, &data).expect("valid");
        let mut row = vec![0.0; 32];
        matrix.row_into(1, &mut row);
        let expected: Vec<f32> = [-1.0, 0.5]
            .iter()
            .flat_map(|scale| E2M1.iter().map(move |element| scale * element))
            .collect();
        assert_eq!(row, expected);
        let problem = Microscaled::new(2, 40, &data).expect_err("refused").0;
        assert_eq!(problem, "groups of 16 do not divide rows of 40");
        let problem = Microscaled::new(3, 32, &data).expect_err("refused").0;
        assert_eq!(
            problem,
            "the elements take 32 bytes, but the shape needs 48"
        );
    }
}
