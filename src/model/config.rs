//! `config.json`, read leniently (it holds many keys for other programs) and checked strictly.

use serde::Deserialize;
use serde_json::Value;

use super::{ModelError, ModelFiles};

/// The fields of `config.json` that matter here, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `model_type`, such as `llama`.
    pub model_type: String,
    /// Width of the activations.
    pub hidden_size: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements per head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Tokens.
    pub vocab_size: usize,
    /// Epsilon of the norms.
    pub rms_norm_eps: f32,
    /// Base of the rotary wavelengths, if given.
    pub rope_theta: Option<f32>,
    /// Whether the output layer is the embedding, if given.
    pub tie_word_embeddings: Option<bool>,
    /// Whether attention projections have biases, if given.
    pub attention_bias: Option<bool>,
    /// Whether feed-forward projections have biases, if given.
    pub mlp_bias: Option<bool>,
}

/// The file as written. Field names and defaults are those of Hugging Face and mlx-lm.
#[derive(Debug, Deserialize)]
struct Wire {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_parameters: Option<RopeParameters>,
    #[serde(default)]
    rope_scaling: Option<Value>,
    #[serde(default)]
    rope_traditional: bool,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default = "silu")]
    hidden_act: String,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    #[serde(default)]
    quantization: Option<Quantization>,
}

fn silu() -> String {
    "silu".to_owned()
}

/// Newer checkpoints keep the rotary base in here.
#[derive(Debug, Deserialize)]
struct RopeParameters {
    rope_theta: Option<f32>,
}

/// Only the mode is read: bits and group sizes follow from the shapes of the tensors, which also
/// covers checkpoints that mix them.
#[derive(Debug, Deserialize)]
struct Quantization {
    mode: Option<String>,
}

impl Config {
    /// Reads and checks a model's `config.json`.
    ///
    /// # Errors
    /// If it is missing, is not JSON, lacks a field, or asks for what is not supported.
    pub fn read(files: &ModelFiles) -> Result<Self, ModelError> {
        let text = files.required_text("config.json")?;
        let wire: Wire = serde_json::from_str(&text)
            .map_err(|error| ModelError::file(files.label("config.json"), error))?;
        wire.lower()
            .map_err(|problem| ModelError::file(files.label("config.json"), problem))
    }
}

impl Wire {
    fn lower(self) -> Result<Config, String> {
        self.refuse_unsupported()?;
        for (field, value) in [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
        ] {
            if value == 0 || value > 1 << 24 {
                return Err(format!("{field} is {value}, which no model has"));
            }
        }
        let heads = self.num_attention_heads;
        let kv_heads = self.num_key_value_heads.unwrap_or(heads);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(format!(
                "num_key_value_heads is {kv_heads}, which does not divide the {heads} attention heads"
            ));
        }
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / heads);
        if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > 1 << 16 {
            return Err(format!("head_dim is {head_dim}, but must be even"));
        }
        let in_parameters = self.rope_parameters.and_then(|rope| rope.rope_theta);
        let rope_theta = self.rope_theta.or(in_parameters);
        if rope_theta.is_some_and(|theta| !theta.is_finite() || theta <= 1.0) {
            return Err("rope_theta must be above 1".to_owned());
        }
        Ok(Config {
            model_type: self.model_type,
            hidden_size: self.hidden_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads,
            head_dim,
            intermediate_size: self.intermediate_size,
            vocab_size: self.vocab_size,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta,
            tie_word_embeddings: self.tie_word_embeddings,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
        })
    }

    /// What would silently give other tokens than the model's authors meant is refused by name.
    fn refuse_unsupported(&self) -> Result<(), String> {
        let scaling = self.rope_scaling.as_ref().and_then(|scaling| {
            let kind = scaling.get("rope_type").or_else(|| scaling.get("type"))?;
            kind.as_str().filter(|kind| *kind != "default")
        });
        let mode = self
            .quantization
            .as_ref()
            .and_then(|quantization| quantization.mode.as_deref());
        match (scaling, mode) {
            (Some(kind), _) => Err(format!("rope_scaling of type '{kind}' is not supported")),
            (_, Some(mode)) if mode != "affine" => Err(format!(
                "quantization mode '{mode}' is not supported; affine is"
            )),
            _ if self.rope_traditional => Err("rope_traditional is not supported".to_owned()),
            _ if self.use_sliding_window => Err("use_sliding_window is not supported".to_owned()),
            _ if self.hidden_act != "silu" => Err(format!(
                "hidden_act '{}' is not supported; silu is",
                self.hidden_act
            )),
            _ => Ok(()),
        }
    }
}

/// The end-of-sequence ids of a model: `generation_config.json` goes before `config.json`, and
/// each may give one id or a list (mlx-lm 0.32.2, `utils.py`, `load_config`).
///
/// # Errors
/// If a file cannot be read, or its `eos_token_id` is neither an id nor a list of ids.
pub fn eos_token_ids(files: &ModelFiles) -> Result<Vec<u32>, ModelError> {
    #[derive(Deserialize)]
    struct Eos {
        eos_token_id: Option<Value>,
    }
    for file in ["generation_config.json", "config.json"] {
        let Some(text) = files.text(file)? else {
            continue;
        };
        let wire: Eos = serde_json::from_str(&text)
            .map_err(|error| ModelError::file(files.label(file), error))?;
        let ids = match wire.eos_token_id {
            None | Some(Value::Null) => continue,
            Some(Value::Array(ids)) => ids,
            Some(id) => vec![id],
        };
        return ids
            .iter()
            .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
            .collect::<Option<Vec<u32>>>()
            .ok_or_else(|| {
                ModelError::file(
                    files.label(file),
                    "eos_token_id is neither a token id nor a list of them",
                )
            });
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn minimal() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 256,
            "rms_norm_eps": 1e-5,
        })
    }

    #[rstest]
    #[case("num_key_value_heads", json!(3), "num_key_value_heads is 3")]
    #[case("head_dim", json!(7), "head_dim is 7")]
    #[case("hidden_size", json!(0), "hidden_size is 0")]
    #[case("rope_theta", json!(0.5), "rope_theta must be above 1")]
    #[case("rope_scaling", json!({"rope_type": "llama3"}), "rope_scaling of type 'llama3'")]
    #[case("quantization", json!({"mode": "mxfp4"}), "quantization mode 'mxfp4'")]
    #[case("hidden_act", json!("gelu"), "hidden_act 'gelu'")]
    #[case("use_sliding_window", json!(true), "use_sliding_window")]
    #[case("rope_traditional", json!(true), "rope_traditional")]
    fn what_is_wrong_or_unsupported_is_refused(
        #[case] field: &str,
        #[case] value: Value,
        #[case] message: &str,
    ) {
        let mut json = minimal();
        json[field] = value;
        let wire: Wire = serde_json::from_value(json).expect("well-formed");
        let problem = wire.lower().expect_err("refused");
        assert!(problem.starts_with(message), "{problem}");
    }

    #[test]
    fn absent_fields_take_the_defaults_of_mlx_lm() {
        let wire: Wire = serde_json::from_value(minimal()).expect("well-formed");
        let config = wire.lower().expect("supported");
        assert_eq!((config.kv_heads, config.head_dim), (4, 16));
        assert_eq!(config.rope_theta, None);
        assert_eq!(config.tie_word_embeddings, None);
    }
}
