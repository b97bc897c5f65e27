//! Corrupted checkpoints: each is refused with one line that names file and tensor or field,
//! without a panic, and without memory for what the damage only declares.
//!
//! A valid scripted checkpoint is spoilt in one way per case, and the program runs with its
//! address space limited to far less than any size that a case declares.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use serde_json::{Map, Value, json};

use crate::support::{Sandbox, repository};

/// Address space of the program, in KiB: a healthy run of this checkpoint needs 200 MiB of it,
/// mostly for the program itself; the damage declares 4 GiB and more.
const ADDRESS_SPACE_KIB: u64 = 1 << 20;

/// A valid checkpoint in a folder called `model`.
struct Checkpoint {
    sandbox: Sandbox,
}

/// A weight file taken apart.
struct Weights {
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Weights {
    fn bytes(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).expect("JSON");
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], &header, &self.data].concat()
    }
}

impl Checkpoint {
    fn valid() -> Self {
        let sandbox = Sandbox::new();
        let script = repository("scenarios/checkpoints/period-five.yaml");
        sandbox
            .run(&["checkpoint", &script, "model"])
            .expect_code(0);
        Self { sandbox }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.sandbox.path("model").join(file)
    }

    fn write(&self, file: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(file), contents).expect("written");
    }

    fn raw(&self) -> Vec<u8> {
        fs::read(self.path("model.safetensors")).expect("weights")
    }

    fn weights(&self) -> Weights {
        let raw = self.raw();
        let (length, rest) = raw.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
        let (header, data) = rest.split_at(length);
        Weights {
            header: serde_json::from_slice(header).expect("JSON"),
            data: data.to_vec(),
        }
    }

    /// Changes one tensor's entry in the header.
    fn declare(&self, tensor: &str, field: &str, value: Value) {
        let mut weights = self.weights();
        weights.header[tensor][field] = value;
        self.write("model.safetensors", weights.bytes());
    }

    fn configure(&self, field: &str, value: Value) {
        let text = fs::read_to_string(self.path("config.json")).expect("config");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config[field] = value;
        self.write("config.json", config.to_string());
    }

    /// Generates two tokens; the code and what stands on stderr.
    fn generate(&self, prompt: [&str; 2]) -> (i32, String) {
        let arguments = [
            "generate",
            "--json",
            "--threads",
            "1",
            "--max-tokens",
            "2",
            "--model",
            "model",
        ];
        let mut command = limited(&self.sandbox.command(&[&arguments[..], &prompt].concat()));
        let output = command
            .current_dir(self.sandbox.path(""))
            .env_remove("RUST_BACKTRACE")
            .output()
            .expect("runs");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        (output.status.code().unwrap_or(-1), text)
    }
}

/// The same command under a limit, where the system can set one.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!(
            "[ \"$(uname)\" != Linux ] || ulimit -v {ADDRESS_SPACE_KIB}; exec \"$0\" \"$@\""
        ))
        .arg(command.get_program())
        .args(command.get_args());
    limited
}

/// Spoils a checkpoint in the way of a case.
fn spoil(checkpoint: &Checkpoint, damage: &str) {
    let norm = "model.norm.weight";
    match damage {
        "truncated" => {
            let raw = checkpoint.raw();
            checkpoint.write("model.safetensors", &raw[..raw.len() - 100]);
        }
        "huge header" | "header beyond the file" => {
            let length: u64 = if damage == "huge header" {
                1 << 62
            } else {
                99_000_000
            };
            let raw = checkpoint.raw();
            let bytes = [&length.to_le_bytes()[..], &raw[8..]].concat();
            checkpoint.write("model.safetensors", bytes);
        }
        "overlapping offsets" => {
            let embedding = "model.embed_tokens.weight";
            let weights = checkpoint.weights();
            let offset = |end: usize| weights.header[embedding]["data_offsets"][end].as_u64();
            let [start, end] = [0, 1].map(|end| offset(end).expect("an offset") - 4);
            checkpoint.declare(embedding, "data_offsets", json!([start, end]));
        }
        "overflowing shape" => checkpoint.declare(norm, "shape", json!([1_u64 << 40, 1_u64 << 40])),
        "wrong shape" => checkpoint.declare(norm, "shape", json!([64, 2])),
        "wrong type" => checkpoint.declare(norm, "dtype", json!("I32")),
        "missing tensor" => {
            let mut weights = checkpoint.weights();
            let entry = weights.header.remove(norm).expect("the norm");
            weights.header.insert("model.norm.wait".to_owned(), entry);
            checkpoint.write("model.safetensors", weights.bytes());
        }
        "duplicate tensor" => {
            let raw = checkpoint.raw();
            checkpoint.write("model-2.safetensors", raw);
        }
        "not a number" => {
            let mut weights = checkpoint.weights();
            let start = weights.header[norm]["data_offsets"][0]
                .as_u64()
                .expect("an offset") as usize;
            let third = start + 2 * size_of::<f32>();
            weights.data[third..third + 4].copy_from_slice(&f32::NAN.to_le_bytes());
            checkpoint.write("model.safetensors", weights.bytes());
        }
        "unknown architecture" => checkpoint.configure("model_type", json!("gpt2")),
        "absurd layers" => checkpoint.configure("num_hidden_layers", json!(1 << 24)),
        "absurd width" => checkpoint.configure("hidden_size", json!(1 << 24)),
        "absurd vocabulary" => checkpoint.configure("vocab_size", json!(1 << 24)),
        "impossible vocabulary" => checkpoint.configure("vocab_size", json!(1_u64 << 60)),
        "negative width" => checkpoint.configure("hidden_size", json!(-1)),
        "end of no type" => checkpoint.write("generation_config.json", r#"{"eos_token_id": "x"}"#),
        "cut configuration" => checkpoint.write("config.json", r#"{"model_type": "lla"#),
        "tokenizer of no form" => checkpoint.write("tokenizer.json", "nope"),
        "tokenizer beyond the embedding" => {
            let text = fs::read_to_string(checkpoint.path("tokenizer.json")).expect("a tokenizer");
            let mut tokenizer: Value = serde_json::from_str(&text).expect("JSON");
            tokenizer["model"]["vocab"]["<0x69>"] = json!(5000);
            checkpoint.write("tokenizer.json", tokenizer.to_string());
        }
        _ => spoil_template(checkpoint, damage),
    }
}

fn spoil_template(checkpoint: &Checkpoint, damage: &str) {
    let template = match damage {
        "endless template" => {
            "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}"
                .to_owned()
        }
        "template that includes itself" => "{% include 'chat_template.jinja' %}".to_owned(),
        "macro that calls itself" => "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(),
        // 200 bytes ten million times: 2 GB, at less work than a template may do.
        "template that writes without end" => format!(
            "{{% for a in range(99999) %}}{{% for b in range(99) %}}{}{{% endfor %}}{{% endfor %}}",
            "a".repeat(200)
        ),
        other => panic!("no such damage: {other}"),
    };
    checkpoint.write("chat_template.jinja", template);
}

const SAFETENSORS: &str = "model/model.safetensors: not a complete safetensors file";

#[rstest]
#[case(
    "truncated",
    "SAFETENSORS (incomplete metadata, file not fully covered); fetch it again"
)]
#[case("huge header", "SAFETENSORS (header too large); fetch it again")]
#[case(
    "header beyond the file",
    "SAFETENSORS (invalid header length); fetch it again"
)]
#[case(
    "overlapping offsets",
    "SAFETENSORS (invalid offset for tensor `model.embed_tokens.weight`); fetch it again"
)]
#[case(
    "overflowing shape",
    "SAFETENSORS (overflow computing buffer size from shape and/or element type); fetch it again"
)]
#[case(
    "wrong shape",
    "model/model.safetensors: tensor 'model.norm.weight' has shape [64, 2], but config.json needs [128]"
)]
#[case(
    "wrong type",
    "model/model.safetensors: tensor 'model.norm.weight' has type I32; supported are F32, F16 and BF16"
)]
#[case(
    "missing tensor",
    "model/model.safetensors: tensor 'model.norm.weight' is missing"
)]
#[case(
    "duplicate tensor",
    "model/model.safetensors: tensor 'lm_head.weight' stands in model/model-2.safetensors as well"
)]
#[case(
    "not a number",
    "model/model.safetensors: tensor 'model.norm.weight' holds NaN at element 2"
)]
#[case(
    "unknown architecture",
    "model/config.json: model_type 'gpt2' is not supported"
)]
#[case(
    "absurd layers",
    "model/config.json: num_hidden_layers is 16777216, which no model has"
)]
#[case(
    "absurd width",
    "model/model.safetensors: tensor 'model.embed_tokens.weight' has shape [273, 128], but config.json needs [273, 16777216]"
)]
#[case(
    "absurd vocabulary",
    "model/model.safetensors: tensor 'model.embed_tokens.weight' has shape [273, 128], but config.json needs [16777216, 128]"
)]
#[case(
    "impossible vocabulary",
    "model/config.json: vocab_size is 1152921504606846976, which no model has"
)]
#[case(
    "negative width",
    "model/config.json: hidden_size: invalid value: integer `-1`, expected usize"
)]
#[case(
    "end of no type",
    "model/generation_config.json: eos_token_id is neither a token id nor a list of them"
)]
#[case(
    "cut configuration",
    "model/config.json: EOF while parsing a string at line 1 column 19"
)]
#[case(
    "tokenizer of no form",
    "model/tokenizer.json: tokenizer: expected ident at line 1 column 2"
)]
#[case(
    "tokenizer beyond the embedding",
    "model/tokenizer.json: the prompt has token id 5000, but the model's vocabulary has 273 tokens"
)]
#[case(
    "endless template",
    "model: chat template: engine ran out of fuel (in chat_template.jinja:1)"
)]
#[case(
    "template that includes itself",
    "model: chat template: could not render include: error in \"chat_template.jinja\" (in chat_template.jinja:1): invalid operation: recursion limit exceeded"
)]
#[case(
    "macro that calls itself",
    "model: chat template: invalid operation: recursion limit exceeded"
)]
#[case(
    "template that writes without end",
    "the prompt has more than 67108864 bytes"
)]
fn a_corrupted_checkpoint_is_refused_in_one_line(#[case] damage: &str, #[case] message: &str) {
    let checkpoint = Checkpoint::valid();
    let (code, text) = checkpoint.generate(["--prompt", "hi"]);
    assert_eq!(code, 0, "before the damage: {text}");
    spoil(&checkpoint, damage);
    let (code, text) = checkpoint.generate(["--prompt", "hi"]);
    assert_eq!(code, 101, "{text}");
    let message = message.replace("SAFETENSORS", SAFETENSORS);
    assert!(
        text.starts_with("error: ") && text.contains(&message),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// A quantised checkpoint with a scale that is not a number, and no tokenizer.
#[test]
fn a_scale_that_is_not_a_number_is_named() {
    let checkpoint = Checkpoint {
        sandbox: Sandbox::new(),
    };
    let source = repository("tests/goldens/qwen2-4bit");
    fs::create_dir(checkpoint.path("")).expect("the folder");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(Path::new(&source).join(file), checkpoint.path(file)).expect("copied");
    }
    let scales = "model.layers.0.mlp.down_proj.scales";
    let mut weights = checkpoint.weights();
    let start = weights.header[scales]["data_offsets"][0]
        .as_u64()
        .expect("an offset") as usize;
    weights.data[start..start + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    checkpoint.write("model.safetensors", weights.bytes());
    let (code, text) = checkpoint.generate(["--prompt-ids", "1,2"]);
    let message =
        format!("error: model/model.safetensors: tensor '{scales}' holds inf at element 0\n");
    assert_eq!((code, text), (101, message));
}

/// The limit itself works: a program that takes more than it ends in failure.
#[cfg(target_os = "linux")]
#[test]
fn the_limit_is_a_limit() {
    let mut greedy = Command::new("dd");
    let more = format!("bs={}K", 2 * ADDRESS_SPACE_KIB);
    greedy.args(["if=/dev/zero", "of=/dev/null", "count=1", &more]);
    let status = limited(&greedy).output().expect("runs").status;
    assert!(!status.success());
}
