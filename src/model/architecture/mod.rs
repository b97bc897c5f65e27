//! The model families: each file says how one family's `config.json` becomes a decoder.

mod llama;
mod qwen2;
mod qwen3;

use super::Config;

/// A pre-norm decoder with grouped-query attention and a gated feed-forward layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DecoderSpec {
    /// The family's name.
    pub(super) name: &'static str,
    /// Width of the activations.
    pub(super) hidden_size: usize,
    /// Layers.
    pub(super) layers: usize,
    /// Query heads.
    pub(super) heads: usize,
    /// Key and value heads.
    pub(super) kv_heads: usize,
    /// Elements per head.
    pub(super) head_dim: usize,
    /// Width of the feed-forward layer.
    pub(super) intermediate_size: usize,
    /// Tokens.
    pub(super) vocab_size: usize,
    /// Epsilon of the norms.
    pub(super) rms_norm_eps: f32,
    /// Base of the rotary wavelengths.
    pub(super) rope_theta: f32,
    /// Whether the output layer is the embedding.
    pub(super) tied: bool,
    /// Whether query, key and value projections have biases.
    pub(super) qkv_bias: bool,
    /// Whether the output projection of attention has a bias.
    pub(super) o_bias: bool,
    /// Whether the feed-forward projections have biases.
    pub(super) mlp_bias: bool,
    /// Whether each query and key head is normed before rotation.
    pub(super) qk_norm: bool,
}

/// The decoder that a configuration describes, or what is not supported about it.
pub(super) fn spec(config: &Config) -> Result<DecoderSpec, String> {
    match config.model_type.as_str() {
        // mlx-lm maps Mistral to its Llama as well.
        "llama" | "mistral" => Ok(llama::spec(config)),
        "qwen2" => Ok(qwen2::spec(config)),
        "qwen3" => qwen3::spec(config),
        other => Err(format!(
            "model_type '{other}' is not supported; llama, mistral, qwen2 and qwen3 are"
        )),
    }
}
