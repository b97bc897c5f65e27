//! The weights and their configuration: a Llama that computes its next-token table and nothing
//! else.
//!
//! Each row of the table has a dimension of the activations for itself. The embedding of a token
//! is `√hidden` in the dimension of its row and 0 elsewhere, so its mean square is 1, and RMSNorm
//! (weight 1) leaves it as it is but for the factor `1/√(1 + eps)`, which all logits share. The
//! attention and feed-forward layers are zero, so the residual stream is the embedding. The
//! output layer holds `logit / √hidden`: the logits that come out are those of the table, up to
//! a common factor of about 1 - 5e-7 and f32 rounding.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::table::{FLOOR, Graph, Reserved, State, Target};

/// Elements per head: one that every attention kernel knows.
const HEAD_DIM: usize = 64;
/// Width of the feed-forward layer.
const INTERMEDIATE: usize = 64;
/// Widths are multiples of this, so that the checkpoint can be quantised in any group size.
const WIDTH_STEP: usize = 128;

/// Rows of the table that no state owns: every token of a prompt, and the one behind a tool's
/// result.
const PROMPT_ROW: usize = 0;
const TOOL_ROW: usize = 1;
const FIRST_STATE_ROW: usize = 2;

/// The sizes of a scripted checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    vocab: usize,
    hidden: usize,
}

impl Shape {
    pub(super) fn of(graph: &Graph, vocab: usize) -> Self {
        let rows = FIRST_STATE_ROW + graph.states.len();
        Self {
            vocab,
            hidden: rows.next_multiple_of(WIDTH_STEP),
        }
    }
}

pub(super) fn config(shape: &Shape) -> Vec<u8> {
    pretty(&json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": HEAD_DIM,
        "vocab_size": shape.vocab,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": 131_072,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": false,
        "torch_dtype": "float32",
        "bos_token_id": null,
        "eos_token_id": Reserved::MessageEnd.id(),
    }))
}

pub(super) fn generation_config() -> Vec<u8> {
    pretty(&json!({"eos_token_id": Reserved::MessageEnd.id(), "do_sample": false}))
}

/// JSON for people: indented, with a line end.
pub(super) fn pretty(value: &serde_json::Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

/// The weight file: two tables, ones for the norms, zeros for the rest.
pub(super) fn safetensors(
    graph: &Graph,
    shape: &Shape,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let Shape { vocab, hidden } = *shape;
    let ones = bytes(&vec![1.0; hidden]);
    let layer = "model.layers.0";
    let mut tensors: Vec<(String, [usize; 2], Vec<u8>)> = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            [vocab, hidden],
            bytes(&embedding(graph, shape)),
        ),
        (
            "lm_head.weight".to_owned(),
            [vocab, hidden],
            bytes(&head(graph, shape)),
        ),
    ];
    for (name, rows, cols) in [
        ("self_attn.q_proj", HEAD_DIM, hidden),
        ("self_attn.k_proj", HEAD_DIM, hidden),
        ("self_attn.v_proj", HEAD_DIM, hidden),
        ("self_attn.o_proj", hidden, HEAD_DIM),
        ("mlp.gate_proj", INTERMEDIATE, hidden),
        ("mlp.up_proj", INTERMEDIATE, hidden),
        ("mlp.down_proj", hidden, INTERMEDIATE),
    ] {
        let zeros = vec![0; rows * cols * size_of::<f32>()];
        tensors.push((format!("{layer}.{name}.weight"), [rows, cols], zeros));
    }
    let norms = [
        "model.norm.weight".to_owned(),
        format!("{layer}.input_layernorm.weight"),
        format!("{layer}.post_attention_layernorm.weight"),
    ];
    let matrices = tensors
        .iter()
        .map(|(name, shape, data)| (name.as_str(), shape.to_vec(), data.as_slice()));
    let vectors = norms
        .iter()
        .map(|name| (name.as_str(), vec![hidden], ones.as_slice()));
    let views = matrices
        .chain(vectors)
        .map(|(name, shape, data)| {
            TensorView::new(Dtype::F32, shape, data).map(|view| (name, view))
        })
        .collect::<Result<Vec<_>, _>>()?;
    // transformers refuses a file that does not say which framework's layout it has.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// `[vocab, hidden]`: the row of the table that each token selects.
fn embedding(graph: &Graph, shape: &Shape) -> Vec<f32> {
    let mut rows = vec![PROMPT_ROW; shape.vocab];
    let states = graph.ids().into_iter().zip(FIRST_STATE_ROW..);
    for (id, row) in states.chain([(Reserved::ToolTurn.id(), TOOL_ROW)]) {
        rows[id as usize] = row;
    }
    let one = (shape.hidden as f32).sqrt();
    let mut matrix = vec![0.0; shape.vocab * shape.hidden];
    for (token, row) in matrix.chunks_exact_mut(shape.hidden).zip(rows) {
        token[row] = one;
    }
    matrix
}

/// `[vocab, hidden]`: column `r` holds the logits of row `r` of the table.
fn head(graph: &Graph, shape: &Shape) -> Vec<f32> {
    let ids = graph.ids();
    let id = |target: Target| match target {
        Target::State(index) => ids[index] as usize,
        Target::End => Reserved::MessageEnd.id() as usize,
    };
    let begin = |state| vec![(Target::State(state), State::LOGIT)];
    let rows = [begin(graph.start), begin(graph.after_tool)];
    let scale = (shape.hidden as f32).sqrt();
    let used = FIRST_STATE_ROW + graph.states.len();
    let mut matrix = vec![0.0; shape.vocab * shape.hidden];
    for token in matrix.chunks_exact_mut(shape.hidden) {
        token[..used].fill(FLOOR / scale);
    }
    let next = rows
        .iter()
        .chain(graph.states.iter().map(|state| &state.next));
    for (row, next) in next.enumerate() {
        for (target, logit) in next {
            matrix[id(*target) * shape.hidden + row] = logit / scale;
        }
    }
    matrix
}
