//! Rotary position embedding with explicit frequencies.
//!
//! MLX's own `fast::rope` takes wavelengths and inverts them, select loses the last bit of each
//! frequency, and a bit of a frequency is many bits of an angle at a far position. So the turns
//! are formed here, by the same functions as on the cpu backend, and MLX multiplies.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{Ellipsis, TryIndexOp};
use mlx_rs::ops::{concatenate, stack};

use super::convert::{index, shape};
use crate::backend::{BackendError, Rope, RopeLayout};

/// Sines and cosines of some positions.
#[derive(Debug)]
pub struct Turns {
    rope: Rope,
    /// `[rows, 1, pairs]`.
    sin: Array,
    cos: Array,
}

impl Turns {
    pub(super) fn new(rope: &Rope, positions: &[usize]) -> Result<Self, BackendError> {
        let angles = positions.iter().flat_map(|position| {
            let position = *position as f32 * rope.position_scale;
            rope.frequencies.iter().map(move |turn| position * turn)
        });
        let shape = shape([positions.len(), 1, rope.frequencies.len()])?;
        Ok(Self {
            rope: rope.clone(),
            sin: Array::from_iter(angles.clone().map(libm::sinf), &shape),
            cos: Array::from_iter(angles.map(libm::cosf), &shape),
        })
    }

    /// Rotates every head of `x`, `[rows, heads · head_dim]`.
    pub(super) fn rotate(&self, x: &Array) -> Result<Array, BackendError> {
        let rope = &self.rope;
        let pairs = index(rope.frequencies.len())?;
        let heads = x.reshape(&[x.dim(0), -1, index(rope.head_dim)?])?;
        let mut turning = heads.try_index((Ellipsis, ..2 * pairs))?;
        if rope.amplitude != 1.0 {
            turning = turning.multiply(Array::from_f32(rope.amplitude))?;
        }
        let turned = match rope.layout {
            RopeLayout::HalfSplit => {
                let first = turning.try_index((Ellipsis, ..pairs))?;
                let second = turning.try_index((Ellipsis, pairs..))?;
                concatenate(&self.turn(&first, &second)?, -1)?
            }
            RopeLayout::Interleaved => {
                let shape = [x.dim(0), turning.dim(1), pairs, 2];
                let turning = turning.reshape(&shape)?;
                let first = turning.try_index((Ellipsis, 0))?;
                let second = turning.try_index((Ellipsis, 1))?;
                let turned = stack(&self.turn(&first, &second)?, -1)?;
                turned.reshape(&[x.dim(0), shape[1], 2 * pairs])?
            }
        };
        let rest = heads.try_index((Ellipsis, 2 * pairs..))?;
        let all = match rest.size() {
            0 => turned,
            _ => concatenate(&[turned, rest], -1)?,
        };
        Ok(all.reshape(x.shape())?)
    }

    fn turn(&self, a: &Array, b: &Array) -> Result<[Array; 2], Exception> {
        let Self { sin, cos, .. } = self;
        Ok([
            a.multiply(cos)?.subtract(b.multiply(sin)?)?,
            a.multiply(sin)?.add(b.multiply(cos)?)?,
        ])
    }
}
