//! The reference backend: f32 activations, plain loops, exact and deterministic everywhere.
//!
//! Every sum has a fixed order (see `dot`) and transcendental functions come from the `libm`
//! crate, so the same request gives the same bits on every processor, with any number of threads
//! and any chunking of the prompt. Speed is not its purpose.

mod affine;
mod attention;
mod kv_cache;
mod matrix;
mod microscaling;
mod pointwise;

use super::{Activation, AttentionShape, Backend, BackendError, MatrixData, Rope, Segment};

pub use kv_cache::KvCache;
pub use matrix::Matrix;

/// Activations, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Elements per row.
    width: usize,
    /// `rows · width` elements.
    data: Vec<f32>,
}

impl Tensor {
    fn rows(&self) -> usize {
        self.data.len() / self.width.max(1)
    }
}

/// The plain CPU backend and its threads.
#[derive(Debug)]
pub struct Cpu {
    pool: rayon::ThreadPool,
}

impl Cpu {
    /// A backend that computes on `threads` threads.
    ///
    /// # Errors
    /// If the system refuses the threads.
    pub fn new(threads: usize) -> Result<Self, BackendError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("cpu-{index}"))
            .build()
            .map_err(|error| BackendError(format!("cannot start {threads} threads: {error}")))?;
        Ok(Self { pool })
    }
}

/// The inner product, summed in sixteen lanes that are then added pairwise. The order is part of
/// the backend's contract: it is what makes results bit-identical across machines, and it lets
/// the compiler use whatever vectors a machine has.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for (lane, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += x * y;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

impl Backend for Cpu {
    type Tensor = Tensor;
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type KvCache = KvCache;

    fn matrix(&self, data: MatrixData) -> Result<Matrix, BackendError> {
        Matrix::new(data)
    }

    fn vector(&self, data: Vec<f32>) -> Result<Vec<f32>, BackendError> {
        Ok(data)
    }

    fn kv_cache(&self, layers: usize) -> Result<KvCache, BackendError> {
        Ok(KvCache::new(layers))
    }

    fn fork(&self, cache: &KvCache, positions: usize) -> Result<KvCache, BackendError> {
        cache.fork(positions)
    }

    fn embed(&self, table: &Matrix, tokens: &[u32]) -> Result<Tensor, BackendError> {
        let width = table.cols();
        let mut data = vec![0.0; tokens.len() * width];
        for (row, token) in data.chunks_exact_mut(width).zip(tokens) {
            let index = *token as usize;
            if index >= table.rows() {
                return Err(BackendError(format!(
                    "token id {token} is outside the vocabulary of {} tokens",
                    table.rows()
                )));
            }
            table.row_into(index, row);
        }
        Ok(Tensor { width, data })
    }

    fn linear(
        &self,
        x: &Tensor,
        w: &Matrix,
        bias: Option<&Vec<f32>>,
    ) -> Result<Tensor, BackendError> {
        let mut data = self.pool.install(|| w.multiply(&x.data, x.rows()));
        if let Some(bias) = bias {
            for row in data.chunks_exact_mut(bias.len()) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        }
        Ok(Tensor {
            width: w.rows(),
            data,
        })
    }

    fn rms_norm(&self, x: &Tensor, weight: &Vec<f32>, eps: f32) -> Result<Tensor, BackendError> {
        Ok(pointwise::rms_norm(x, weight, eps))
    }

    fn rope(&self, x: Tensor, rope: &Rope, positions: &[usize]) -> Result<Tensor, BackendError> {
        Ok(pointwise::rope(x, rope, positions))
    }

    fn attention(
        &self,
        qkv: [Tensor; 3],
        segments: &mut [Segment<'_, KvCache>],
        layer: usize,
        shape: &AttentionShape,
    ) -> Result<Tensor, BackendError> {
        self.pool
            .install(|| attention::attend(qkv, segments, layer, shape))
    }

    fn gated(
        &self,
        gate: Tensor,
        up: &Tensor,
        activation: Activation,
    ) -> Result<Tensor, BackendError> {
        Ok(pointwise::gated(gate, up, activation))
    }

    fn add(&self, mut a: Tensor, b: &Tensor) -> Result<Tensor, BackendError> {
        for (x, y) in a.data.iter_mut().zip(&b.data) {
            *x += y;
        }
        Ok(a)
    }

    fn scale(&self, mut x: Tensor, factor: f32) -> Result<Tensor, BackendError> {
        for value in &mut x.data {
            *value *= factor;
        }
        Ok(x)
    }

    fn softcap(&self, mut x: Tensor, cap: f32) -> Result<Tensor, BackendError> {
        for value in &mut x.data {
            *value = pointwise::softcap(*value, cap);
        }
        Ok(x)
    }

    fn select(&self, x: Tensor, rows: &[usize]) -> Result<Tensor, BackendError> {
        let mut data = Vec::with_capacity(rows.len() * x.width);
        for row in rows {
            let start = row * x.width;
            let values = x.data.get(start..start + x.width);
            let count = x.rows();
            let missing = || BackendError(format!("row {row} of a tensor of {count} rows"));
            data.extend_from_slice(values.ok_or_else(missing)?);
        }
        Ok(Tensor {
            width: x.width,
            data,
        })
    }

    fn to_host(&self, x: Tensor) -> Result<Vec<f32>, BackendError> {
        Ok(x.data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dot_agrees_with_a_sum_in_double_precision(
            pairs in prop::collection::vec((-4.0f32..4.0, -4.0f32..4.0), 0..200),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let exact: f64 = pairs.iter().map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let size: f64 = pairs.iter().map(|(x, y)| f64::from(x * y).abs()).sum();
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() <= 1e-6 * size + 1e-12);
        }
    }
}
