//! Qwen2 and Qwen2.5: biases on queries, keys and values (mlx-lm 0.32.2, `models/qwen2.py`).

use serde::Deserialize;
use serde_json::Value;

use super::llama::is_rotary;
use super::{
    DecoderSpec, Dimensions, Head, Rotation, expect_activation, expect_no_other_rope_parameters,
    read, require,
};

/// What is read besides the sizes. mlx-lm's defaults are in [`spec`].
#[derive(Debug, Deserialize)]
struct Wire {
    max_position_embeddings: Option<usize>,
    rope_theta: Option<f64>,
    rope_traditional: Option<bool>,
    rope_scaling: Option<Value>,
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    use_sliding_window: bool,
}

pub(super) fn spec(fields: &Value) -> Result<DecoderSpec, String> {
    expect_activation(fields, &["silu"])?;
    require(fields, "num_key_value_heads")?;
    let dimensions = Dimensions::read(fields)?.with_shared_width()?;
    let wire: Wire = read(fields)?;
    if wire.use_sliding_window {
        return Err("use_sliding_window is not supported; mlx-lm ignores it".to_owned());
    }
    let theta = wire.rope_theta.unwrap_or(1_000_000.0);
    expect_no_other_rope_parameters(fields, theta)?;
    let rotary = Rotation {
        head_dim: dimensions.head_dim,
        dims: dimensions.head_dim,
        theta,
        traditional: wire.rope_traditional.unwrap_or(false),
        scaling: wire.rope_scaling.as_ref(),
        max_positions: Some(wire.max_position_embeddings.unwrap_or(32_768)),
    }
    .build()?;
    Ok(DecoderSpec {
        qkv_bias: true,
        head: Head::tied(wire.tie_word_embeddings.unwrap_or(true)),
        drops_tied_head: true,
        dropped: is_rotary,
        ..DecoderSpec::plain("qwen2", dimensions, rotary)
    })
}
