//! What distinguishes the decoders of the supported families, in one vocabulary.

use super::{Dimensions, Rotary};
use crate::backend::{Activation, AttentionShape, Rope};

/// A decoder with grouped-query attention and a gated feed-forward layer.
#[derive(Debug, Clone)]
pub(in crate::model) struct DecoderSpec {
    /// The family's name.
    pub(in crate::model) name: &'static str,
    /// What the names of all tensors begin with.
    pub(in crate::model) prefix: &'static str,
    /// Its sizes.
    pub(in crate::model) dimensions: Dimensions,
    /// The kinds of its layers: one, or a local and a global one.
    pub(in crate::model) kinds: Vec<LayerKind>,
    /// The kind of each layer, an index into `kinds`.
    pub(in crate::model) layer_kinds: Vec<usize>,
    /// Factor on the scores of attention.
    pub(in crate::model) attention_scale: f32,
    /// Cap on the scores of attention.
    pub(in crate::model) attention_softcap: Option<f32>,
    /// Cap on the logits.
    pub(in crate::model) logits_softcap: Option<f32>,
    /// Factor on the embeddings.
    pub(in crate::model) embedding_scale: Option<f32>,
    /// Which norms a layer has.
    pub(in crate::model) norms: Norms,
    /// Whether each query and key head is normed before rotation.
    pub(in crate::model) qk_norm: bool,
    /// Whether norms multiply by `1 + weight` rather than by `weight`.
    pub(in crate::model) norm_from_one: bool,
    /// How the projections are stored.
    pub(in crate::model) projections: Projections,
    /// Whether query, key and value projections have biases.
    pub(in crate::model) qkv_bias: bool,
    /// Whether the output projection of attention has a bias.
    pub(in crate::model) o_bias: bool,
    /// Whether the feed-forward projections have biases.
    pub(in crate::model) mlp_bias: bool,
    /// The function on the gate of the feed-forward layer.
    pub(in crate::model) activation: Activation,
    /// Where the output layer is.
    pub(in crate::model) head: Head,
    /// Whether mlx-lm drops `lm_head.weight` where the embedding is the output layer.
    pub(in crate::model) drops_tied_head: bool,
    /// Whether mlx-lm drops a tensor of this name without using it (`sanitize` of its models).
    pub(in crate::model) dropped: fn(&str) -> bool,
    /// Positions that the rotation is exact for, if not all.
    pub(in crate::model) position_limit: Option<usize>,
}

/// How the layers of one kind attend.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model) struct LayerKind {
    /// Rotation of queries and keys.
    pub(in crate::model) rope: Rope,
    /// How many positions a row sees, itself included; `None` is all of them.
    pub(in crate::model) window: Option<usize>,
}

/// The norms of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Norms {
    /// One before attention, one before the feed-forward layer:
    /// `x + attention(norm x)`, then `x + mlp(norm x)`.
    Before,
    /// One before and one behind each:
    /// `x + norm(attention(norm x))`, then `x + norm(mlp(norm x))`.
    Around,
}

/// How the projections of a layer are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Projections {
    /// `q_proj`, `k_proj`, `v_proj`; `gate_proj`, `up_proj`.
    Separate,
    /// `qkv_proj`; `gate_up_proj`.
    Fused,
}

/// Where the output layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Head {
    /// It is the embedding.
    Tied,
    /// It is `lm_head`.
    Own,
    /// It is `lm_head` if the checkpoint has one, and else the embedding.
    OwnIfPresent,
}

impl DecoderSpec {
    /// A decoder with norms before its parts, no biases, no caps and SiLU, whose layers all
    /// attend to everything. Families differ from here.
    pub(super) fn plain(name: &'static str, dimensions: Dimensions, rotary: Rotary) -> Self {
        Self {
            name,
            prefix: "",
            attention_scale: (dimensions.head_dim as f64).powf(-0.5) as f32,
            layer_kinds: vec![0; dimensions.layers],
            dimensions,
            kinds: vec![LayerKind {
                rope: rotary.rope,
                window: None,
            }],
            attention_softcap: None,
            logits_softcap: None,
            embedding_scale: None,
            norms: Norms::Before,
            qk_norm: false,
            norm_from_one: false,
            projections: Projections::Separate,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            activation: Activation::Silu,
            head: Head::Tied,
            drops_tied_head: false,
            dropped: |_| false,
            position_limit: rotary.limit,
        }
    }

    /// The shape of attention in the layers of one kind.
    pub(in crate::model) fn attention(&self, kind: &LayerKind) -> AttentionShape {
        AttentionShape {
            heads: self.dimensions.heads,
            kv_heads: self.dimensions.kv_heads,
            head_dim: self.dimensions.head_dim,
            scale: self.attention_scale,
            window: kind.window,
            softcap: self.attention_softcap,
        }
    }
}

impl Head {
    /// Tied or not, as a configuration says.
    pub(super) fn tied(tied: bool) -> Self {
        match tied {
            true => Self::Tied,
            false => Self::Own,
        }
    }
}
