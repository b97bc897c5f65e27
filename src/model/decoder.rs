//! The decoder block that the supported architectures share, and a running sequence over it.
//!
//! Pre-norm residual block: `x + attention(norm x)`, then `x + mlp(norm x)` with
//! `mlp(x) = down(silu(gate x) · up x)` (mlx-lm 0.32.2, `models/llama.py`).

use super::architecture::DecoderSpec;
use super::{Checkpoint, Config, ModelError, ModelFiles, architecture};
use crate::backend::{Activation, AttentionShape, Backend, Rope, Segment};

/// A loaded model over the backend that computes it.
pub struct Decoder<B: Backend> {
    backend: B,
    spec: DecoderSpec,
    description: String,
    embedding: B::Matrix,
    layers: Vec<Layer<B>>,
    norm: B::Vector,
    /// `None` if the embedding is the output layer.
    head: Option<B::Matrix>,
    rope: Rope,
    attention: AttentionShape,
}

/// One sequence of tokens: its KV cache, and how long it is.
pub struct Sequence<B: Backend> {
    cache: B::KvCache,
    position: usize,
}

impl<B: Backend> Sequence<B> {
    /// Tokens fed so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

/// What one sequence brings to a batch.
pub struct Feed<'a, B: Backend> {
    /// The sequence that is extended.
    pub sequence: &'a mut Sequence<B>,
    /// The tokens it is extended by, at least one.
    pub tokens: &'a [u32],
    /// Whether the logits after the last of them are wanted.
    pub logits: bool,
}

struct Layer<B: Backend> {
    input_norm: B::Vector,
    q: Linear<B>,
    k: Linear<B>,
    v: Linear<B>,
    o: Linear<B>,
    /// Norms over each query and key head, where the architecture has them.
    qk_norms: Option<[B::Vector; 2]>,
    mlp_norm: B::Vector,
    gate: Linear<B>,
    up: Linear<B>,
    down: Linear<B>,
}

struct Linear<B: Backend> {
    weight: B::Matrix,
    bias: Option<B::Vector>,
}

impl<B: Backend> Linear<B> {
    fn load(
        backend: &B,
        checkpoint: &mut Checkpoint,
        path: &str,
        [rows, cols]: [usize; 2],
        bias: bool,
    ) -> Result<Self, ModelError> {
        let weight = backend.matrix(checkpoint.matrix(path, rows, cols)?)?;
        let bias = match bias {
            true => Some(backend.vector(checkpoint.vector(&format!("{path}.bias"), rows)?)?),
            false => None,
        };
        Ok(Self { weight, bias })
    }

    fn apply(&self, backend: &B, x: &B::Tensor) -> Result<B::Tensor, ModelError> {
        Ok(backend.linear(x, &self.weight, self.bias.as_ref())?)
    }
}

impl<B: Backend> Decoder<B> {
    /// Loads a checkpoint onto a backend.
    ///
    /// # Errors
    /// If the checkpoint is missing, corrupt or not supported; the error names file and tensor.
    pub fn load(files: &ModelFiles, backend: B) -> Result<Self, ModelError> {
        let config = Config::read(files)?;
        let spec = architecture::spec(&config)
            .map_err(|problem| ModelError::file(files.label("config.json"), problem))?;
        Self::build(backend, spec, &mut Checkpoint::open(files)?)
    }

    fn build(
        backend: B,
        spec: DecoderSpec,
        checkpoint: &mut Checkpoint,
    ) -> Result<Self, ModelError> {
        let hidden = spec.hidden_size;
        let embedding =
            backend.matrix(checkpoint.matrix("model.embed_tokens", spec.vocab_size, hidden)?)?;
        let layers = (0..spec.layers)
            .map(|index| Layer::load(&backend, &spec, checkpoint, index))
            .collect::<Result<_, _>>()?;
        let norm = backend.vector(checkpoint.vector("model.norm.weight", hidden)?)?;
        let head = match spec.tied {
            true => None,
            false => {
                Some(backend.matrix(checkpoint.matrix("lm_head", spec.vocab_size, hidden)?)?)
            }
        };
        Ok(Self {
            description: format!(
                "{}, {:.1} M parameters, {}",
                spec.name,
                checkpoint.parameters() as f64 / 1e6,
                checkpoint.storage("model.layers.0.mlp.down_proj", spec.intermediate_size),
            ),
            rope: Rope::plain(spec.head_dim, spec.rope_theta),
            attention: AttentionShape {
                heads: spec.heads,
                kv_heads: spec.kv_heads,
                head_dim: spec.head_dim,
                scale: (spec.head_dim as f32).powf(-0.5),
                window: None,
                softcap: None,
            },
            backend,
            spec,
            embedding,
            layers,
            norm,
            head,
        })
    }

    /// Tokens in the vocabulary: the length of the logits.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.spec.vocab_size
    }

    /// One line for people: architecture, parameters, storage.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Bytes that one position takes in a KV cache of f32 elements.
    #[must_use]
    pub fn kv_bytes_per_position(&self) -> usize {
        let width = self.spec.kv_heads * self.spec.head_dim;
        2 * size_of::<f32>() * width * self.spec.layers
    }

    /// A new, empty sequence.
    ///
    /// # Errors
    /// If the backend has no room for it.
    pub fn start(&self) -> Result<Sequence<B>, ModelError> {
        Ok(Sequence {
            cache: self.backend.kv_cache(self.spec.layers)?,
            position: 0,
        })
    }

    /// A sequence that begins with the first `positions` tokens of another one, without
    /// computing them again.
    ///
    /// # Errors
    /// If the other is shorter than that, or the backend has no room.
    pub fn fork(
        &self,
        sequence: &Sequence<B>,
        positions: usize,
    ) -> Result<Sequence<B>, ModelError> {
        Ok(Sequence {
            cache: self.backend.fork(&sequence.cache, positions)?,
            position: positions,
        })
    }

    /// Extends every sequence of a batch by its tokens. Returns the logits after the last token
    /// of each sequence that wants them, in order.
    ///
    /// A sequence gets the same bits whatever else is in the batch, and however its tokens are
    /// cut into calls.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or the backend fails.
    pub fn feed(&self, batch: &mut [Feed<'_, B>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut tokens = Vec::new();
        let mut positions = Vec::new();
        let mut wanted = Vec::new();
        for feed in batch.iter() {
            let start = feed.sequence.position;
            tokens.extend_from_slice(feed.tokens);
            positions.extend(start..start + feed.tokens.len());
            if let Some(last) = tokens.len().checked_sub(1).filter(|_| feed.logits) {
                wanted.push(last);
            }
        }
        let mut segments: Vec<Segment<'_, B::KvCache>> = batch
            .iter_mut()
            .map(|feed| Segment {
                rows: feed.tokens.len(),
                cache: &mut feed.sequence.cache,
            })
            .collect();
        let x = self.blocks(&tokens, &positions, &mut segments)?;
        for feed in batch.iter_mut() {
            feed.sequence.position += feed.tokens.len();
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let backend = &self.backend;
        let last = backend.select(x, &wanted)?;
        let last = backend.rms_norm(&last, &self.norm, self.spec.rms_norm_eps)?;
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let logits = backend.to_host(backend.linear(&last, head, None)?)?;
        let rows = logits.chunks_exact(self.spec.vocab_size);
        Ok(rows.map(<[f32]>::to_vec).collect())
    }

    /// The activations behind the last layer.
    fn blocks(
        &self,
        tokens: &[u32],
        positions: &[usize],
        segments: &mut [Segment<'_, B::KvCache>],
    ) -> Result<B::Tensor, ModelError> {
        let backend = &self.backend;
        let eps = self.spec.rms_norm_eps;
        let mut x = backend.embed(&self.embedding, tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let normed = backend.rms_norm(&x, &layer.input_norm, eps)?;
            let qkv = self.project(layer, &normed, positions)?;
            let mixed = backend.attention(qkv, segments, index, &self.attention)?;
            x = backend.add(x, &layer.o.apply(backend, &mixed)?)?;

            let normed = backend.rms_norm(&x, &layer.mlp_norm, eps)?;
            let gate = layer.gate.apply(backend, &normed)?;
            let up = layer.up.apply(backend, &normed)?;
            let inner = backend.gated(gate, &up, Activation::Silu)?;
            x = backend.add(x, &layer.down.apply(backend, &inner)?)?;
        }
        Ok(x)
    }

    /// Queries and keys, normed and rotated, and values.
    fn project(
        &self,
        layer: &Layer<B>,
        normed: &B::Tensor,
        positions: &[usize],
    ) -> Result<[B::Tensor; 3], ModelError> {
        let backend = &self.backend;
        let mut q = layer.q.apply(backend, normed)?;
        let mut k = layer.k.apply(backend, normed)?;
        let v = layer.v.apply(backend, normed)?;
        if let Some([q_norm, k_norm]) = &layer.qk_norms {
            q = backend.rms_norm(&q, q_norm, self.spec.rms_norm_eps)?;
            k = backend.rms_norm(&k, k_norm, self.spec.rms_norm_eps)?;
        }
        let q = backend.rope(q, &self.rope, positions)?;
        let k = backend.rope(k, &self.rope, positions)?;
        Ok([q, k, v])
    }
}

impl<B: Backend> Layer<B> {
    fn load(
        backend: &B,
        spec: &DecoderSpec,
        checkpoint: &mut Checkpoint,
        index: usize,
    ) -> Result<Self, ModelError> {
        let prefix = format!("model.layers.{index}");
        let hidden = spec.hidden_size;
        let q_width = spec.heads * spec.head_dim;
        let kv_width = spec.kv_heads * spec.head_dim;
        let mut linear = |name: &str, shape, bias| {
            Linear::load(
                backend,
                checkpoint,
                &format!("{prefix}.{name}"),
                shape,
                bias,
            )
        };
        let q = linear("self_attn.q_proj", [q_width, hidden], spec.qkv_bias)?;
        let k = linear("self_attn.k_proj", [kv_width, hidden], spec.qkv_bias)?;
        let v = linear("self_attn.v_proj", [kv_width, hidden], spec.qkv_bias)?;
        let o = linear("self_attn.o_proj", [hidden, q_width], spec.o_bias)?;
        let ffn = spec.intermediate_size;
        let gate = linear("mlp.gate_proj", [ffn, hidden], spec.mlp_bias)?;
        let up = linear("mlp.up_proj", [ffn, hidden], spec.mlp_bias)?;
        let down = linear("mlp.down_proj", [hidden, ffn], spec.mlp_bias)?;

        let mut norm = |name: &str, length| -> Result<B::Vector, ModelError> {
            let values = checkpoint.vector(&format!("{prefix}.{name}.weight"), length)?;
            Ok(backend.vector(values)?)
        };
        let qk_norms = match spec.qk_norm {
            true => Some([
                norm("self_attn.q_norm", spec.head_dim)?,
                norm("self_attn.k_norm", spec.head_dim)?,
            ]),
            false => None,
        };
        Ok(Self {
            input_norm: norm("input_layernorm", hidden)?,
            mlp_norm: norm("post_attention_layernorm", hidden)?,
            q,
            k,
            v,
            o,
            qk_norms,
            gate,
            up,
            down,
        })
    }
}
