//! `config.json`: the model type, the quantisation, and the fields that a family reads itself.
//!
//! Fields that no family knows are for other programs and are ignored, as in mlx-lm.

use serde::Deserialize;
use serde_json::Value;

use super::{ModelError, ModelFiles, Quantization};

/// A model's `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    model_type: String,
    quantization: Option<Quantization>,
    fields: Value,
}

impl Config {
    /// Reads a model's `config.json`.
    ///
    /// # Errors
    /// If it is missing, is not JSON, has no `model_type`, or asks for what no model here can do.
    pub fn read(files: &ModelFiles) -> Result<Self, ModelError> {
        let text = files.required_text("config.json")?;
        let fields: Value = serde_json::from_str(&text)
            .map_err(|error| ModelError::file(files.label("config.json"), error))?;
        Self::from_fields(fields)
            .map_err(|problem| ModelError::file(files.label("config.json"), problem))
    }

    pub(super) fn from_fields(fields: Value) -> Result<Self, String> {
        let model_type = fields.get("model_type").and_then(Value::as_str);
        let model_type = model_type.ok_or("model_type is missing")?.to_owned();
        if fields.get("model_file").is_some_and(|file| !file.is_null()) {
            return Err("model_file asks for custom Python code, which is not run here".to_owned());
        }
        Ok(Self {
            model_type,
            quantization: Quantization::read(&fields)?,
            fields,
        })
    }

    /// The family, such as `llama`.
    #[must_use]
    pub fn model_type(&self) -> &str {
        &self.model_type
    }

    /// How matrices are packed, if any are.
    #[must_use]
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_ref()
    }

    /// All fields as written.
    pub(super) fn fields(&self) -> &Value {
        &self.fields
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

    #[rstest]
    #[case(json!({}), "model_type is missing")]
    #[case(json!([]), "model_type is missing")]
    #[case(json!({"model_type": "llama", "model_file": "m.py"}), "model_file asks for custom")]
    #[case(json!({"model_type": "llama", "quantization": 4}), "quantization is not an object")]
    fn what_no_model_can_do_is_refused(#[case] fields: Value, #[case] message: &str) {
        let problem = Config::from_fields(fields).expect_err("refused");
        assert!(problem.starts_with(message), "{problem}");
    }
}
