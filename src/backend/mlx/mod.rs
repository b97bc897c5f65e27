//! The backend on Apple's MLX, through `mlx-rs`: Metal on macOS, one CPU core on Linux.
//!
//! Knows how the operations of a decoder are said in MLX. Weights stay as they are stored and
//! activations are f32, as on the other backend, so the two agree to rounding. MLX chooses its
//! kernels by shape: unlike the cpu backend, this one may round differently when a prompt is cut
//! differently or a batch has other members.

mod attention;
mod convert;
mod kv_cache;
mod matrix;
mod microscaled;
mod pointwise;
mod rotation;

use mlx_rs::error::Exception;
use mlx_rs::{Array, Device, DeviceType};

use self::convert::{index, shape};
use super::{Activation, AttentionShape, Backend, BackendError, MatrixData, Rope, Segment};

pub use kv_cache::KvCache;
pub use matrix::Matrix;

/// Activations, `[rows, width]`.
#[derive(Debug)]
pub struct Tensor(Array);

/// A norm's or a bias's elements, f32.
#[derive(Debug)]
pub struct Vector(Array);

/// MLX on its default device. It computes on the thread that made it, and what it makes stays
/// there.
pub struct Mlx {
    gates: pointwise::Gates,
}

impl std::fmt::Debug for Mlx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mlx")
    }
}

impl From<Exception> for BackendError {
    fn from(error: Exception) -> Self {
        Self(format!("MLX: {}", error.what()))
    }
}

impl Mlx {
    /// A backend on MLX's default device.
    ///
    /// # Errors
    /// If MLX has none.
    pub fn new() -> Result<Self, BackendError> {
        Device::try_default()?;
        Ok(Self {
            gates: pointwise::Gates::new(),
        })
    }

    /// The device, for people: `Metal` or `CPU`.
    ///
    /// # Errors
    /// If MLX has none.
    pub fn device() -> Result<&'static str, BackendError> {
        Ok(match Device::try_default()?.get_type()? {
            DeviceType::Cpu => "CPU",
            DeviceType::Gpu if cfg!(target_os = "macos") => "Metal",
            DeviceType::Gpu => "GPU",
        })
    }
}

impl Backend for Mlx {
    type Tensor = Tensor;
    type Matrix = Matrix;
    type Vector = Vector;
    type KvCache = KvCache;
    type Rotation = rotation::Turns;

    fn matrix(&self, data: MatrixData) -> Result<Matrix, BackendError> {
        Matrix::new(&data)
    }

    fn vector(&self, data: Vec<f32>) -> Result<Vector, BackendError> {
        let shape = shape([data.len()])?;
        Ok(Vector(Array::from_slice(&data, &shape)))
    }

    fn kv_cache(&self, layers: usize) -> Result<KvCache, BackendError> {
        Ok(KvCache::new(layers))
    }

    fn fork(&self, cache: &KvCache, positions: usize) -> Result<KvCache, BackendError> {
        cache.fork(positions)
    }

    fn embed(&self, table: &Matrix, tokens: &[u32]) -> Result<Tensor, BackendError> {
        table.rows_of(tokens).map(Tensor)
    }

    fn linear(
        &self,
        x: &Tensor,
        w: &Matrix,
        bias: Option<&Vector>,
    ) -> Result<Tensor, BackendError> {
        let product = w.product(&x.0)?;
        Ok(Tensor(match bias {
            Some(Vector(bias)) => product.add(bias)?,
            None => product,
        }))
    }

    fn rms_norm(&self, x: &Tensor, weight: &Vector, eps: f32) -> Result<Tensor, BackendError> {
        let groups = x.0.reshape(&[-1, index(weight.0.size())?])?;
        let normed = mlx_rs::fast::rms_norm(&groups, Some(&weight.0), eps)?;
        Ok(Tensor(normed.reshape(x.0.shape())?))
    }

    fn rotation(&self, rope: &Rope, positions: &[usize]) -> Result<rotation::Turns, BackendError> {
        rotation::Turns::new(rope, positions)
    }

    fn rotate(&self, x: Tensor, rotation: &rotation::Turns) -> Result<Tensor, BackendError> {
        rotation.rotate(&x.0).map(Tensor)
    }

    fn attention(
        &self,
        [q, k, v]: [Tensor; 3],
        segments: &mut [Segment<'_, KvCache>],
        layer: usize,
        shape: &AttentionShape,
    ) -> Result<Tensor, BackendError> {
        attention::attend([&q.0, &k.0, &v.0], segments, layer, shape).map(Tensor)
    }

    fn gated(
        &self,
        gate: Tensor,
        up: &Tensor,
        activation: Activation,
    ) -> Result<Tensor, BackendError> {
        Ok(Tensor(self.gates.apply(&gate.0, &up.0, activation)?))
    }

    fn add(&self, a: Tensor, b: &Tensor) -> Result<Tensor, BackendError> {
        Ok(Tensor(a.0.add(&b.0)?))
    }

    fn scale(&self, x: Tensor, factor: f32) -> Result<Tensor, BackendError> {
        Ok(Tensor(x.0.multiply(Array::from_f32(factor))?))
    }

    fn softcap(&self, x: Tensor, cap: f32) -> Result<Tensor, BackendError> {
        Ok(Tensor(pointwise::softcap(&x.0, cap)?))
    }

    fn select(&self, x: Tensor, rows: &[usize]) -> Result<Tensor, BackendError> {
        // MLX would read whatever lies behind the last row.
        let given = x.0.dim(0);
        let inside = |row: &usize| index(*row).ok().filter(|row| *row < given);
        let Some(indices) = rows.iter().map(inside).collect::<Option<Vec<_>>>() else {
            return Err(BackendError(format!("rows {rows:?} of {given}")));
        };
        let indices = Array::from_slice(&indices, &shape([rows.len()])?);
        Ok(Tensor(x.0.take_axis(&indices, 0)?))
    }

    fn to_host(&self, x: Tensor) -> Result<Vec<f32>, BackendError> {
        if x.0.size() == 0 {
            return Ok(Vec::new());
        }
        let values = x.0.contiguous()?.to_vec_exact();
        values.map_err(|error| BackendError(format!("MLX: {error}")))
    }
}
