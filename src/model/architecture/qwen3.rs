//! Qwen3: no biases, and a norm on each query and key head (mlx-lm 0.32.2, `models/qwen3.py`).

use serde::Deserialize;
use serde_json::Value;

use super::{DecoderSpec, Dimensions, Head, Rotation, expect_activation, read, require};

/// What is read besides the sizes.
#[derive(Debug, Deserialize)]
struct Wire {
    max_position_embeddings: usize,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    /// Newer checkpoints keep theta and scaling in here.
    rope_parameters: Option<Value>,
    tie_word_embeddings: bool,
    #[serde(default)]
    use_sliding_window: bool,
}

pub(super) fn spec(fields: &Value) -> Result<DecoderSpec, String> {
    expect_activation(fields, &["silu"])?;
    for field in [
        "num_key_value_heads",
        "head_dim",
        "tie_word_embeddings",
        "max_position_embeddings",
    ] {
        require(fields, field)?;
    }
    let dimensions = Dimensions::read(fields)?;
    let wire: Wire = read(fields)?;
    if wire.use_sliding_window {
        return Err("use_sliding_window is not supported; mlx-lm ignores it".to_owned());
    }
    let parameters = wire.rope_parameters.as_ref();
    let theta = wire
        .rope_theta
        .or_else(|| parameters?.get("rope_theta")?.as_f64())
        .ok_or("rope_theta is missing; this model_type needs it")?;
    let rotary = Rotation {
        head_dim: dimensions.head_dim,
        dims: dimensions.head_dim,
        theta,
        traditional: false,
        scaling: wire.rope_scaling.as_ref().or(parameters),
        max_positions: Some(wire.max_position_embeddings),
    }
    .build()?;
    Ok(DecoderSpec {
        qk_norm: true,
        head: Head::tied(wire.tie_word_embeddings),
        drops_tied_head: true,
        ..DecoderSpec::plain("qwen3", dimensions, rotary)
    })
}
