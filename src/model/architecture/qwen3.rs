//! Qwen3: Llama without biases, with a norm on each query and key head (mlx-lm 0.32.2,
//! `models/qwen3.py`).

use super::{Config, DecoderSpec, llama};

pub(super) fn spec(config: &Config) -> Result<DecoderSpec, String> {
    let missing = |field| format!("{field} is missing; a qwen3 model needs it");
    Ok(DecoderSpec {
        name: "qwen3",
        rope_theta: config.rope_theta.ok_or_else(|| missing("rope_theta"))?,
        tied: config
            .tie_word_embeddings
            .ok_or_else(|| missing("tie_word_embeddings"))?,
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        qk_norm: true,
        ..llama::spec(config)
    })
}
