//! Weight matrices in their stored form.
//!
//! Rows are unpacked when they are needed, and repacking changes no size, so a model takes no more
//! memory than its file. Their products with activations are computed in `product`.

use super::affine::Affine;
use super::interleaved::Interleaved;
use super::microscaling::Microscaled;
use super::pool::Pool;
use super::region::Regions;
use super::{BackendError, MatrixData};
use crate::backend::{Blob, Element};

/// A weight matrix, `[rows, cols]`.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    storage: Storage,
}

/// How the elements lie in memory.
#[derive(Debug)]
pub(super) enum Storage {
    Dense {
        element: Element,
        data: Blob,
    },
    /// Of two, three, five or six bits.
    Affine(Affine),
    /// Of four or eight bits, repacked for integer products.
    Interleaved(Interleaved),
    Microscaled(Microscaled),
}

impl Matrix {
    /// Takes over a stored matrix whose shapes agree: repacked, if there are integer products for
    /// its storage.
    ///
    /// # Errors
    /// If the quantisation is not one of MLX's, the lengths do not agree with the shape, or the
    /// system has no memory.
    pub(super) fn new(data: MatrixData, memory: (&Pool, &Regions)) -> Result<Self, BackendError> {
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
                let checked = Affine::new(rows, cols, &affine)?;
                let storage = match Interleaved::new(rows, cols, &affine, memory)? {
                    Some(interleaved) => Storage::Interleaved(interleaved),
                    None => Storage::Affine(checked),
                };
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
            Storage::Interleaved(interleaved) => interleaved.row_into(row, out),
            Storage::Microscaled(microscaled) => microscaled.row_into(row, out),
        }
    }

    /// The elements for integer products.
    pub(super) fn interleaved(&self) -> Option<&Interleaved> {
        match &self.storage {
            Storage::Interleaved(interleaved) => Some(interleaved),
            _ => None,
        }
    }

    /// The elements.
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
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
    fn lengths_that_disagree_with_the_shape_are_refused() {
        let data = MatrixData::Dense {
            rows: 2,
            cols: 3,
            element: Element::F16,
            data: Blob::new(vec![0u8; 10]),
        };
        let (pool, regions) = (Pool::new(1).expect("no threads"), Regions::default());
        let error = Matrix::new(data, (&pool, &regions)).expect_err("too short");
        let error = error.to_string();
        assert_eq!(error, "the elements take 10 bytes, but the shape needs 12");
    }
}
