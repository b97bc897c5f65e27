//! What an operation has to know besides its tensors: rotations, the shape of attention, and
//! activation functions.
//!
//! Numbers only. How a checkpoint leads to them is the business of `model`.

/// Rotary position embedding (Su et al. 2021).
///
/// Pair `i` of every head turns by `position · position_scale · frequencies[i]` radians. Elements
/// behind the pairs stay as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Elements per head, at least twice as many as there are frequencies.
    pub head_dim: usize,
    /// Radians per position, one for each pair.
    pub frequencies: Vec<f32>,
    /// Factor on the position, 1 unless the scaling is linear.
    pub position_scale: f32,
    /// Factor on the rotated elements, 1 unless a scaling asks for another.
    pub amplitude: f32,
    /// Which elements are a pair.
    pub layout: RopeLayout,
}

impl Rope {
    /// Unscaled rotation of whole heads: `frequencies[i] = exp(-i · ln(theta) / half)`, formed in
    /// f32 as MLX does (MLX 0.32.4, `mlx/fast.cpp`, `rope`).
    #[must_use]
    pub fn plain(head_dim: usize, theta: f32) -> Self {
        let half = head_dim / 2;
        let step = libm::logf(theta) / half as f32;
        Self {
            head_dim,
            frequencies: (0..half).map(|i| libm::expf(-(i as f32) * step)).collect(),
            position_scale: 1.0,
            amplitude: 1.0,
            layout: RopeLayout::HalfSplit,
        }
    }
}

/// Which elements of a head turn together (mlx-lm 0.32.2, `models/rope_utils.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Element `i` with element `i + pairs`: `traditional=False`.
    HalfSplit,
    /// Element `2i` with element `2i + 1`: `traditional=True`.
    Interleaved,
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
    /// How many positions a row sees, itself included; `None` is all of them.
    pub window: Option<usize>,
    /// Scores become `cap · tanh(score / cap)` before the softmax, where given.
    pub softcap: Option<f32>,
}

/// The function on the gate of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x · (1 + erf(x / √2)) / 2`.
    Gelu,
    /// `x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2` (Hendrycks and Gimpel 2016).
    GeluTanh,
}
