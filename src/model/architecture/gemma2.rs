//! Gemma 2: norms around each part, scaled embeddings, soft caps on scores and logits (mlx-lm
//! 0.32.2, `models/gemma2.py`, which gives every layer full attention whatever `sliding_window`
//! says).

use serde::Deserialize;
use serde_json::Value;

use super::{
    DecoderSpec, Dimensions, Norms, Rotation, expect_activation, expect_no_other_rope_parameters,
    read, require,
};
use crate::backend::Activation;

/// The names of the activation in use: Gemma's files say `gelu` and mean the tanh form.
pub(super) const ACTIVATIONS: [&str; 2] = ["gelu_pytorch_tanh", "gelu"];

/// What is read besides the sizes. mlx-lm's defaults are in [`spec`].
#[derive(Debug, Deserialize)]
struct Wire {
    rope_theta: Option<f64>,
    rope_traditional: Option<bool>,
    rope_scaling: Option<Value>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    query_pre_attn_scalar: Option<f64>,
}

pub(super) fn spec(fields: &Value) -> Result<DecoderSpec, String> {
    expect_activation(fields, &ACTIVATIONS)?;
    require(fields, "num_key_value_heads")?;
    require(fields, "head_dim")?;
    let dimensions = Dimensions::read(fields)?;
    let wire: Wire = read(fields)?;
    if wire.rope_scaling.is_some() {
        return Err("rope_scaling is not supported for gemma2; mlx-lm ignores it".to_owned());
    }
    let theta = wire.rope_theta.unwrap_or(10_000.0);
    expect_no_other_rope_parameters(fields, theta)?;
    let rotary = Rotation {
        head_dim: dimensions.head_dim,
        dims: dimensions.head_dim,
        theta,
        traditional: wire.rope_traditional.unwrap_or(false),
        scaling: None,
        max_positions: None,
    }
    .build()?;
    let hidden_size = dimensions.hidden_size as f64;
    Ok(DecoderSpec {
        attention_scale: (1.0 / wire.query_pre_attn_scalar.unwrap_or(144.0).sqrt()) as f32,
        attention_softcap: Some(wire.attn_logit_softcapping.unwrap_or(50.0)),
        logits_softcap: Some(wire.final_logit_softcapping.unwrap_or(30.0)),
        embedding_scale: Some(hidden_size.sqrt() as f32),
        norms: Norms::Around,
        norm_from_one: true,
        activation: Activation::GeluTanh,
        ..DecoderSpec::plain("gemma2", dimensions, rotary)
    })
}
