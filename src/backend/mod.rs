//! The operations a transformer decoder needs, and who can perform them.
//!
//! [`Backend`] is the seam between model code and arithmetic: an architecture is written once
//! over it. [`cpu`] is the exact one that every machine has. A backend knows tensors and KV
//! caches; it does not know checkpoints, files, tokens' meaning or sampling.

pub mod cpu;
mod kind;
#[cfg(feature = "mlx")]
pub mod mlx;
mod precision;
mod shape;
mod storage;

use thiserror::Error;

pub use kind::BackendKind;
pub use precision::Precision;
pub use shape::{Activation, AttentionShape, Rope, RopeLayout};
pub use storage::{Affine, Blob, Bytes, Element, MatrixData, Microformat, Microscaled};

/// An operation that a backend could not perform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// The rows of one sequence in a batch: they follow each other, and extend its cache.
#[derive(Debug)]
pub struct Segment<'a, C> {
    /// The sequence's keys and values so far.
    pub cache: &'a mut C,
    /// How many rows of the batch are its own, at least one.
    pub rows: usize,
}

/// What decoder models are written over.
///
/// Activations are `[rows, width]` tensors of f32, one row per token; the rows of a batch may
/// belong to several sequences. Each output row depends only on its own input row (and, for
/// attention, on the cache of its own sequence), with a fixed order of summation: results do not
/// depend on how a prompt is cut into calls, on what else is in the batch, nor on thread counts.
///
/// A backend and everything it makes stay on the thread that made them, so nothing here has to
/// be `Send`.
pub trait Backend: 'static {
    /// Activations, `[rows, width]`.
    type Tensor;
    /// Weights of a linear layer or an embedding, `[outputs, inputs]`, possibly quantised.
    type Matrix;
    /// Weights of a norm or a bias.
    type Vector;
    /// Keys and values of one sequence, all layers.
    type KvCache;
    /// The turns of some rows: a forward pass forms them once for all its layers.
    type Rotation;

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

    /// An empty cache for one sequence of a model with `layers` layers.
    ///
    /// # Errors
    /// If the device has no room.
    fn kv_cache(&self, layers: usize) -> Result<Self::KvCache, BackendError>;

    /// Bytes of the key and the value of one head at one position: f32, unless the backend keeps
    /// less.
    fn kv_bytes(&self, head_dim: usize) -> usize {
        2 * size_of::<f32>() * head_dim
    }

    /// A cache that begins with the first `positions` positions of another one. They are shared
    /// where the backend can; from there on the two grow apart, and neither sees the other.
    ///
    /// # Errors
    /// If the cache is shorter than that, or the device has no room.
    fn fork(&self, cache: &Self::KvCache, positions: usize) -> Result<Self::KvCache, BackendError>;

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

    /// [`linear`](Self::linear) with several matrices: the same results, and less waiting where a
    /// backend can do them together.
    ///
    /// # Errors
    /// If an operation fails on the device.
    fn linears<const N: usize>(
        &self,
        x: &Self::Tensor,
        maps: [(&Self::Matrix, Option<&Self::Vector>); N],
    ) -> Result<[Self::Tensor; N], BackendError> {
        let mut products = Vec::with_capacity(N);
        for (w, bias) in maps {
            products.push(self.linear(x, w, bias)?);
        }
        let count = products.len();
        products
            .try_into()
            .map_err(|_| BackendError(format!("{count} products of {N}")))
    }

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

    /// The turns of rows at these positions.
    ///
    /// # Errors
    /// If the device has no room.
    fn rotation(&self, rope: &Rope, positions: &[usize]) -> Result<Self::Rotation, BackendError>;

    /// Rotates every head of every row; `rotation` was made for as many rows.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn rotate(
        &self,
        x: Self::Tensor,
        rotation: &Self::Rotation,
    ) -> Result<Self::Tensor, BackendError>;

    /// Appends the rows of `k` and `v` to layer `layer` of their sequences' caches and attends
    /// causally: each row sees its own sequence's cache and the new rows up to itself. The
    /// segments' rows add up to those of the tensors.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn attention(
        &self,
        qkv: [Self::Tensor; 3],
        segments: &mut [Segment<'_, Self::KvCache>],
        layer: usize,
        shape: &AttentionShape,
    ) -> Result<Self::Tensor, BackendError>;

    /// `activation(gate) · up`, element by element (Shazeer 2020).
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn gated(
        &self,
        gate: Self::Tensor,
        up: &Self::Tensor,
        activation: Activation,
    ) -> Result<Self::Tensor, BackendError>;

    /// `a + b`, element by element.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn add(&self, a: Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor, BackendError>;

    /// `x · factor`, element by element.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn scale(&self, x: Self::Tensor, factor: f32) -> Result<Self::Tensor, BackendError>;

    /// `cap · tanh(x / cap)`, element by element (Bello et al. 2016).
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn softcap(&self, x: Self::Tensor, cap: f32) -> Result<Self::Tensor, BackendError>;

    /// The rows with these indices, in this order.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn select(&self, x: Self::Tensor, rows: &[usize]) -> Result<Self::Tensor, BackendError>;

    /// Calls `task` with every index below `tasks`, in no particular order, on the threads that
    /// the backend computes with, if it has any.
    fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        (0..tasks).for_each(task);
    }

    /// How many threads [`for_each`](Self::for_each) has.
    fn threads(&self) -> usize {
        1
    }

    /// Takes the memory of what [`to_host`](Self::to_host) gave, for tensors to come.
    fn reuse(&self, elements: Vec<f32>) {
        drop(elements);
    }

    /// Brings a tensor to the host, row by row.
    ///
    /// # Errors
    /// If the operation fails on the device.
    fn to_host(&self, x: Self::Tensor) -> Result<Vec<f32>, BackendError>;
}
