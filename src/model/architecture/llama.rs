//! Llama and Mistral: optional biases everywhere, optional windows in some layers (mlx-lm 0.32.2,
//! `models/llama.py`).

use serde::Deserialize;
use serde_json::Value;

use super::{
    DecoderSpec, Dimensions, Head, LayerKind, Rotation, expect_activation,
    expect_no_other_rope_parameters, read,
};

/// What is read besides the sizes. mlx-lm's defaults are in [`spec`].
#[derive(Debug, Deserialize)]
struct Wire {
    max_position_embeddings: Option<usize>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    rope_theta: Option<f64>,
    rope_traditional: Option<bool>,
    rope_scaling: Option<Value>,
    tie_word_embeddings: Option<bool>,
    layer_types: Option<Vec<String>>,
    sliding_window: Option<usize>,
}

pub(super) fn spec(fields: &Value) -> Result<DecoderSpec, String> {
    expect_activation(fields, &["silu"])?;
    let dimensions = Dimensions::read(fields)?;
    let wire: Wire = read(fields)?;
    let theta = wire.rope_theta.unwrap_or(10_000.0);
    expect_no_other_rope_parameters(fields, theta)?;
    let rotary = Rotation {
        head_dim: dimensions.head_dim,
        dims: dimensions.head_dim,
        theta,
        traditional: wire.rope_traditional.unwrap_or(false),
        scaling: wire.rope_scaling.as_ref(),
        max_positions: wire.max_position_embeddings,
    }
    .build()?;
    let attention_bias = wire.attention_bias.unwrap_or(false);
    let mut spec = DecoderSpec {
        qkv_bias: attention_bias,
        o_bias: attention_bias,
        mlp_bias: wire.mlp_bias.unwrap_or(false),
        head: Head::tied(wire.tie_word_embeddings.unwrap_or(true)),
        drops_tied_head: true,
        dropped: is_rotary,
        ..DecoderSpec::plain("llama", dimensions, rotary)
    };
    if let Some(types) = &wire.layer_types {
        window(&mut spec, types, wire.sliding_window)?;
    }
    Ok(spec)
}

/// Old checkpoints carry frequencies that nobody reads.
pub(super) fn is_rotary(name: &str) -> bool {
    name.contains("self_attn.rotary_emb.inv_freq")
}

/// Gives the layers of type `sliding_attention` a window. Mistral's `sliding_window` alone does
/// nothing in mlx-lm.
fn window(
    spec: &mut DecoderSpec,
    types: &[String],
    sliding_window: Option<usize>,
) -> Result<(), String> {
    let layers = spec.dimensions.layers;
    if types.len() != layers {
        return Err(format!(
            "layer_types has {} entries for {layers} layers",
            types.len()
        ));
    }
    spec.layer_kinds = types
        .iter()
        .map(|name| match name.as_str() {
            "full_attention" => Ok(0),
            "sliding_attention" => Ok(1),
            other => Err(format!(
                "layer_types has '{other}', which is not supported; full_attention and sliding_attention are"
            )),
        })
        .collect::<Result<_, _>>()?;
    if !spec.layer_kinds.contains(&0) {
        return Err("layer_types has no full_attention, which mlx-lm needs one of".to_owned());
    }
    if spec.layer_kinds.contains(&1) {
        let window = sliding_window.filter(|window| *window > 0).ok_or(
            "sliding_window is missing; layer_types has sliding_attention, which needs it",
        )?;
        let local = LayerKind {
            window: Some(window),
            ..spec.kinds[0].clone()
        };
        spec.kinds.push(local);
    }
    Ok(())
}
