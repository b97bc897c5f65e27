//! Weights as MLX arrays, in their stored form, and the two things that are done with them.

use mlx_rs::Array;
use mlx_rs::ops::{dequantize, quantized_matmul};

use super::convert::{elements, index, shape, words};
use super::microscaled::Packed;
use crate::backend::{BackendError, MatrixData};

/// Weights of a linear layer or an embedding, `[outputs, inputs]`.
#[derive(Debug)]
pub struct Matrix {
    outputs: usize,
    weight: Weight,
}

#[derive(Debug)]
enum Weight {
    /// In the stored type; MLX widens it to f32 in each product.
    Dense(Array),
    Affine(Affine),
    Microscaled(Packed),
}

/// MLX's affine quantisation. Scales and biases are widened once: MLX would do it in each product.
#[derive(Debug)]
struct Affine {
    packed: Array,
    scales: Array,
    biases: Array,
    group_size: i32,
    bits: i32,
}

impl Matrix {
    pub(super) fn new(data: &MatrixData) -> Result<Self, BackendError> {
        match data {
            MatrixData::Dense {
                rows,
                cols,
                element,
                data,
            } => Ok(Self {
                outputs: *rows,
                weight: Weight::Dense(elements(*element, data, [*rows, *cols])?),
            }),
            MatrixData::Affine { rows, cols, affine } => {
                let groups = [*rows, cols / affine.group_size];
                let wide = |data| -> Result<Array, BackendError> {
                    Ok(elements(affine.element, data, groups)?.as_type::<f32>()?)
                };
                Ok(Self {
                    outputs: *rows,
                    weight: Weight::Affine(Affine {
                        packed: words(&affine.packed, [*rows, cols * affine.bits / 32])?,
                        scales: wide(&affine.scales)?,
                        biases: wide(&affine.biases)?,
                        group_size: index(affine.group_size)?,
                        bits: index(affine.bits)?,
                    }),
                })
            }
            MatrixData::Microscaled {
                rows,
                cols,
                microscaled,
            } => Ok(Self {
                outputs: *rows,
                weight: Weight::Microscaled(Packed::new(microscaled, [*rows, *cols])?),
            }),
        }
    }

    /// `x · wᵀ`, f32.
    pub(super) fn product(&self, x: &Array) -> Result<Array, BackendError> {
        Ok(match &self.weight {
            Weight::Dense(weight) => x.matmul(weight.transpose()?)?,
            Weight::Affine(w) => quantized_matmul(
                x,
                &w.packed,
                &w.scales,
                &w.biases,
                true,
                w.group_size,
                w.bits,
            )?,
            Weight::Microscaled(w) => w.product(x)?,
        })
    }

    /// The rows with these indices, f32.
    pub(super) fn rows_of(&self, tokens: &[u32]) -> Result<Array, BackendError> {
        // MLX would read whatever lies behind the table.
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.outputs) {
            let rows = self.outputs;
            return Err(BackendError(format!(
                "token {id} of a table of {rows} rows"
            )));
        }
        let rows = Array::from_slice(tokens, &shape([tokens.len()])?);
        Ok(match &self.weight {
            Weight::Dense(weight) => weight.take_axis(&rows, 0)?.as_type::<f32>()?,
            Weight::Affine(w) => dequantize(
                w.packed.take_axis(&rows, 0)?,
                w.scales.take_axis(&rows, 0)?,
                &w.biases.take_axis(&rows, 0)?,
                w.group_size,
                w.bits,
            )?,
            Weight::Microscaled(w) => w.rows_of(&rows)?,
        })
    }
}
