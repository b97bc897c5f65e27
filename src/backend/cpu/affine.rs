//! Affine quantisation, unpacked exactly: `scale · q + bias` in f32, product before sum.
//!
//! This is the reference that the vector kernels are checked against.

use std::ops::Range;

use super::BackendError;
use super::matrix::check_length;
use crate::backend::{self, Blob, Element};

/// Elements that are unpacked together: as many as fill whole bytes at every width.
const BLOCK: usize = 8;

/// Packed rows of integers, with a scale and a bias per group.
#[derive(Debug)]
pub(super) struct Affine {
    unpack: Unpack,
    group_size: usize,
    row_bytes: usize,
    group_bytes: usize,
    packed: Blob,
    scales: Blob,
    biases: Blob,
    element: Element,
}

/// Unpacks one group: packed bytes, scale, bias, elements.
type Unpack = fn(&[u8], f32, f32, &mut [f32]);

impl Affine {
    /// # Errors
    /// If the width or the group size is none of MLX's, or the lengths do not agree with the
    /// shape.
    pub(super) fn new(
        rows: usize,
        cols: usize,
        data: &backend::Affine,
    ) -> Result<Self, BackendError> {
        let unpack = match data.bits {
            2 => unpack::<2>,
            3 => unpack::<3>,
            4 => unpack::<4>,
            5 => unpack::<5>,
            6 => unpack::<6>,
            8 => unpack::<8>,
            other => {
                return Err(BackendError(format!(
                    "{other}-bit quantisation is not supported; 2, 3, 4, 5, 6 and 8 bits are"
                )));
            }
        };
        let group_size = data.group_size;
        if !matches!(group_size, 32 | 64 | 128) || !cols.is_multiple_of(group_size) {
            return Err(BackendError(format!(
                "groups of {group_size} do not divide rows of {cols}, or are none of 32, 64 and 128"
            )));
        }
        let row_bytes = cols * data.bits / 8;
        let groups = rows * (cols / group_size) * data.element.size();
        check_length("elements", data.packed.bytes().len(), rows * row_bytes)?;
        check_length("scales", data.scales.bytes().len(), groups)?;
        check_length("biases", data.biases.bytes().len(), groups)?;
        Ok(Self {
            unpack,
            group_size,
            row_bytes,
            group_bytes: group_size * data.bits / 8,
            packed: data.packed.clone(),
            scales: data.scales.clone(),
            biases: data.biases.clone(),
            element: data.element,
        })
    }

    /// The codes of some rows, one row's behind the other's.
    fn packed(&self, rows: Range<usize>) -> &[u8] {
        &self.packed.bytes()[rows.start * self.row_bytes..rows.end * self.row_bytes]
    }

    /// The scales and the biases of some rows that have this many groups each.
    fn parameters(&self, rows: Range<usize>, groups: usize) -> [&[u8]; 2] {
        let bytes = groups * self.element.size();
        [&self.scales, &self.biases].map(|all| &all.bytes()[rows.start * bytes..rows.end * bytes])
    }

    /// Writes row `row` as f32.
    pub(super) fn row_into(&self, row: usize, out: &mut [f32]) {
        let packed = self.packed(row..row + 1);
        let parameters = self.parameters(row..row + 1, out.len() / self.group_size);
        let [scales, biases] = parameters.map(|bytes| self.element.decode(bytes));
        let parameters = scales.into_iter().zip(biases);
        for ((out, packed), (scale, bias)) in out
            .chunks_exact_mut(self.group_size)
            .zip(packed.chunks_exact(self.group_bytes))
            .zip(parameters)
        {
            (self.unpack)(packed, scale, bias, out);
        }
    }
}

fn unpack<const BITS: usize>(packed: &[u8], scale: f32, bias: f32, out: &mut [f32]) {
    let mask = (1u64 << BITS) - 1;
    for (out, bytes) in out
        .as_chunks_mut::<BLOCK>()
        .0
        .iter_mut()
        .zip(packed.as_chunks::<BITS>().0)
    {
        let mut word = [0u8; 8];
        word[..BITS].copy_from_slice(bytes);
        let word = u64::from_le_bytes(word);
        for (index, value) in out.iter_mut().enumerate() {
            let q = (word >> (index * BITS)) & mask;
            *value = scale * q as f32 + bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::backend::Element;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().copied().flat_map(f32::to_le_bytes).collect()
    }

    /// Three rows of 128 elements, and their values read bit by bit.
    fn example(bits: usize, group_size: usize) -> (backend::Affine, Vec<f32>) {
        let count = 3 * 128;
        let groups = count / group_size;
        let scales: Vec<f32> = (0..groups).map(|g| 0.01 * (g as f32 - 3.0)).collect();
        let biases: Vec<f32> = (0..groups).map(|g| 0.5 - 0.1 * g as f32).collect();
        let packed: Vec<u8> = (0..count * bits / 8)
            .map(|i| (i * 37 % 256) as u8)
            .collect();
        let bit = |index: usize| (packed[index / 8] >> (index % 8)) & 1;
        let values = (0..count)
            .map(|i| {
                let q: u32 = (0..bits).map(|b| u32::from(bit(i * bits + b)) << b).sum();
                scales[i / group_size] * q as f32 + biases[i / group_size]
            })
            .collect();
        let data = backend::Affine {
            bits,
            group_size,
            scales: Blob::new(bytes(&scales)),
            biases: Blob::new(bytes(&biases)),
            packed: Blob::new(packed),
            element: Element::F32,
        };
        (data, values)
    }

    #[rstest]
    fn rows_unpack_to_scale_times_q_plus_bias(
        #[values(2, 3, 4, 5, 6, 8)] bits: usize,
        #[values(32, 64, 128)] group_size: usize,
    ) {
        let (data, values) = example(bits, group_size);
        let affine = Affine::new(3, 128, &data).expect("valid");
        let mut row = vec![0.0; 128];
        for index in 0..3 {
            affine.row_into(index, &mut row);
            assert_eq!(row, values[index * 128..][..128]);
        }
    }

    #[rstest]
    #[case(7, 32, 128, "7-bit quantisation is not supported")]
    #[case(4, 16, 128, "groups of 16")]
    #[case(4, 64, 96, "groups of 64 do not divide rows of 96")]
    #[case(4, 64, 192, "the elements take 192 bytes, but the shape needs 288")]
    fn other_layouts_are_refused(
        #[case] bits: usize,
        #[case] group_size: usize,
        #[case] cols: usize,
        #[case] message: &str,
    ) {
        let (data, _) = example(4, 64);
        let data = backend::Affine {
            bits,
            group_size,
            ..data
        };
        let problem = Affine::new(3, cols, &data).expect_err("refused").0;
        assert!(problem.starts_with(message), "{problem}");
    }
}
