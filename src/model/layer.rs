//! The weights of one layer: read from a checkpoint by name, and put onto a backend.
//!
//! Knows names and shapes. Does not know in which order a layer computes; `decoder` does.

use super::architecture::{DecoderSpec, Norms, Projections};
use super::{Checkpoint, ModelError};
use crate::backend::{Backend, MatrixData};

/// The weights of a layer.
pub(super) struct Layer<B: Backend> {
    pub(super) before_attention: B::Vector,
    pub(super) q: Linear<B>,
    pub(super) k: Linear<B>,
    pub(super) v: Linear<B>,
    pub(super) o: Linear<B>,
    /// Norms over each query and key head, where the architecture has them.
    pub(super) qk_norms: Option<[B::Vector; 2]>,
    pub(super) after_attention: Option<B::Vector>,
    pub(super) before_mlp: B::Vector,
    pub(super) gate: Linear<B>,
    pub(super) up: Linear<B>,
    pub(super) down: Linear<B>,
    pub(super) after_mlp: Option<B::Vector>,
}

/// A linear map, `x · weightᵀ + bias`.
pub(super) struct Linear<B: Backend> {
    weight: B::Matrix,
    bias: Option<B::Vector>,
}

impl<B: Backend> Linear<B> {
    pub(super) fn apply(&self, backend: &B, x: &B::Tensor) -> Result<B::Tensor, ModelError> {
        Ok(backend.linear(x, &self.weight, self.bias.as_ref())?)
    }

    /// Several maps of the same activations.
    pub(super) fn apply_all<const N: usize>(
        backend: &B,
        x: &B::Tensor,
        maps: [&Self; N],
    ) -> Result<[B::Tensor; N], ModelError> {
        Ok(backend.linears(x, maps.map(|map| (&map.weight, map.bias.as_ref())))?)
    }
}

/// Reads tensors by name and hands them to a backend.
pub(super) struct Loader<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) spec: &'a DecoderSpec,
    pub(super) checkpoint: &'a mut Checkpoint,
}

impl<B: Backend> Loader<'_, B> {
    /// The matrix at a module path, `[rows, cols]`.
    pub(super) fn matrix(
        &mut self,
        path: &str,
        shape: [usize; 2],
    ) -> Result<B::Matrix, ModelError> {
        let data = self.stored(path, shape)?;
        Ok(self.backend.matrix(data)?)
    }

    /// The weight of a norm, with the one that some families leave out.
    pub(super) fn norm(&mut self, path: &str, length: usize) -> Result<B::Vector, ModelError> {
        let name = format!("{}{path}.weight", self.spec.prefix);
        let mut weight = self.checkpoint.vector(&name, length)?;
        if self.spec.norm_from_one {
            weight.iter_mut().for_each(|weight| *weight += 1.0);
        }
        Ok(self.backend.vector(weight)?)
    }

    /// The weights of layer `index`.
    pub(super) fn layer(&mut self, index: usize) -> Result<Layer<B>, ModelError> {
        let layer = format!("model.layers.{index}");
        let sizes = self.spec.dimensions.clone();
        let hidden = sizes.hidden_size;
        let [q, k, v] = self.qkv(&format!("{layer}.self_attn"))?;
        let o = self.linear(
            &format!("{layer}.self_attn.o_proj"),
            [hidden, sizes.heads * sizes.head_dim],
            self.spec.o_bias,
        )?;
        let [gate, up] = self.gate_up(&format!("{layer}.mlp"))?;
        let down = self.linear(
            &format!("{layer}.mlp.down_proj"),
            [hidden, sizes.intermediate_size],
            self.spec.mlp_bias,
        )?;
        let qk_norms = match self.spec.qk_norm {
            true => Some([
                self.norm(&format!("{layer}.self_attn.q_norm"), sizes.head_dim)?,
                self.norm(&format!("{layer}.self_attn.k_norm"), sizes.head_dim)?,
            ]),
            false => None,
        };
        let norms = self.spec.norms;
        let mut norm = |name: &str| self.norm(&format!("{layer}.{name}"), hidden);
        // `post_attention_layernorm` has two meanings: families with norms on one side only use
        // it before the feed-forward layer.
        let before_attention = norm("input_layernorm")?;
        let post_attention = norm("post_attention_layernorm")?;
        let (after_attention, before_mlp, after_mlp) = match norms {
            Norms::Before => (None, post_attention, None),
            Norms::Around => (
                Some(post_attention),
                norm("pre_feedforward_layernorm")?,
                Some(norm("post_feedforward_layernorm")?),
            ),
        };
        Ok(Layer {
            before_attention,
            q,
            k,
            v,
            o,
            qk_norms,
            after_attention,
            before_mlp,
            gate,
            up,
            down,
            after_mlp,
        })
    }

    /// Query, key and value projections.
    fn qkv(&mut self, attention: &str) -> Result<[Linear<B>; 3], ModelError> {
        let sizes = &self.spec.dimensions;
        let hidden = sizes.hidden_size;
        let [q, kv] = [sizes.heads, sizes.kv_heads].map(|heads| heads * sizes.head_dim);
        match self.spec.projections {
            Projections::Separate => {
                let bias = self.spec.qkv_bias;
                Ok([
                    self.linear(&format!("{attention}.q_proj"), [q, hidden], bias)?,
                    self.linear(&format!("{attention}.k_proj"), [kv, hidden], bias)?,
                    self.linear(&format!("{attention}.v_proj"), [kv, hidden], bias)?,
                ])
            }
            Projections::Fused => self.fused(&format!("{attention}.qkv_proj"), [q, kv, kv], hidden),
        }
    }

    /// Gate and up projections of the feed-forward layer.
    fn gate_up(&mut self, mlp: &str) -> Result<[Linear<B>; 2], ModelError> {
        let hidden = self.spec.dimensions.hidden_size;
        let inner = self.spec.dimensions.intermediate_size;
        match self.spec.projections {
            Projections::Separate => {
                let bias = self.spec.mlp_bias;
                Ok([
                    self.linear(&format!("{mlp}.gate_proj"), [inner, hidden], bias)?,
                    self.linear(&format!("{mlp}.up_proj"), [inner, hidden], bias)?,
                ])
            }
            Projections::Fused => {
                self.fused(&format!("{mlp}.gate_up_proj"), [inner, inner], hidden)
            }
        }
    }

    fn linear(
        &mut self,
        path: &str,
        shape: [usize; 2],
        bias: bool,
    ) -> Result<Linear<B>, ModelError> {
        let weight = self.matrix(path, shape)?;
        let bias = match bias {
            true => {
                let name = format!("{}{path}.bias", self.spec.prefix);
                Some(
                    self.backend
                        .vector(self.checkpoint.vector(&name, shape[0])?)?,
                )
            }
            false => None,
        };
        Ok(Linear { weight, bias })
    }

    /// Several projections stored as one matrix, cut into their rows: the same numbers as a
    /// product with the whole, because each output has its own row.
    fn fused<const N: usize>(
        &mut self,
        path: &str,
        rows: [usize; N],
        cols: usize,
    ) -> Result<[Linear<B>; N], ModelError> {
        let whole = self.stored(path, [rows.iter().sum(), cols])?;
        let mut start = 0;
        let mut parts = Vec::with_capacity(N);
        for rows in rows {
            let part = whole.rows(start..start + rows)?;
            parts.push(Linear {
                weight: self.backend.matrix(part)?,
                bias: None,
            });
            start += rows;
        }
        parts
            .try_into()
            .map_err(|_| crate::backend::BackendError("a matrix was cut wrongly".to_owned()).into())
    }

    fn stored(&mut self, path: &str, [rows, cols]: [usize; 2]) -> Result<MatrixData, ModelError> {
        let path = format!("{}{path}", self.spec.prefix);
        self.checkpoint.matrix(&path, rows, cols)
    }
}
