//! Weight matrices in their stored form, and their products with activations.
//!
//! A row is unpacked to f32 when it is needed, so a model takes no more memory than its file.

use rayon::prelude::*;

use super::{BackendError, MatrixData, dot};
use crate::backend::{Blob, Element};

/// Output rows that one task computes: enough to pay for handing the task to a thread.
const ROWS_PER_TASK: usize = 32;
/// Multiplications below which a product is not worth a second thread.
const PARALLEL_FROM: usize = 1 << 16;

/// A weight matrix, `[rows, cols]`.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Dense {
        element: Element,
        data: Blob,
    },
    /// Scales and biases are decoded at load: one of each stands for a whole group.
    Affine {
        bits: Bits,
        group_size: usize,
        packed: Blob,
        scales: Vec<f32>,
        biases: Vec<f32>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    Four,
    Eight,
}

impl Bits {
    fn bytes(self, elements: usize) -> usize {
        match self {
            Self::Four => elements / 2,
            Self::Eight => elements,
        }
    }
}

impl Matrix {
    /// Takes over a stored matrix whose shapes agree.
    ///
    /// # Errors
    /// If the quantisation has another width than 4 or 8 bits, or the lengths do not agree with
    /// the shape.
    pub(super) fn new(data: MatrixData) -> Result<Self, BackendError> {
        match data {
            MatrixData::Dense {
                rows,
                cols,
                element,
                data,
            } => {
                check_length("elements", data.bytes().len(), rows * cols * element.size())?;
                Ok(Self {
                    rows,
                    cols,
                    storage: Storage::Dense { element, data },
                })
            }
            MatrixData::Affine { rows, cols, affine } => {
                let bits = match affine.bits {
                    4 => Bits::Four,
                    8 => Bits::Eight,
                    other => {
                        return Err(BackendError(format!(
                            "{other}-bit quantisation is not supported; 4 and 8 bits are"
                        )));
                    }
                };
                let group = affine.group_size;
                if group == 0 || !group.is_multiple_of(2) || !cols.is_multiple_of(group) {
                    return Err(BackendError(format!(
                        "groups of {group} are not even numbers that divide rows of {cols}"
                    )));
                }
                let groups = rows * (cols / affine.group_size) * affine.element.size();
                check_length(
                    "elements",
                    affine.packed.bytes().len(),
                    bits.bytes(rows * cols),
                )?;
                check_length("scales", affine.scales.bytes().len(), groups)?;
                check_length("biases", affine.biases.bytes().len(), groups)?;
                Ok(Self {
                    rows,
                    cols,
                    storage: Storage::Affine {
                        bits,
                        group_size: affine.group_size,
                        packed: affine.packed,
                        scales: affine.element.decode(affine.scales.bytes()),
                        biases: affine.element.decode(affine.biases.bytes()),
                    },
                })
            }
        }
    }

    /// Outputs.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// Writes row `row` as f32; `row` must be less than `rows`.
    pub(super) fn row_into(&self, row: usize, out: &mut [f32]) {
        match &self.storage {
            Storage::Dense { element, data } => {
                let length = self.cols * element.size();
                element.decode_into(&data.bytes()[row * length..][..length], out);
            }
            Storage::Affine {
                bits,
                group_size,
                packed,
                scales,
                biases,
            } => {
                let length = bits.bytes(self.cols);
                let groups = self.cols / group_size;
                let packed = &packed.bytes()[row * length..][..length];
                let scales = &scales[row * groups..][..groups];
                let biases = &biases[row * groups..][..groups];
                let parameters = scales.iter().zip(biases);
                let groups = packed.chunks_exact(bits.bytes(*group_size));
                for ((out, packed), (scale, bias)) in out
                    .chunks_exact_mut(*group_size)
                    .zip(groups)
                    .zip(parameters)
                {
                    bits.unpack(packed, *scale, *bias, out);
                }
            }
        }
    }

    /// `x · selfᵀ` for `rows` activation rows; the result is `[rows, self.rows]`.
    pub(super) fn multiply(&self, x: &[f32], rows: usize) -> Vec<f32> {
        // Computed transposed, so that each weight row is unpacked once and each task writes to
        // its own part.
        let mut transposed = vec![0.0; self.rows * rows];
        let task = |(index, out): (usize, &mut [f32])| {
            let mut weights = vec![0.0; self.cols];
            for (offset, out) in out.chunks_exact_mut(rows).enumerate() {
                self.row_into(index * ROWS_PER_TASK + offset, &mut weights);
                for (value, x) in out.iter_mut().zip(x.chunks_exact(self.cols)) {
                    *value = dot(x, &weights);
                }
            }
        };
        if rows * self.rows * self.cols < PARALLEL_FROM {
            transposed
                .chunks_mut(ROWS_PER_TASK * rows)
                .enumerate()
                .for_each(task);
        } else {
            transposed
                .par_chunks_mut(ROWS_PER_TASK * rows)
                .enumerate()
                .for_each(task);
        }
        if rows == 1 {
            return transposed;
        }
        let mut out = vec![0.0; transposed.len()];
        for (row, out) in out.chunks_exact_mut(self.rows).enumerate() {
            for (value, column) in out.iter_mut().zip(transposed.chunks_exact(rows)) {
                *value = column[row];
            }
        }
        out
    }
}

impl Bits {
    /// Unpacks one group: `scale · q + bias`.
    fn unpack(self, packed: &[u8], scale: f32, bias: f32, out: &mut [f32]) {
        match self {
            Self::Four => {
                for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(packed) {
                    pair[0] = scale * f32::from(byte & 0xf) + bias;
                    pair[1] = scale * f32::from(byte >> 4) + bias;
                }
            }
            Self::Eight => {
                for (value, byte) in out.iter_mut().zip(packed) {
                    *value = scale * f32::from(*byte) + bias;
                }
            }
        }
    }
}

fn check_length(what: &str, found: usize, expected: usize) -> Result<(), BackendError> {
    if found == expected {
        Ok(())
    } else {
        Err(BackendError(format!(
            "the {what} take {found} bytes, but the shape needs {expected}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::backend::Affine;

    fn affine(bits: usize, rows: usize, cols: usize, group_size: usize) -> (MatrixData, Vec<f32>) {
        let groups = rows * cols / group_size;
        let scales: Vec<f32> = (0..groups).map(|g| 0.01 * (g as f32 - 3.0)).collect();
        let biases: Vec<f32> = (0..groups).map(|g| 0.5 - 0.1 * g as f32).collect();
        let packed: Vec<u8> = (0..rows * cols * bits / 8)
            .map(|i| (i * 37 % 256) as u8)
            .collect();
        let values = (0..rows * cols)
            .map(|i| {
                let q = match bits {
                    4 => (packed[i / 2] >> (4 * (i % 2))) & 0xf,
                    _ => packed[i],
                };
                scales[i / group_size] * f32::from(q) + biases[i / group_size]
            })
            .collect();
        let bytes = |values: &[f32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let data = MatrixData::Affine {
            rows,
            cols,
            affine: Affine {
                bits,
                group_size,
                packed: Blob::new(packed),
                scales: Blob::new(bytes(&scales)),
                biases: Blob::new(bytes(&biases)),
                element: Element::F32,
            },
        };
        (data, values)
    }

    #[rstest]
    #[case(4, 64)]
    #[case(4, 32)]
    #[case(8, 64)]
    fn rows_unpack_to_scale_times_q_plus_bias(#[case] bits: usize, #[case] group_size: usize) {
        let (data, values) = affine(bits, 3, 128, group_size);
        let matrix = Matrix::new(data).expect("valid");
        let mut row = vec![0.0; 128];
        for index in 0..3 {
            matrix.row_into(index, &mut row);
            assert_eq!(row, values[index * 128..][..128]);
        }
    }

    #[test]
    fn a_product_is_the_same_for_one_row_and_for_many() {
        let (data, _) = affine(4, 70, 128, 64);
        let matrix = Matrix::new(data).expect("valid");
        let x: Vec<f32> = (0..5 * 128).map(|i| (i as f32 * 0.37).sin()).collect();
        let together = matrix.multiply(&x, 5);
        for row in 0..5 {
            let alone = matrix.multiply(&x[row * 128..][..128], 1);
            assert_eq!(together[row * 70..][..70], alone[..]);
        }
    }

    #[test]
    fn lengths_that_disagree_with_the_shape_are_refused() {
        let data = MatrixData::Dense {
            rows: 2,
            cols: 3,
            element: Element::F16,
            data: Blob::new(vec![0u8; 10]),
        };
        let error = Matrix::new(data).expect_err("too short").to_string();
        assert_eq!(error, "the elements take 10 bytes, but the shape needs 12");
    }
}
