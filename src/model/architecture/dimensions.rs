//! The sizes that every family's `config.json` gives under the same names, checked.

use serde::Deserialize;
use serde_json::Value;

/// Largest size of anything; real models stay far below.
const LARGEST: usize = 1 << 24;
/// Most layers; what is kept per layer is allocated before the first tensor is found.
const MOST_LAYERS: usize = 1 << 12;

/// The sizes of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::model) struct Dimensions {
    /// Width of the activations.
    pub(in crate::model) hidden_size: usize,
    /// Layers.
    pub(in crate::model) layers: usize,
    /// Query heads.
    pub(in crate::model) heads: usize,
    /// Key and value heads.
    pub(in crate::model) kv_heads: usize,
    /// Elements per head.
    pub(in crate::model) head_dim: usize,
    /// Width of the feed-forward layer.
    pub(in crate::model) intermediate_size: usize,
    /// Tokens.
    pub(in crate::model) vocab_size: usize,
    /// Epsilon of the norms.
    pub(in crate::model) rms_norm_eps: f32,
}

/// The sizes as written.
#[derive(Debug, Deserialize)]
struct Wire {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    rms_norm_eps: f32,
}

impl Dimensions {
    /// Reads and checks the sizes. Without `num_key_value_heads` every query head has its own
    /// keys; without `head_dim` the heads share the hidden size.
    ///
    /// # Errors
    /// If one is missing, or no model has it.
    pub(super) fn read(config: &Value) -> Result<Self, String> {
        let wire: Wire = super::read(config)?;
        for (field, value, largest) in [
            ("hidden_size", wire.hidden_size, LARGEST),
            ("num_hidden_layers", wire.num_hidden_layers, MOST_LAYERS),
            ("num_attention_heads", wire.num_attention_heads, LARGEST),
            ("intermediate_size", wire.intermediate_size, LARGEST),
            ("vocab_size", wire.vocab_size, LARGEST),
        ] {
            if value == 0 || value > largest {
                return Err(format!("{field} is {value}, which no model has"));
            }
        }
        let heads = wire.num_attention_heads;
        let kv_heads = wire.num_key_value_heads.unwrap_or(heads);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(format!(
                "num_key_value_heads is {kv_heads}, which does not divide the {heads} attention heads"
            ));
        }
        let head_dim = wire.head_dim.unwrap_or(wire.hidden_size / heads);
        if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > 1 << 16 {
            return Err(format!("head_dim is {head_dim}, but must be even"));
        }
        if !wire.rms_norm_eps.is_finite() || wire.rms_norm_eps < 0.0 {
            return Err(format!("rms_norm_eps is {}", wire.rms_norm_eps));
        }
        Ok(Self {
            hidden_size: wire.hidden_size,
            layers: wire.num_hidden_layers,
            heads,
            kv_heads,
            head_dim,
            intermediate_size: wire.intermediate_size,
            vocab_size: wire.vocab_size,
            rms_norm_eps: wire.rms_norm_eps,
        })
    }

    /// The same with heads that share the hidden size, for families that never read `head_dim`.
    ///
    /// # Errors
    /// If that gives heads of an odd size.
    pub(super) fn with_shared_width(self) -> Result<Self, String> {
        let head_dim = self.hidden_size / self.heads;
        match head_dim > 0 && head_dim.is_multiple_of(2) {
            true => Ok(Self { head_dim, ..self }),
            false => Err(format!(
                "hidden_size / num_attention_heads is {head_dim}, but must be even"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn minimal() -> Value {
        json!({
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 128, "vocab_size": 256, "rms_norm_eps": 1e-5,
        })
    }

    #[rstest]
    #[case("num_key_value_heads", json!(3), "num_key_value_heads is 3")]
    #[case("head_dim", json!(7), "head_dim is 7")]
    #[case("hidden_size", json!(0), "hidden_size is 0")]
    #[case("vocab_size", json!(1u64 << 40), "vocab_size is 1099511627776")]
    #[case("num_hidden_layers", json!(10_000), "num_hidden_layers is 10000")]
    #[case("rms_norm_eps", json!(-1.0), "rms_norm_eps is -1")]
    #[case("vocab_size", json!(null), "vocab_size: invalid type: null")]
    fn impossible_sizes_are_refused(
        #[case] field: &str,
        #[case] value: Value,
        #[case] message: &str,
    ) {
        let mut json = minimal();
        json[field] = value;
        let problem = Dimensions::read(&json).expect_err("refused");
        assert!(problem.starts_with(message), "{problem}");
    }

    #[test]
    fn absent_sizes_follow_from_the_others() {
        let dimensions = Dimensions::read(&minimal()).expect("complete");
        assert_eq!((dimensions.kv_heads, dimensions.head_dim), (4, 16));
        let mut json = minimal();
        json["head_dim"] = json!(32);
        let dimensions = Dimensions::read(&json).expect("complete");
        assert_eq!(dimensions.head_dim, 32);
        let shared = dimensions.with_shared_width().expect("even");
        assert_eq!(shared.head_dim, 16);
    }
}
