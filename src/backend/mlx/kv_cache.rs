//! Keys and values of one sequence, in arrays with room to grow.
//!
//! Knows positions and layers. Does not know what is computed from the contents. The room grows
//! in steps, as in mlx-lm's `KVCache` (mlx-lm 0.32.2, `models/cache.py`), so that a token costs no
//! copy of all those before it.

use mlx_rs::ops::concatenate;
use mlx_rs::ops::indexing::{TryIndexMutOp, TryIndexOp};
use mlx_rs::{Array, transforms};

use super::convert::index;
use crate::backend::BackendError;

/// Positions by select a layer's room grows.
const STEP: usize = 256;

/// Keys and values of all layers.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<Layer>,
}

/// One layer's positions.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    /// Keys and values, `[1, kv_heads, room, head_dim]`; `None` before the first position. Forks
    /// share them: MLX copies an array that it changes while somebody else holds it.
    contents: Option<[Array; 2]>,
    positions: usize,
    room: usize,
}

impl KvCache {
    pub(super) fn new(layers: usize) -> Self {
        Self {
            layers: vec![Layer::default(); layers],
        }
    }

    /// A cache of the first `positions` positions.
    pub(super) fn fork(&self, positions: usize) -> Result<Self, BackendError> {
        let layers = self.layers.iter().map(|layer| layer.fork(positions));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn layer(&mut self, index: usize) -> Result<&mut Layer, BackendError> {
        let layers = self.layers.len();
        self.layers
            .get_mut(index)
            .ok_or_else(|| BackendError(format!("layer {index} of a KV cache of {layers} layers")))
    }

    /// Whether this layer is the one that a forward pass comes to last.
    pub(super) fn is_last(&self, index: usize) -> bool {
        index + 1 == self.layers.len()
    }

    /// Computes what has only been planned so far.
    pub(super) fn evaluate(&self) -> Result<(), BackendError> {
        let contents = self
            .layers
            .iter()
            .filter_map(|layer| layer.contents.as_ref());
        Ok(transforms::eval(contents.flatten())?)
    }
}

impl Layer {
    fn fork(&self, positions: usize) -> Result<Self, BackendError> {
        match positions <= self.positions {
            true => Ok(Self {
                positions,
                ..self.clone()
            }),
            false => Err(BackendError(format!(
                "a fork at position {positions} of a KV cache of {}",
                self.positions
            ))),
        }
    }

    /// How many positions there are.
    pub(super) fn positions(&self) -> usize {
        self.positions
    }

    /// Appends as many positions as `new`, keys and values of `[1, kv_heads, rows, head_dim]`, has
    /// rows.
    pub(super) fn append(&mut self, new: [Array; 2], rows: usize) -> Result<(), BackendError> {
        let after = self.positions + rows;
        if after > self.room {
            self.grow(&new[0], after.next_multiple_of(STEP))?;
        }
        let place = index(self.positions)?..index(after)?;
        let contents = self.contents.iter_mut().flatten();
        for (contents, new) in contents.zip(new) {
            contents.try_index_mut((.., .., place.clone(), ..), new)?;
        }
        self.positions = after;
        Ok(())
    }

    fn grow(&mut self, like: &Array, room: usize) -> Result<(), BackendError> {
        let (heads, head_dim) = (like.dim(1), like.dim(3));
        let zeros = |positions: usize| -> Result<Array, BackendError> {
            Ok(Array::zeros::<f32>(&[
                1,
                heads,
                index(positions)?,
                head_dim,
            ])?)
        };
        let kept = index(self.positions)?;
        self.contents = Some(match &self.contents {
            None => [zeros(room)?, zeros(room)?],
            Some([keys, values]) => {
                let more = zeros(room - self.positions)?;
                let grown = |old: &Array| {
                    let old = old.try_index((.., .., ..kept, ..))?;
                    concatenate(&[&old, &more], 2)
                };
                [grown(keys)?, grown(values)?]
            }
        });
        self.room = room;
        Ok(())
    }

    /// Keys and values from position `start` on.
    pub(super) fn from(&self, start: usize) -> Result<[Array; 2], BackendError> {
        let range = index(start)?..index(self.positions)?;
        let Some([keys, values]) = &self.contents else {
            return Err(BackendError("attention over an empty KV cache".to_owned()));
        };
        let part = |x: &Array| x.try_index((.., .., range.clone(), ..));
        Ok([part(keys)?, part(values)?])
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rows(from: usize, count: usize) -> Array {
        let values = (from * 2..(from + count) * 2).map(|i| i as f32);
        Array::from_iter(values, &[1, 1, count as i32, 2])
    }

    fn append(cache: &mut KvCache, from: usize, count: usize) {
        let new = [rows(from, count), rows(from + 5000, count)];
        cache
            .layer(0)
            .and_then(|layer| layer.append(new, count))
            .expect("layer 0");
    }

    fn contents(cache: &mut KvCache) -> [Vec<f32>; 2] {
        let parts = cache.layer(0).and_then(|layer| layer.from(0));
        parts.expect("not empty").map(|part| {
            let part = part.contiguous().expect("a copy");
            part.to_vec_exact().expect("f32")
        })
    }

    fn expected(parts: &[(usize, usize)]) -> [Vec<f32>; 2] {
        [0, 5000].map(|offset| {
            let values = parts.iter().flat_map(|(from, count)| {
                (2 * (from + offset)..2 * (from + offset + count)).map(|i| i as f32)
            });
            values.collect()
        })
    }

    #[rstest]
    #[case(3, 2)]
    #[case(300, 256)]
    #[case(300, 300)]
    #[case(255, 1)]
    fn a_fork_has_the_beginning_and_neither_sees_the_other(
        #[case] length: usize,
        #[case] cut: usize,
    ) {
        let mut original = KvCache::new(1);
        append(&mut original, 0, length);
        let mut fork = original.fork(cut).expect("long enough");
        append(&mut fork, 900, 2);
        append(&mut original, length, 3);
        assert_eq!(contents(&mut original), expected(&[(0, length + 3)]));
        assert_eq!(contents(&mut fork), expected(&[(0, cut), (900, 2)]));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let mut cache = KvCache::new(1);
        assert!(cache.layer(1).is_err());
        assert!(cache.fork(1).is_err());
        assert!(cache.layer(0).expect("layer 0").from(0).is_err());
    }
}
