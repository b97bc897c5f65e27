//! What each family refuses by name, and where its decoders differ from the plain one.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::model::Config;

fn config(model_type: &str, fields: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "hidden_size": 64, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "intermediate_size": 128, "vocab_size": 256, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512, "rope_theta": 10_000.0, "tie_word_embeddings": true,
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    config
}

fn lower(model_type: &str, fields: Value) -> Result<DecoderSpec, String> {
    spec(&Config::from_fields(config(model_type, fields))?)
}

#[rstest]
#[case("gpt2", json!({}), "model_type 'gpt2' is not supported")]
#[case("llama", json!({"hidden_act": "gelu"}), "hidden_act 'gelu' is not supported")]
#[case("gemma2", json!({"hidden_activation": "relu"}), "hidden_activation 'relu' is not")]
#[case("llama", json!({"rope_theta": 0.5}), "rope_theta is 0.5")]
#[case("llama", json!({"rope_scaling": {"type": "ntk"}}), "rope_scaling of type 'ntk'")]
#[case("llama", json!({"rope_scaling": {"type": "linear"}}), "rope_scaling has no factor")]
#[case("llama", json!({"rope_scaling": {"type": "linear", "factor": 0.0}}), "rope_scaling has a factor of 0")]
#[case("llama", json!({"rope_scaling": {"type": "longrope", "short_factor": 1.0, "long_factor": [1.0], "original_max_position_embeddings": 8}}), "rope_scaling has 1 long_factor, but 8 pairs")]
#[case("llama", json!({"rope_scaling": {"type": "longrope", "short_factor": 1.0, "long_factor": 1.0}}), "rope_scaling has no original_max")]
#[case("llama", json!({"rope_scaling": {"type": "longrope", "short_factor": 1.0, "long_factor": 0.0, "original_max_position_embeddings": 8}}), "rope_scaling gives a rotation that is not a number")]
#[case("llama", json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": null}), "max_position_embeddings is missing")]
#[case("llama", json!({"rope_parameters": {"rope_theta": 5e5}}), "rope_parameters disagree")]
#[case("llama", json!({"rope_parameters": {"rope_type": "yarn"}}), "rope_parameters disagree")]
#[case("llama", json!({"layer_types": ["full_attention"]}), "layer_types has 1 entries for 6 layers")]
#[case("llama", json!({"layer_types": ["sliding_attention", "full_attention", "full_attention", "full_attention", "full_attention", "full_attention"]}), "sliding_window is missing")]
#[case("llama", json!({"sliding_window": 8, "layer_types": vec!["sliding_attention"; 6]}), "layer_types has no full_attention")]
#[case("qwen2", json!({"use_sliding_window": true}), "use_sliding_window is not supported")]
#[case("qwen2", json!({"num_key_value_heads": null}), "num_key_value_heads is missing")]
#[case("qwen3", json!({"rope_theta": null}), "rope_theta is missing")]
#[case("qwen3", json!({"tie_word_embeddings": null}), "tie_word_embeddings is missing")]
#[case("gemma2", json!({"head_dim": null}), "head_dim is missing")]
#[case("gemma2", json!({"rope_scaling": {"type": "linear", "factor": 2.0}}), "rope_scaling is not supported for gemma2")]
#[case("gemma3_text", json!({"sliding_window_pattern": 0}), "sliding_window and")]
#[case("gemma3_text", json!({"layer_types": vec!["full_attention"; 6]}), "layer_types disagrees")]
#[case("gemma3", json!({}), "text_config is missing")]
#[case("phi3", json!({"rope_scaling": {"type": "yarn", "long_factor": 1.0}}), "rope_scaling of type 'yarn' is not supported for phi3")]
#[case("phi3", json!({"rope_scaling": {"type": "linear", "factor": 2.0}}), "rope_scaling has no long_factor")]
#[case("phi3", json!({"partial_rotary_factor": 0.2}), "3 of 16 elements of a head would turn")]
fn what_would_give_other_tokens_is_refused_by_name(
    #[case] model_type: &str,
    #[case] fields: Value,
    #[case] message: &str,
) {
    let problem = lower(model_type, fields).expect_err("refused");
    assert!(problem.starts_with(message), "{problem}");
}

#[rstest]
#[case("llama", 10_000.0)]
#[case("qwen2", 1_000_000.0)]
#[case("gemma2", 10_000.0)]
#[case("gemma3_text", 1_000_000.0)]
#[case("phi3", 10_000.0)]
fn the_base_of_the_rotation_has_a_default_per_family(#[case] model_type: &str, #[case] base: f32) {
    let spec = lower(model_type, json!({ "rope_theta": null })).expect("supported");
    let expected = crate::backend::Rope::plain(16, base).frequencies;
    assert_eq!(spec.kinds[0].rope.frequencies, expected);
}

#[test]
fn gemma_3_has_a_global_layer_behind_each_five_local_ones() {
    let spec = lower("gemma3_text", json!({})).expect("supported");
    assert_eq!(spec.layer_kinds, [1, 1, 1, 1, 1, 0]);
    assert_eq!(
        (spec.kinds[0].window, spec.kinds[1].window),
        (None, Some(512))
    );
    assert_eq!(spec.attention_scale, 1.0 / 16.0);
    assert_eq!(spec.embedding_scale, Some(8.0));
    assert_eq!(spec.head, Head::OwnIfPresent);
}

#[test]
fn gemma_2_has_the_caps_of_the_paper_unless_told_otherwise() {
    let spec = lower("gemma2", json!({})).expect("supported");
    assert_eq!(
        (spec.attention_softcap, spec.logits_softcap),
        (Some(50.0), Some(30.0))
    );
    assert_eq!(spec.attention_scale, 1.0 / 12.0);
}

#[test]
fn the_text_part_of_gemma_3_takes_its_vocabulary_from_outside() {
    let inner = config("gemma3_text", json!({ "vocab_size": 1000 }));
    let spec = lower("gemma3", json!({ "text_config": inner })).expect("supported");
    assert_eq!(spec.dimensions.vocab_size, 256);
    assert_eq!(spec.prefix, "language_model.");
    assert!((spec.dropped)("vision_tower.x") && !(spec.dropped)("language_model.x"));
}

#[test]
fn a_window_applies_to_the_layers_that_ask_for_it() {
    let types = [
        "sliding_attention",
        "full_attention",
        "full_attention",
        "sliding_attention",
        "full_attention",
        "full_attention",
    ];
    let fields = json!({ "sliding_window": 32, "layer_types": types });
    let spec = lower("mistral", fields).expect("supported");
    assert_eq!(spec.layer_kinds, [1, 0, 0, 1, 0, 0]);
    assert_eq!(
        (spec.kinds[0].window, spec.kinds[1].window),
        (None, Some(32))
    );
    // Alone, `sliding_window` does nothing in mlx-lm.
    let spec = lower("mistral", json!({ "sliding_window": 32 })).expect("supported");
    assert_eq!(spec.layer_kinds, [0; 6]);
}
