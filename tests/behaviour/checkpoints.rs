//! Checkpoints that are damaged, or that ask for what would silently give other tokens: each is
//! one clear error that names the file, the tensor or the field, and the remedy.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rstest::rstest;
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");

/// A tensor that can be changed.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// A copy of a golden checkpoint that can be changed.
struct Checkpoint {
    config: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    fn open(name: &str) -> Self {
        let folder = Path::new(GOLDENS).join(name);
        let config = fs::read_to_string(folder.join("config.json")).expect("a config");
        let weights = fs::read(folder.join("model.safetensors")).expect("weights");
        let tensors = SafeTensors::deserialize(&weights).expect("tensors");
        Self {
            config: serde_json::from_str(&config).expect("JSON"),
            tensors: tensors
                .iter()
                .map(|(name, view)| {
                    let tensor = Tensor {
                        dtype: view.dtype(),
                        shape: view.shape().to_vec(),
                        data: view.data().to_vec(),
                    };
                    (name.to_owned(), tensor)
                })
                .collect(),
        }
    }

    fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.get_mut(name).expect(name)
    }

    /// Generates from it, which must fail with the code for a target that cannot be loaded, and
    /// returns what was said.
    #[track_caller]
    fn refusal(&self, prompt_ids: &str) -> String {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("config.json"), self.config.to_string()).expect("written");
        let views: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data);
                (name.clone(), view.expect("a tensor"))
            })
            .collect();
        serialize_to_file(views, None, &folder.path().join("model.safetensors")).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_loopwatch"))
            .args([
                "generate",
                "--json",
                "--temperature",
                "0",
                "--max-tokens",
                "8",
            ])
            .args(["--prompt-ids", prompt_ids, "--model"])
            .arg(folder.path())
            .output()
            .expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "accepted");
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }
}

const UP: &str = "model.layers.0.mlp.up_proj";

/// Sets the last element of a tensor.
fn last(tensor: &mut Tensor, bytes: &[u8]) {
    let start = tensor.data.len() - bytes.len();
    tensor.data[start..].copy_from_slice(bytes);
}

#[rstest]
#[case::affine("llama-3bit", "scales", &f32::NAN.to_le_bytes())]
#[case::bias("llama-3bit", "biases", &f32::INFINITY.to_le_bytes())]
#[case::bf16("qwen2-6bit-bf16", "scales", &[0x80, 0x7f])]
#[case::mxfp4("llama-mxfp4", "scales", &[0xff])]
#[case::nvfp4("qwen3-nvfp4", "scales", &[0x7f])]
fn scales_that_are_no_numbers_are_refused_by_name(
    #[case] checkpoint: &str,
    #[case] part: &str,
    #[case] bytes: &[u8],
) {
    let mut checkpoint = Checkpoint::open(checkpoint);
    let name = format!("{UP}.{part}");
    last(checkpoint.tensor(&name), bytes);
    let said = checkpoint.refusal("1,2");
    assert!(said.contains(&format!("tensor '{name}'")), "{said}");
    assert!(said.contains("infinite or not a number"), "{said}");
}

#[test]
fn a_tensor_that_the_configuration_has_no_place_for_is_refused() {
    // The bias would be ignored, and other tokens would come out.
    let mut checkpoint = Checkpoint::open("llama-3bit");
    let bias = Tensor {
        dtype: Dtype::F32,
        shape: vec![64],
        data: vec![0; 256],
    };
    let name = "model.layers.1.self_attn.q_proj.bias";
    checkpoint.tensors.insert(name.to_owned(), bias);
    let said = checkpoint.refusal("1,2");
    assert!(
        said.contains(&format!("tensor '{name}' is in the file")),
        "{said}"
    );
}

#[rstest]
#[case::no_quantization(
    "/quantization",
    Value::Null,
    "model.embed_tokens.scales' is there, but config.json has no 'quantization'"
)]
#[case::said_to_be_dense("/quantization/lm_head", json!(true), "lm_head.weight' has shape")]
#[case::other_width("/quantization/model.embed_tokens/bits", json!(4), "model.embed_tokens.weight' has shape [128, 16], but config.json needs [128, 8]")]
#[case::other_group("/quantization/model.layers.0.mlp.down_proj/group_size", json!(64), "model.layers.0.mlp.down_proj.scales' has shape")]
#[case::other_mode("/quantization/model.embed_tokens", json!({"mode": "mxfp8"}), "model.embed_tokens.scales' has shape")]
#[case::unknown_mode("/quantization/mode", json!("nf4"), "mode 'nf4' is not supported")]
fn a_configuration_that_the_tensors_contradict_is_refused(
    #[case] field: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    let mut checkpoint = Checkpoint::open("llama-mixed");
    let (parent, name) = field.rsplit_once('/').expect("a path");
    checkpoint
        .config
        .as_object_mut()
        .expect("an object")
        .shift_remove("quantization_config");
    checkpoint.config.pointer_mut(parent).expect(parent)[name] = value;
    let said = checkpoint.refusal("1,2");
    // Errors are wrapped to the width of a terminal.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(expected), "{said}");
}

#[test]
fn dynamic_scaling_has_no_exact_answer_beyond_its_length() {
    let mut checkpoint = Checkpoint::open("llama-rope-dynamic");
    checkpoint.config["max_position_embeddings"] = json!(4);
    let said = checkpoint.refusal("1,2,3,4,5");
    assert!(said.contains("longer than 4 tokens"), "{said}");
}
