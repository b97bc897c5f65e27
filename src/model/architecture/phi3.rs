//! Phi-3 and Phi-4: fused projections, rotation of a part of each head, long factors (mlx-lm
//! 0.32.2, `models/phi3.py`, which gives every layer full attention whatever `sliding_window`
//! says).

use serde::Deserialize;
use serde_json::Value;

use super::{
    DecoderSpec, Dimensions, Head, Projections, Rotary, Rotation, expect_activation,
    expect_no_other_rope_parameters, read,
};

/// What is read besides the sizes. mlx-lm's defaults are in [`spec`] and [`rotary`].
#[derive(Debug, Deserialize)]
struct Wire {
    rope_theta: Option<f64>,
    rope_traditional: Option<bool>,
    rope_scaling: Option<Value>,
    partial_rotary_factor: Option<f64>,
    max_position_embeddings: Option<usize>,
    original_max_position_embeddings: Option<usize>,
    tie_word_embeddings: Option<bool>,
}

pub(super) fn spec(fields: &Value) -> Result<DecoderSpec, String> {
    expect_activation(fields, &["silu"])?;
    let dimensions = Dimensions::read(fields)?.with_shared_width()?;
    let wire: Wire = read(fields)?;
    let theta = wire.rope_theta.unwrap_or(10_000.0);
    expect_no_other_rope_parameters(fields, theta)?;
    let rotary = rotary(&wire, theta, dimensions.head_dim)?;
    Ok(DecoderSpec {
        projections: Projections::Fused,
        head: Head::tied(wire.tie_word_embeddings.unwrap_or(false)),
        ..DecoderSpec::plain("phi3", dimensions, rotary)
    })
}

fn rotary(wire: &Wire, theta: f64, head_dim: usize) -> Result<Rotary, String> {
    let share = wire.partial_rotary_factor.unwrap_or(1.0);
    let rotation = Rotation {
        head_dim,
        dims: (head_dim as f64 * share) as usize,
        theta,
        traditional: wire.rope_traditional.unwrap_or(false),
        scaling: wire.rope_scaling.as_ref(),
        max_positions: Some(wire.max_position_embeddings.unwrap_or(131_072)),
    };
    let empty = |scaling: &&Value| scaling.as_object().is_some_and(|fields| !fields.is_empty());
    let Some(scaling) = rotation.scaling.filter(empty) else {
        return Rotation {
            scaling: None,
            ..rotation
        }
        .build();
    };
    if scaling.get("long_factor").is_none() {
        return Err("rope_scaling has no long_factor, which mlx-lm needs for phi3".to_owned());
    }
    match scaling.get("type").and_then(Value::as_str) {
        Some("longrope" | "su") => {
            let original = wire.original_max_position_embeddings.unwrap_or(4096);
            rotation.build_su(original as f64)
        }
        Some("linear") => rotation.build(),
        Some(other) => Err(format!(
            "rope_scaling of type '{other}' is not supported for phi3; longrope, su and linear are"
        )),
        None => Err("rope_scaling has no type, which mlx-lm needs for phi3".to_owned()),
    }
}
