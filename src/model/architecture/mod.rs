//! The model families: each file says how one family's `config.json` becomes a decoder.
//!
//! `CONTRIBUTING.md` tells how to add one.

mod dimensions;
mod gemma2;
mod gemma3;
mod llama;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
mod spec;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Config;
pub(super) use dimensions::Dimensions;
use rope::{Rotary, Rotation};

pub(super) use spec::{DecoderSpec, Head, LayerKind, Norms, Projections};

/// The decoder that a configuration describes, or what is not supported about it.
pub(super) fn spec(config: &Config) -> Result<DecoderSpec, String> {
    let fields = config.fields();
    match config.model_type() {
        // mlx-lm 0.32.2 runs these as Llama (`utils.py`, `MODEL_REMAPPING`).
        "llama" | "mistral" | "iquestcoder" | "xverse" => llama::spec(fields),
        "qwen2" => qwen2::spec(fields),
        "qwen3" => qwen3::spec(fields),
        "gemma2" => gemma2::spec(fields),
        "gemma3_text" => gemma3::spec(fields),
        "gemma3" => gemma3::nested_spec(fields),
        "phi3" => phi3::spec(fields),
        other => Err(format!(
            "model_type '{other}' is not supported; llama, mistral, qwen2, qwen3, gemma2, gemma3, gemma3_text and phi3 are"
        )),
    }
}

/// The fields that one family reads; an error names its field. Others are for other programs.
fn read<T: DeserializeOwned>(fields: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(fields).map_err(|error| error.to_string())
}

/// A field that a family cannot do without.
fn require(fields: &Value, name: &str) -> Result<(), String> {
    match fields.get(name) {
        None | Some(Value::Null) => Err(format!("{name} is missing; this model_type needs it")),
        Some(_) => Ok(()),
    }
}

/// mlx-lm never reads the activation's name: a model that wants another would silently give
/// other tokens.
fn expect_activation(fields: &Value, known: &[&str]) -> Result<(), String> {
    for field in ["hidden_act", "hidden_activation"] {
        if let Some(name) = fields.get(field).and_then(Value::as_str)
            && !known.contains(&name)
        {
            let known = known.join(" and ");
            return Err(format!("{field} '{name}' is not supported; {known} is"));
        }
    }
    Ok(())
}

/// Newer writers keep the rotation under `rope_parameters`, which mlx-lm 0.32.2 does not read for
/// most families: a file that says something else there would silently turn otherwise.
fn expect_no_other_rope_parameters(fields: &Value, theta: f64) -> Result<(), String> {
    let Some(parameters) = fields.get("rope_parameters") else {
        return Ok(());
    };
    let kind = parameters.get("rope_type").and_then(Value::as_str);
    let other_theta = parameters
        .get("rope_theta")
        .and_then(Value::as_f64)
        .is_some_and(|other| other != theta);
    let scaled = kind.is_some_and(|kind| kind != "default")
        && fields.get("rope_scaling").is_none_or(Value::is_null);
    match other_theta || scaled {
        true => Err(
            "rope_parameters disagree with rope_theta and rope_scaling, and mlx-lm 0.32.2 reads only the latter for this model_type; put the values there"
                .to_owned(),
        ),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
