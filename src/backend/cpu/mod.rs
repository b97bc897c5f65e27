//! The CPU backend: deterministic everywhere, and exact unless asked to be fast.
//!
//! Every sum has a fixed order (see `kernels`), every operation is rounded as IEEE 754 says, and
//! transcendental functions are polynomials or come from the `libm` crate. So the same request
//! gives the same bits on every processor and instruction set, with any number of threads, any
//! chunking of the prompt and any company in a batch.

mod affine;
mod attention;
mod buffer;
mod interleaved;
mod kernels;
mod kv_cache;
mod matrix;
mod microscaling;
mod pointwise;
mod pool;
mod product;
mod quantized;
mod region;

use super::{
    Activation, AttentionShape, Backend, BackendError, MatrixData, Precision, Rope, Segment,
};
use crate::simd::Isa;
use buffer::Buffer;
use pool::Pool;
use region::Regions;

pub use kv_cache::KvCache;
pub use matrix::Matrix;
pub use pointwise::Rotation;

/// Activations, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Elements per row.
    width: usize,
    /// `rows · width` elements.
    data: Buffer,
}

impl Tensor {
    fn rows(&self) -> usize {
        self.data.len() / self.width.max(1)
    }
}

/// The CPU backend: its threads, the instruction set of its kernels, and their precision.
#[derive(Debug)]
pub struct Cpu {
    pool: Pool,
    isa: Isa,
    precision: Precision,
    /// For repacked weights.
    regions: Regions,
}

impl Cpu {
    /// A backend that computes exactly on `threads` threads, with the best instruction set there
    /// is.
    ///
    /// # Errors
    /// If the system refuses the threads.
    pub fn new(threads: usize) -> Result<Self, BackendError> {
        Self::with(threads, Isa::best(), Precision::Exact)
    }

    /// A backend that computes on `threads` threads, with kernels for `isa`.
    ///
    /// # Errors
    /// If the system refuses the threads.
    pub fn with(threads: usize, isa: Isa, precision: Precision) -> Result<Self, BackendError> {
        Ok(Self {
            pool: Pool::new(threads)?,
            isa,
            precision,
            regions: Regions::default(),
        })
    }
}

impl Backend for Cpu {
    type Tensor = Tensor;
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type KvCache = KvCache;
    type Rotation = Rotation;

    fn matrix(&self, data: MatrixData) -> Result<Matrix, BackendError> {
        Matrix::new(data, (&self.pool, &self.regions))
    }

    fn vector(&self, data: Vec<f32>) -> Result<Vec<f32>, BackendError> {
        Ok(data)
    }

    fn kv_cache(&self, layers: usize) -> Result<KvCache, BackendError> {
        Ok(KvCache::new(layers, self.precision))
    }

    fn kv_bytes(&self, head_dim: usize) -> usize {
        kv_cache::bytes_per_head(head_dim, self.precision)
    }

    fn fork(&self, cache: &KvCache, positions: usize) -> Result<KvCache, BackendError> {
        cache.fork(positions)
    }

    fn embed(&self, table: &Matrix, tokens: &[u32]) -> Result<Tensor, BackendError> {
        let width = table.cols();
        let mut data = Buffer::unwritten(tokens.len() * width);
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
        let [product] = self.linears(x, [(w, bias)])?;
        Ok(product)
    }

    fn linears<const N: usize>(
        &self,
        x: &Tensor,
        maps: [(&Matrix, Option<&Vec<f32>>); N],
    ) -> Result<[Tensor; N], BackendError> {
        let input = product::Input {
            x: &x.data,
            width: x.width,
            precision: self.precision,
            isa: self.isa,
            pool: &self.pool,
        };
        let factors = maps.map(|(matrix, bias)| (matrix, bias.map(Vec::as_slice)));
        let mut widths = maps.map(|(matrix, _)| matrix.rows()).into_iter();
        Ok(product::multiply(input, factors).map(|data| Tensor {
            width: widths.next().unwrap_or_default(),
            data,
        }))
    }

    fn rms_norm(&self, x: &Tensor, weight: &Vec<f32>, eps: f32) -> Result<Tensor, BackendError> {
        Ok(pointwise::rms_norm(x, weight, eps, self.isa))
    }

    fn rotation(&self, rope: &Rope, positions: &[usize]) -> Result<Rotation, BackendError> {
        Ok(Rotation::new(rope, positions))
    }

    fn rotate(&self, x: Tensor, rotation: &Rotation) -> Result<Tensor, BackendError> {
        Ok(pointwise::rotate(x, rotation, self.isa))
    }

    fn attention(
        &self,
        qkv: [Tensor; 3],
        segments: &mut [Segment<'_, KvCache>],
        layer: usize,
        shape: &AttentionShape,
    ) -> Result<Tensor, BackendError> {
        attention::attend(qkv, segments, layer, shape, (self.isa, &self.pool))
    }

    fn gated(
        &self,
        gate: Tensor,
        up: &Tensor,
        activation: Activation,
    ) -> Result<Tensor, BackendError> {
        Ok(pointwise::gated(
            gate,
            up,
            activation,
            (self.isa, &self.pool),
        ))
    }

    fn add(&self, mut a: Tensor, b: &Tensor) -> Result<Tensor, BackendError> {
        for (x, y) in a.data.iter_mut().zip(&*b.data) {
            *x += y;
        }
        Ok(a)
    }

    fn scale(&self, mut x: Tensor, factor: f32) -> Result<Tensor, BackendError> {
        for value in x.data.iter_mut() {
            *value *= factor;
        }
        Ok(x)
    }

    fn softcap(&self, mut x: Tensor, cap: f32) -> Result<Tensor, BackendError> {
        for value in x.data.iter_mut() {
            *value = pointwise::softcap(*value, cap);
        }
        Ok(x)
    }

    fn select(&self, x: Tensor, rows: &[usize]) -> Result<Tensor, BackendError> {
        let mut data = Buffer::unwritten(rows.len() * x.width);
        for (row, out) in rows.iter().zip(data.chunks_exact_mut(x.width.max(1))) {
            let start = row * x.width;
            let values = x.data.get(start..start + x.width);
            let count = x.rows();
            let missing = || BackendError(format!("row {row} of a tensor of {count} rows"));
            out.copy_from_slice(values.ok_or_else(missing)?);
        }
        Ok(Tensor {
            width: x.width,
            data,
        })
    }

    fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.pool.for_each(tasks, task);
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn reuse(&self, elements: Vec<f32>) {
        Buffer::returned(elements);
    }

    fn to_host(&self, x: Tensor) -> Result<Vec<f32>, BackendError> {
        Ok(x.data.into_vec())
    }
}
