//! Llama: optional biases everywhere (mlx-lm 0.32.2, `models/llama.py`).

use super::{Config, DecoderSpec};

pub(super) fn spec(config: &Config) -> DecoderSpec {
    let attention_bias = config.attention_bias.unwrap_or(false);
    DecoderSpec {
        name: "llama",
        hidden_size: config.hidden_size,
        layers: config.layers,
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim,
        intermediate_size: config.intermediate_size,
        vocab_size: config.vocab_size,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: config.rope_theta.unwrap_or(10_000.0),
        tied: config.tie_word_embeddings.unwrap_or(true),
        qkv_bias: attention_bias,
        o_bias: attention_bias,
        mlp_bias: config.mlp_bias.unwrap_or(false),
        qk_norm: false,
    }
}
