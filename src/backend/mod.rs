//! The operations a transformer decoder needs, and who can perform them.
//!
//! [`Backend`] is the seam between model code and arithmetic: an architecture is written once
//! over it. [`cpu`] is the plain, exact reference. A backend knows tensors; it does not know
//! checkpoints, files, tokens' meaning or sampling.

pub mod cpu;
mod storage;

use thiserror::Error;

pub use storage::{Affine, Blob, Element, MatrixData};

/// An operation that a backend could not perform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// Rotary position embedding, half-split ("non-traditional") layout: element `i` of the first
/// half of a head is rotated with element `i` of the second half (Su et al. 2021; layout of
/// mlx-lm 0.32.2, `models/rope_utils.py`, `traditional=False`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// Elements per head, even.
    pub head_dim: usize,
    /// Base of the wavelengths.
    pub theta: f32,
}

/// The shape of grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements per head.
    pub head_dim: usize,
    /// Factor on the scores, usually `head_dim^-0.5`.
    pub scale: f32,
}

/// What decoder models are written over.
///
/// Activations are `[rows, width]` tensors of f32, one row per token of one sequence. Each output
/// row depends only on its own input row (and on the cache for attention), with a fixed order of
/// summation: results do not depend on how a prompt is cut into calls, nor on thread counts.
pub trait Backend: Send + Sync + 'static {
    /// Activations, `[rows, width]`.
    type Tensor;
    /// Weights of a linear layer or an embedding, `[outputs, inputs]`, possibly quantised.
    type Matrix: Send + Sync;
    /// Weights of a norm or a bias.
    type Vector: Send + Sync;
    /// Keys and values of one sequence, all layers.
    type KvCache: Send;

    /// Runs a computation where the backend's operations are cheapest to start, such as on one
    /// of its own threads.
    fn run<R: Send>(&self, computation: impl FnOnce() -> R + Send) -> R;

    /// Takes over a matrix in its stored form.
    ///
    /// # Errors
    /// If the backend does not support the storage.
    fn matrix(&self, data: MatrixData) -> Result<Self::Matrix, BackendError>;

    /// Takes over a vector.
    ///
    /// # Errors
    /// If the device has no room.
    fn vector(&self, data: Vec<f32>) -> Result<Self::Vector, BackendError>;

    /// An empty cache for one sequence.
    ///
    /// # Errors
    /// If the device has no room.
    fn kv_cache(&self, layers: usize) -> Result<Self::KvCache, BackendError>;

    /// Rows of `table`, one per token id.
    ///
    /// # Errors
    /// If an id is not a row of the table.
    fn embed(&self, table: &Self::Matrix, tokens: &[u32]) -> Result<Self::Tensor, BackendError>;

    /// `x · wᵀ + bias`.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn linear(
        &self,
        x: &Self::Tensor,
        w: &Self::Matrix,
        bias: Option<&Self::Vector>,
    ) -> Result<Self::Tensor, BackendError>;

    /// `x / sqrt(mean(x²) + eps) · weight` over consecutive groups of as many elements as
    /// `weight` has: over whole rows for a layer norm, over heads for a query or key norm
    /// (Zhang and Sennrich 2019).
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn rms_norm(
        &self,
        x: &Self::Tensor,
        weight: &Self::Vector,
        eps: f32,
    ) -> Result<Self::Tensor, BackendError>;

    /// Rotates every head of every row; row `r` is at position `first_position + r`.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn rope(
        &self,
        x: Self::Tensor,
        rope: &Rope,
        first_position: usize,
    ) -> Result<Self::Tensor, BackendError>;

    /// Appends `k` and `v` to layer `layer` of the cache and attends causally: each row sees the
    /// cache and the new rows up to itself.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn attention(
        &self,
        qkv: [Self::Tensor; 3],
        cache: &mut Self::KvCache,
        layer: usize,
        shape: &AttentionShape,
    ) -> Result<Self::Tensor, BackendError>;

    /// `silu(gate) · up`, element by element (Shazeer 2020).
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn swiglu(&self, gate: Self::Tensor, up: &Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// `a + b`, element by element.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn add(&self, a: Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// The last row alone.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn last_row(&self, x: Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// Brings a tensor to the host, row by row.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn to_host(&self, x: Self::Tensor) -> Result<Vec<f32>, BackendError>;
}
