//! Gemma 3, the text part: norms around each part and on heads, and a pattern of local layers
//! with a window and a rotation of their own, each few followed by a global one (mlx-lm 0.32.2,
//! `models/gemma3_text.py` and `models/gemma3.py`).

use half::bf16;
use serde::Deserialize;
use serde_json::{Value, json};

use super::gemma2::ACTIVATIONS;
use super::{DecoderSpec, Dimensions, Head, LayerKind, Norms, Rotation, expect_activation, read};
use crate::backend::Activation;

/// What is read besides the sizes.
#[derive(Debug, Deserialize)]
struct Wire {
    rope_theta: f64,
    rope_local_base_freq: f64,
    query_pre_attn_scalar: f64,
    sliding_window: usize,
    sliding_window_pattern: usize,
    max_position_embeddings: usize,
    rope_scaling: Option<Value>,
    layer_types: Option<Vec<String>>,
}

/// mlx-lm's defaults, those of the sizes included.
fn defaults() -> Value {
    json!({
        "hidden_size": 1152,
        "num_hidden_layers": 26,
        "intermediate_size": 6912,
        "num_attention_heads": 4,
        "head_dim": 256,
        "rms_norm_eps": 1e-6,
        "vocab_size": 262_144,
        "num_key_value_heads": 1,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "query_pre_attn_scalar": 256.0,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "max_position_embeddings": 32_768,
    })
}

/// `base` with the fields of `over` on top.
fn overlaid(mut base: Value, over: &Value) -> Value {
    if let (Value::Object(base), Value::Object(over)) = (&mut base, over) {
        for (name, value) in over.iter().filter(|(_, value)| !value.is_null()) {
            base.insert(name.clone(), value.clone());
        }
    }
    base
}

/// The text model alone.
pub(super) fn spec(fields: &Value) -> Result<DecoderSpec, String> {
    expect_activation(fields, &ACTIVATIONS)?;
    let fields = overlaid(defaults(), fields);
    let dimensions = Dimensions::read(&fields)?;
    let wire: Wire = read(&fields)?;
    if wire.sliding_window == 0 || wire.sliding_window_pattern == 0 {
        return Err("sliding_window and sliding_window_pattern must be above 0".to_owned());
    }
    let is_global = |layer: usize| (layer + 1).is_multiple_of(wire.sliding_window_pattern);
    expect_pattern(wire.layer_types.as_deref(), dimensions.layers, is_global)?;
    let global = Rotation {
        head_dim: dimensions.head_dim,
        dims: dimensions.head_dim,
        theta: wire.rope_theta,
        traditional: false,
        scaling: wire.rope_scaling.as_ref(),
        max_positions: Some(wire.max_position_embeddings),
    };
    let local = Rotation {
        theta: wire.rope_local_base_freq,
        scaling: None,
        ..global.clone()
    };
    let local = LayerKind {
        rope: local.build()?.rope,
        window: Some(wire.sliding_window),
    };
    let layer_kinds = (0..dimensions.layers)
        .map(|layer| usize::from(!is_global(layer)))
        .collect();
    let hidden_size = dimensions.hidden_size as f64;
    let plain = DecoderSpec::plain("gemma3", dimensions, global.build()?);
    let [global] = &plain.kinds[..] else {
        return Err("a plain decoder has one kind of layer".to_owned());
    };
    Ok(DecoderSpec {
        kinds: vec![global.clone(), local],
        layer_kinds,
        attention_scale: wire.query_pre_attn_scalar.powf(-0.5) as f32,
        // mlx-lm rounds the factor to bf16 whatever the dtype of the activations.
        embedding_scale: Some(bf16::from_f32(hidden_size.sqrt() as f32).to_f32()),
        norms: Norms::Around,
        qk_norm: true,
        norm_from_one: true,
        activation: Activation::GeluTanh,
        head: Head::OwnIfPresent,
        ..plain
    })
}

/// The text model inside a checkpoint that also sees images: its fields stand under
/// `text_config`, and its tensors under `language_model`.
pub(super) fn nested_spec(fields: &Value) -> Result<DecoderSpec, String> {
    let text = fields
        .get("text_config")
        .filter(|text| text.is_object())
        .ok_or("text_config is missing; this model_type needs it")?;
    let outer = json!({ "num_attention_heads": 8, "num_key_value_heads": 4 });
    let mut text = overlaid(outer, text);
    // The outer vocabulary goes before the inner one.
    text["vocab_size"] = match fields.get("vocab_size") {
        Some(size) => size.clone(),
        None => json!(262_208),
    };
    Ok(DecoderSpec {
        prefix: "language_model.",
        dropped: |name| {
            name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.")
        },
        ..spec(&text)?
    })
}

/// mlx-lm knows the pattern only; a file that lists other layers would silently attend otherwise.
fn expect_pattern(
    types: Option<&[String]>,
    layers: usize,
    is_global: impl Fn(usize) -> bool,
) -> Result<(), String> {
    let Some(types) = types else {
        return Ok(());
    };
    let agrees = types.len() == layers
        && types
            .iter()
            .enumerate()
            .all(|(layer, name)| (name == "full_attention") == is_global(layer));
    match agrees {
        true => Ok(()),
        false => Err("layer_types disagrees with sliding_window_pattern, which is all that mlx-lm 0.32.2 reads".to_owned()),
    }
}
