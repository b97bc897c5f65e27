//! Qwen2 and Qwen2.5: Llama with biases on queries, keys and values (mlx-lm 0.32.2,
//! `models/qwen2.py`).

use super::{Config, DecoderSpec, llama};

pub(super) fn spec(config: &Config) -> DecoderSpec {
    DecoderSpec {
        name: "qwen2",
        // The head size is never taken from the file here.
        head_dim: config.hidden_size / config.heads,
        rope_theta: config.rope_theta.unwrap_or(1_000_000.0),
        qkv_bias: true,
        o_bias: false,
        mlp_bias: false,
        ..llama::spec(config)
    }
}
