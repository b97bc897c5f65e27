//! What `config.json` says about quantisation: which matrices are packed, and how.
//!
//! Knows the keys `quantization` and `quantization_config` as mlx-lm 0.32.2 reads them
//! (`utils.py`, `load_model`). Does not know tensors; `packed` compares the two.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::backend::Microformat;

/// How the elements of a matrix are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Integers with a scale and a bias per group.
    Affine { bits: usize, group_size: usize },
    /// Small floating-point numbers with a scale per group.
    Micro(Microformat),
}

/// What a configuration says about one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It is not quantised.
    Dense,
    /// It is packed in just this way.
    Packed(Packing),
    /// The shapes of its tensors decide.
    Infer,
}

/// The quantisation of a checkpoint: rulings for named matrices. Shapes decide about all others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantization {
    rulings: HashMap<String, Ruling>,
}

/// One set of parameters as written. Unknown ones would be refused by MLX as well.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    mode: Option<String>,
    bits: Option<usize>,
    group_size: Option<usize>,
    #[serde(default)]
    quantize_input: bool,
}

impl Quantization {
    /// Reads the quantisation of a whole `config.json`; `None` if nothing is quantised.
    ///
    /// # Errors
    /// If it is written in a way, or asks for a format, that is not supported.
    pub(super) fn read(config: &Value) -> Result<Option<Self>, String> {
        if config.get("quantize_activations").and_then(Value::as_bool) == Some(true) {
            return Err("quantize_activations is not supported".to_owned());
        }
        let given = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
        if let Some(quantization) = given(config.get("quantization")) {
            return Self::read_mlx(&quantization).map(Some);
        }
        let nested = config
            .get("text_config")
            .and_then(|text| text.get("quantization_config"));
        match given(config.get("quantization_config")).or_else(|| given(nested)) {
            Some(foreign) => Self::read_foreign(&foreign).map(Some),
            None => Ok(None),
        }
    }

    /// MLX's own form: parameters for all matrices, and overrides under the paths of modules.
    fn read_mlx(quantization: &Value) -> Result<Self, String> {
        let Value::Object(entries) = quantization else {
            return Err("quantization is not an object".to_owned());
        };
        for key in ["group_size", "bits"] {
            if !entries.contains_key(key) {
                return Err(format!("quantization has no {key}"));
            }
        }
        let default = || Wire {
            mode: entries
                .get("mode")
                .and_then(Value::as_str)
                .map(str::to_owned),
            bits: number(entries, "bits"),
            group_size: number(entries, "group_size"),
            quantize_input: false,
        };
        check_mode(default().mode.as_deref())?;
        let mut rulings = HashMap::new();
        for (path, value) in entries {
            let in_place = |problem| format!("quantization of '{path}': {problem}");
            let ruling = match value {
                Value::Bool(false) => Ruling::Dense,
                Value::Bool(true) => Ruling::Packed(default().lower().map_err(in_place)?),
                Value::Object(_) => {
                    let wire: Wire = serde_json::from_value(value.clone())
                        .map_err(|error| in_place(error.to_string()))?;
                    Ruling::Packed(wire.lower().map_err(in_place)?)
                }
                _ => continue,
            };
            rulings.insert(path.clone(), ruling);
        }
        Ok(Self { rulings })
    }

    /// The form of other programs. Those whose tensors are packed as MLX packs them are read by
    /// shape.
    fn read_foreign(config: &Value) -> Result<Self, String> {
        match config.get("quant_method").and_then(Value::as_str) {
            Some("mxfp4" | "mxfp8") => Ok(Self::default()),
            Some(method) => Err(format!(
                "quantization_config with quant_method '{method}' is not supported; convert the model with mlx_lm.convert"
            )),
            None => Err(
                "quantization_config has no quant_method; MLX's own parameters stand under 'quantization'"
                    .to_owned(),
            ),
        }
    }

    /// What is said about the matrix at a module path, such as `model.layers.0.mlp.up_proj`.
    pub(super) fn ruling(&self, path: &str) -> Ruling {
        self.rulings.get(path).copied().unwrap_or(Ruling::Infer)
    }
}

fn number(entries: &Map<String, Value>, key: &str) -> Option<usize> {
    let number = entries.get(key)?.as_u64()?;
    usize::try_from(number).ok()
}

fn check_mode(mode: Option<&str>) -> Result<Option<Microformat>, String> {
    match mode {
        None | Some("affine") => Ok(None),
        Some(mode) => Microformat::ALL
            .into_iter()
            .find(|format| format.name() == mode)
            .map(Some)
            .ok_or_else(|| {
                format!("mode '{mode}' is not supported; affine, mxfp4, nvfp4 and mxfp8 are")
            }),
    }
}

impl Wire {
    fn lower(self) -> Result<Packing, String> {
        if self.quantize_input {
            return Err("quantize_input is not supported".to_owned());
        }
        let (bits, group_size) = (self.bits, self.group_size);
        let Some(format) = check_mode(self.mode.as_deref())? else {
            return Packing::affine(bits.unwrap_or(4), group_size.unwrap_or(64));
        };
        let fits = bits.is_none_or(|bits| bits == format.bits())
            && group_size.is_none_or(|size| size == format.group_size());
        match fits {
            true => Ok(Packing::Micro(format)),
            false => Err(format!(
                "{} has {} bits in groups of {}, not {bits:?} in {group_size:?}",
                format.name(),
                format.bits(),
                format.group_size()
            )),
        }
    }
}

impl Packing {
    /// # Errors
    /// If MLX has no such width or group size.
    pub(super) fn affine(bits: usize, group_size: usize) -> Result<Self, String> {
        if !matches!(bits, 2..=6 | 8) {
            return Err(format!(
                "{bits} bits are not supported; 2, 3, 4, 5, 6 and 8 are"
            ));
        }
        if !matches!(group_size, 32 | 64 | 128) {
            return Err(format!(
                "groups of {group_size} are not supported; 32, 64 and 128 are"
            ));
        }
        Ok(Self::Affine { bits, group_size })
    }

    /// The packing that one-byte scales stand for, from the only pairs that exist (mlx-lm 0.32.2,
    /// `utils.py`, `infer_quant_config`).
    pub(super) fn micro(bits: usize, group_size: usize) -> Result<Self, String> {
        Microformat::ALL
            .into_iter()
            .find(|format| (format.bits(), format.group_size()) == (bits, group_size))
            .map(Self::Micro)
            .ok_or_else(|| {
                format!("{bits} bits in groups of {group_size} with scales of one byte are no format of MLX")
            })
    }

    pub(super) fn bits(self) -> usize {
        match self {
            Self::Affine { bits, .. } => bits,
            Self::Micro(format) => format.bits(),
        }
    }

    pub(super) fn group_size(self) -> usize {
        match self {
            Self::Affine { group_size, .. } => group_size,
            Self::Micro(format) => format.group_size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(config: Value) -> Result<Option<Quantization>, String> {
        Quantization::read(&config)
    }

    #[test]
    fn overrides_go_before_shapes() {
        let quantization = read(json!({"quantization": {
            "group_size": 32, "bits": 3, "mode": "affine",
            "model.embed_tokens": {"group_size": 64, "bits": 6},
            "lm_head": false,
            "model.layers.0.mlp.up_proj": {"mode": "nvfp4"},
            "model.layers.1.mlp.up_proj": true,
        }}));
        let quantization = quantization.expect("supported").expect("some");
        let affine = |bits, group_size| Ruling::Packed(Packing::Affine { bits, group_size });
        assert_eq!(quantization.ruling("model.embed_tokens"), affine(6, 64));
        assert_eq!(quantization.ruling("lm_head"), Ruling::Dense);
        assert_eq!(
            quantization.ruling("model.layers.0.mlp.up_proj"),
            Ruling::Packed(Packing::Micro(Microformat::Nvfp4))
        );
        assert_eq!(
            quantization.ruling("model.layers.1.mlp.up_proj"),
            affine(3, 32)
        );
        assert_eq!(quantization.ruling("model.norm"), Ruling::Infer);
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"quantization": null}))]
    fn no_key_means_no_quantisation(#[case] config: Value) {
        assert_eq!(read(config), Ok(None));
    }

    #[rstest]
    // mlx-lm writes both keys, and reads the first.
    #[case(json!({"quantization": {"group_size": 64, "bits": 4}, "quantization_config": {"group_size": 64, "bits": 4}}))]
    #[case(json!({"quantization_config": {"quant_method": "mxfp4"}}))]
    #[case(json!({"text_config": {"quantization_config": {"quant_method": "mxfp8"}}}))]
    fn aliases_of_mlx_lm_are_read(#[case] config: Value) {
        assert_eq!(read(config), Ok(Some(Quantization::default())));
    }

    #[rstest]
    #[case(json!({"quantization": {"bits": 4}}), "quantization has no group_size")]
    #[case(json!({"quantization": {"group_size": 64, "bits": 4, "mode": "int8"}}), "mode 'int8' is not supported")]
    #[case(json!({"quantization": {"group_size": 64, "bits": 4, "a": {"bits": 7}}}), "quantization of 'a': 7 bits")]
    #[case(json!({"quantization": {"group_size": 16, "bits": 4, "a": true}}), "quantization of 'a': groups of 16")]
    #[case(json!({"quantization": {"group_size": 64, "bits": 4, "a": {"mode": "mxfp8", "bits": 4}}}), "quantization of 'a': mxfp8 has 8 bits")]
    #[case(json!({"quantization": {"group_size": 64, "bits": 4, "a": {"global_scale": true}}}), "quantization of 'a': unknown field `global_scale`")]
    #[case(json!({"quantization": {"group_size": 64, "bits": 4, "a": {"quantize_input": true}}}), "quantization of 'a': quantize_input")]
    #[case(json!({"quantization_config": {"quant_method": "awq"}}), "quantization_config with quant_method 'awq'")]
    #[case(json!({"quantization_config": {"group_size": 64, "bits": 4}}), "quantization_config has no quant_method")]
    #[case(json!({"quantize_activations": true}), "quantize_activations")]
    fn other_forms_are_refused_by_name(#[case] config: Value, #[case] message: &str) {
        let problem = read(config).expect_err("refused");
        assert!(problem.starts_with(message), "{problem}");
    }
}
