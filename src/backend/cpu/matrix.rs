//! Weight matrices in their stored form, and their products with activations.
//!
//! A row is unpacked to f32 when it is needed, so a model takes no more memory than its file.

use rayon::prelude::*;

use super::affine::Affine;
use super::microscaling::Microscaled;
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
    Dense { element: Element, data: Blob },
    Affine(Affine),
    Microscaled(Microscaled),
}

impl Matrix {
    /// Takes over a stored matrix whose shapes agree.
    ///
    /// # Errors
    /// If the quantisation is not one of MLX's, or the lengths do not agree with the shape.
    pub(super) fn new(data: MatrixData) -> Result<Self, BackendError> {
        let (rows, cols, storage) = match data {
            MatrixData::Dense {
                rows,
                cols,
                element,
                data,
            } => {
                check_length("elements", data.bytes().len(), rows * cols * element.size())?;
                (rows, cols, Storage::Dense { element, data })
            }
            MatrixData::Affine { rows, cols, affine } => {
                let storage = Storage::Affine(Affine::new(rows, cols, &affine)?);
                (rows, cols, storage)
            }
            MatrixData::Microscaled {
                rows,
                cols,
                microscaled,
            } => {
                let storage = Storage::Microscaled(Microscaled::new(rows, cols, &microscaled)?);
                (rows, cols, storage)
            }
        };
        Ok(Self {
            rows,
            cols,
            storage,
        })
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
            Storage::Affine(affine) => affine.row_into(row, out),
            Storage::Microscaled(microscaled) => microscaled.row_into(row, out),
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

/// Whether a part of a matrix has the length that its shape needs.
pub(super) fn check_length(what: &str, found: usize, expected: usize) -> Result<(), BackendError> {
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
    use super::*;

    #[test]
    fn a_product_is_the_same_for_one_row_and_for_many() {
        let elements: Vec<u8> = (0..70 * 128)
            .flat_map(|i| (i as f32 * 0.11).cos().to_le_bytes())
            .collect();
        let data = MatrixData::Dense {
            rows: 70,
            cols: 128,
            element: Element::F32,
            data: Blob::new(elements),
        };
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
