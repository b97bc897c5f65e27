//! The forward pass that all architectures share, and running sequences over it.
//!
//! Residual blocks: `x + attention(norm x)`, then `x + mlp(norm x)` with
//! `mlp(x) = down(activation(gate x) · up x)`, and norms behind each part in some families
//! (mlx-lm 0.32.2, `models/llama.py` and `models/gemma3_text.py`). What differs between families
//! stands in `DecoderSpec`.

use super::architecture::{DecoderSpec, Head};
use super::layer::{Layer, Linear, Loader};
use super::{Checkpoint, Config, Logits, ModelError, ModelFiles, architecture};
use crate::backend::{Backend, BackendError, Segment};

/// A loaded model over the backend that computes it.
pub struct Decoder<B: Backend> {
    pub(super) backend: B,
    pub(super) spec: DecoderSpec,
    pub(super) pass: Pass<B>,
    description: String,
    embedding: B::Matrix,
    layers: Vec<Layer<B>>,
    norm: B::Vector,
    /// `None` if the embedding is the output layer.
    head: Option<B::Matrix>,
}

/// How a batch is computed: whole, or in parts.
pub(super) type Pass<B> = fn(&Decoder<B>, &mut [Feed<'_, B>]) -> Result<Logits, ModelError>;

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
    /// Whose logits are wanted.
    pub logits: Wanted,
}

/// The tokens of a feed behind which logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// No token's: more of the text follows.
    None,
    /// The last one's, to go on from there.
    Last,
    /// Each one's, to judge what was written.
    Each,
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
        let checkpoint = Checkpoint::open(files, config.quantization().cloned())?;
        Self::build(backend, spec, checkpoint)
    }

    fn build(
        backend: B,
        spec: DecoderSpec,
        mut checkpoint: Checkpoint,
    ) -> Result<Self, ModelError> {
        let has_head = checkpoint.has(&format!("{}lm_head.weight", spec.prefix));
        let tied = match spec.head {
            Head::Tied => true,
            Head::Own => false,
            Head::OwnIfPresent => !has_head,
        };
        let table = [spec.dimensions.vocab_size, spec.dimensions.hidden_size];
        let mut loader = Loader {
            backend: &backend,
            spec: &spec,
            checkpoint: &mut checkpoint,
        };
        let embedding = loader.matrix("model.embed_tokens", table)?;
        let layers = (0..spec.dimensions.layers)
            .map(|index| loader.layer(index))
            .collect::<Result<_, _>>()?;
        let norm = loader.norm("model.norm", spec.dimensions.hidden_size)?;
        let head = match tied {
            true => None,
            false => Some(loader.matrix("lm_head", table)?),
        };
        // mlx-lm drops an output layer that the configuration makes superfluous.
        checkpoint.refuse_left_over(|name| {
            (spec.drops_tied_head && tied && name == "lm_head.weight") || (spec.dropped)(name)
        })?;
        Ok(Self {
            description: format!(
                "{}, {:.1} M parameters, {}",
                spec.name,
                checkpoint.parameters() as f64 / 1e6,
                checkpoint.storage(),
            ),
            backend,
            spec,
            pass: Self::feed_whole,
            embedding,
            layers,
            norm,
            head,
        })
    }

    /// Tokens in the vocabulary: the length of the logits.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.spec.dimensions.vocab_size
    }

    /// One line for people: architecture, parameters, storage.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Bytes that one position takes in a KV cache.
    #[must_use]
    pub fn kv_bytes_per_position(&self) -> usize {
        let head = self.backend.kv_bytes(self.spec.dimensions.head_dim);
        head * self.spec.dimensions.kv_heads * self.spec.dimensions.layers
    }

    /// A new, empty sequence.
    ///
    /// # Errors
    /// If the backend has no room for it.
    pub fn start(&self) -> Result<Sequence<B>, ModelError> {
        Ok(Sequence {
            cache: self.backend.kv_cache(self.spec.dimensions.layers)?,
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

    /// Calls `task` with every index below `tasks`, in no particular order, on the backend's
    /// threads: for what is done with the logits of a batch.
    pub fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.backend.for_each(tasks, task);
    }

    /// Takes the memory of logits back, for passes to come.
    pub fn reuse(&self, logits: Logits) {
        for rows in logits.into_pieces() {
            self.backend.reuse(rows);
        }
    }

    /// Extends every sequence of a batch by its tokens. Returns the logits after the
    /// tokens that want them, in order.
    ///
    /// A sequence gets the same bits whatever else is in the batch, and however its tokens are
    /// cut into calls.
    ///
    /// # Errors
    /// If an id is outside the vocabulary, or the backend fails.
    pub fn feed(&self, batch: &mut [Feed<'_, B>]) -> Result<Logits, ModelError> {
        (self.pass)(self, batch)
    }

    /// [`feed`](Self::feed), all sequences together.
    pub(super) fn feed_whole(&self, batch: &mut [Feed<'_, B>]) -> Result<Logits, ModelError> {
        let mut tokens = Vec::new();
        let mut positions = Vec::new();
        let mut wanted = Vec::new();
        for feed in batch.iter() {
            let start = feed.sequence.position;
            let first = tokens.len();
            tokens.extend_from_slice(feed.tokens);
            positions.extend(start..start + feed.tokens.len());
            match feed.logits {
                Wanted::None => {}
                Wanted::Last => wanted.extend(tokens.len().checked_sub(1)),
                Wanted::Each => wanted.extend(first..tokens.len()),
            }
        }
        if let Some(limit) = self.spec.position_limit
            && positions.iter().any(|position| *position >= limit)
        {
            return Err(BackendError(format!(
                "the sequence is longer than {limit} tokens (max_position_embeddings); beyond them, dynamic rope_scaling depends on how a prompt is cut, so no exact answer exists"
            ))
            .into());
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
            return Ok(Logits::none(self.vocab_size()));
        }
        let backend = &self.backend;
        let last = backend.select(x, &wanted)?;
        let last = backend.rms_norm(&last, &self.norm, self.spec.dimensions.rms_norm_eps)?;
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let mut logits = backend.linear(&last, head, None)?;
        if let Some(cap) = self.spec.logits_softcap {
            logits = backend.softcap(logits, cap)?;
        }
        Ok(Logits::of(backend.to_host(logits)?, self.vocab_size()))
    }

    /// The activations behind the last layer.
    fn blocks(
        &self,
        tokens: &[u32],
        positions: &[usize],
        segments: &mut [Segment<'_, B::KvCache>],
    ) -> Result<B::Tensor, ModelError> {
        let backend = &self.backend;
        let eps = self.spec.dimensions.rms_norm_eps;
        let mut x = backend.embed(&self.embedding, tokens)?;
        if let Some(factor) = self.spec.embedding_scale {
            x = backend.scale(x, factor)?;
        }
        let rotations = (self.spec.kinds.iter())
            .map(|kind| backend.rotation(&kind.rope, positions))
            .collect::<Result<Vec<_>, _>>()?;
        let kinds = self.spec.layer_kinds.iter();
        for (index, (layer, kind)) in self.layers.iter().zip(kinds).enumerate() {
            let rotation = &rotations[*kind];
            let kind = &self.spec.kinds[*kind];
            let normed = backend.rms_norm(&x, &layer.before_attention, eps)?;
            let qkv = self.project(layer, &normed, rotation)?;
            let mixed = backend.attention(qkv, segments, index, &self.spec.attention(kind))?;
            let mut mixed = layer.o.apply(backend, &mixed)?;
            if let Some(norm) = &layer.after_attention {
                mixed = backend.rms_norm(&mixed, norm, eps)?;
            }
            x = backend.add(x, &mixed)?;

            let normed = backend.rms_norm(&x, &layer.before_mlp, eps)?;
            let [gate, up] = Linear::apply_all(backend, &normed, [&layer.gate, &layer.up])?;
            let inner = backend.gated(gate, &up, self.spec.activation)?;
            let mut inner = layer.down.apply(backend, &inner)?;
            if let Some(norm) = &layer.after_mlp {
                inner = backend.rms_norm(&inner, norm, eps)?;
            }
            x = backend.add(x, &inner)?;
        }
        Ok(x)
    }

    /// Queries and keys, normed and rotated, and values.
    fn project(
        &self,
        layer: &Layer<B>,
        normed: &B::Tensor,
        rotation: &B::Rotation,
    ) -> Result<[B::Tensor; 3], ModelError> {
        let backend = &self.backend;
        let maps = [&layer.q, &layer.k, &layer.v];
        let [mut q, mut k, v] = Linear::apply_all(backend, normed, maps)?;
        if let Some([q_norm, k_norm]) = &layer.qk_norms {
            q = backend.rms_norm(&q, q_norm, self.spec.dimensions.rms_norm_eps)?;
            k = backend.rms_norm(&k, k_norm, self.spec.dimensions.rms_norm_eps)?;
        }
        let q = backend.rotate(q, rotation)?;
        let k = backend.rotate(k, rotation)?;
        Ok([q, k, v])
    }
}
