"""The tiny checkpoints of the goldens: configs, storage, and scales of weights."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

Json = dict[str, Any]


@dataclass(frozen=True)
class Spec:
    """One checkpoint: its config, its storage, and the scales of its weights."""

    name: str
    seed: int
    config: Json
    dtype: mx.Dtype = mx.float32
    quantization: Json | None = None
    # Other packings, by the beginning of a module path; False leaves a module dense.
    overrides: Json | None = None
    # Paths whose override the config does not mention, so that only shapes tell.
    unnamed: tuple[str, ...] = ()
    # Parameters that the file does not have.
    absent: tuple[str, ...] = ()
    # Tensors that the file has and mlx-lm drops.
    extra: tuple[str, ...] = ()
    shards: int = 1
    # Multiples of N(0, 1/fan_in). Large blocks outweigh the embedding in the
    # residual stream, so the next token depends on more than the last one.
    block_gain: float = 2.0
    head_gain: float = 4.0
    embed_std: float = 1.0
    # Mean of the last norm's weights, which spreads the logits of small embeddings.
    final_norm: float = 1.0
    penalties: bool = False

    @property
    def compute_dtype(self) -> str:
        """Name the dtype in which the golden was computed."""
        return "float32"

    @property
    def weight_dtype(self) -> str:
        """Name the dtype of the floating-point tensors on disk."""
        return str(self.dtype).removeprefix("mlx.core.")


def base_config(model_type: str, architecture: str, **fields: Any) -> Json:
    """Return the config fields that all checkpoints share, with overrides."""
    config: Json = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": 256,
    }
    config.update(fields)
    # The last id ends a sequence. The gates keep it out of prompts and outputs.
    config["eos_token_id"] = config["vocab_size"] - 1
    return config


FOUR_BIT = {"group_size": 64, "bits": 4, "mode": "affine"}
# What makes the next token of a tied model depend on more than the last one.
TIED_SCALES: Json = {"block_gain": 5.0, "embed_std": 0.5}
LONG_FACTOR = [1.05, 1.2, 1.5, 2.0, 3.1, 4.7, 8.0, 12.5]
# With heads of 16, one pair lies in each of the three bands.
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
# The window is shorter than every prompt but the first, let alone the output.
GEMMA3: Json = {
    "head_dim": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "query_pre_attn_scalar": 24,
    "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 100.0,
    "rope_theta": 1000000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    "sliding_window": 6,
    "sliding_window_pattern": 3,
}


def small_config(model_type: str, architecture: str, **fields: Any) -> Json:
    """Return the config of a checkpoint that stays below 150 KB in bf16."""
    small: Json = {
        "intermediate_size": 64,
        "tie_word_embeddings": True,
        "vocab_size": 128,
    }
    return base_config(model_type, architecture, **{**small, **fields})


def nested_config() -> Json:
    """Return a Gemma 3 config in the layout of a model that also sees images."""
    text = small_config("gemma3_text", "Gemma3ForCausalLM", **GEMMA3)
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "vocab_size": text.pop("vocab_size"),
        "eos_token_id": text["eos_token_id"],
        "text_config": text,
    }


def rope_spec(name: str, seed: int, scaling: Json | None, **fields: Any) -> Spec:
    """Return a 4-bit Llama that differs in nothing but its rotation."""
    return Spec(
        name=name,
        seed=seed,
        config=small_config(
            "llama", "LlamaForCausalLM", rope_scaling=scaling, **fields
        ),
        quantization=FOUR_BIT,
        **TIED_SCALES,
    )


SPECS = (
    Spec(
        name="llama-f32",
        seed=7,
        # The feed-forward width keeps the file below 400 KiB.
        config=base_config("llama", "LlamaForCausalLM", intermediate_size=96),
        penalties=True,
    ),
    Spec(
        name="qwen2-4bit",
        seed=0,
        config=base_config(
            "qwen2",
            "Qwen2ForCausalLM",
            num_hidden_layers=3,
            rms_norm_eps=1e-6,
            rope_theta=1000000.0,
            tie_word_embeddings=True,
            vocab_size=512,
        ),
        quantization={"group_size": 64, "bits": 4, "mode": "affine"},
        block_gain=5.0,
        embed_std=0.5,
    ),
    Spec(
        name="qwen3-8bit",
        seed=0,
        config=base_config(
            "qwen3",
            "Qwen3ForCausalLM",
            head_dim=32,
            num_hidden_layers=3,
            rms_norm_eps=1e-6,
            rope_theta=1000000.0,
            vocab_size=384,
        ),
        quantization={"group_size": 32, "bits": 8, "mode": "affine"},
    ),
    Spec(
        name="llama-f16-sharded",
        seed=4,
        config=base_config("llama", "LlamaForCausalLM"),
        dtype=mx.float16,
        shards=2,
    ),
    Spec(
        name="llama-bf16",
        seed=0,
        config=base_config("llama", "LlamaForCausalLM", tie_word_embeddings=True),
        dtype=mx.bfloat16,
        block_gain=5.0,
        embed_std=0.5,
    ),
    # ---- packings -------------------------------------------------------
    Spec(
        name="llama-3bit",
        seed=3,
        config=small_config("llama", "LlamaForCausalLM"),
        quantization={"group_size": 32, "bits": 3, "mode": "affine"},
        **TIED_SCALES,
    ),
    Spec(
        name="qwen2-6bit-bf16",
        seed=2,
        config=small_config("qwen2", "Qwen2ForCausalLM"),
        dtype=mx.bfloat16,
        quantization={"group_size": 64, "bits": 6, "mode": "affine"},
        **TIED_SCALES,
    ),
    Spec(
        name="llama-mxfp4",
        seed=3,
        config=small_config("llama", "LlamaForCausalLM"),
        quantization={"group_size": 32, "bits": 4, "mode": "mxfp4"},
        **TIED_SCALES,
    ),
    Spec(
        name="qwen3-nvfp4",
        seed=4,
        config=small_config("qwen3", "Qwen3ForCausalLM", head_dim=16),
        quantization={"group_size": 16, "bits": 4, "mode": "nvfp4"},
        **TIED_SCALES,
    ),
    Spec(
        name="llama-mxfp8",
        seed=2,
        config=small_config("llama", "LlamaForCausalLM"),
        quantization={"group_size": 32, "bits": 8, "mode": "mxfp8"},
        **TIED_SCALES,
    ),
    Spec(
        name="llama-mixed",
        seed=1,
        config=small_config(
            "llama",
            "LlamaForCausalLM",
            intermediate_size=128,
            tie_word_embeddings=False,
        ),
        dtype=mx.float16,
        quantization={"group_size": 64, "bits": 5, "mode": "affine"},
        overrides={
            "lm_head": False,
            "model.embed_tokens": {"group_size": 64, "bits": 8, "mode": "affine"},
            "model.layers.0.mlp.down_proj": {
                "group_size": 128,
                "bits": 2,
                "mode": "affine",
            },
            "model.layers.1.mlp.down_proj": {
                "group_size": 32,
                "bits": 4,
                "mode": "mxfp4",
            },
            "model.layers.1.self_attn": {
                "group_size": 32,
                "bits": 3,
                "mode": "affine",
            },
        },
        unnamed=("model.layers.1.mlp.down_proj", "model.layers.1.self_attn.v_proj"),
    ),
    # ---- rotations ------------------------------------------------------
    rope_spec("llama-rope-llama3", 4, LLAMA3_ROPE),
    rope_spec("llama-rope-linear", 4, {"type": "linear", "factor": 3.0}),
    rope_spec("llama-rope-traditional", 13, None, rope_traditional=True),
    rope_spec("llama-rope-dynamic", 4, {"type": "dynamic", "factor": 2.0}),
    rope_spec(
        "llama-rope-yarn",
        5,
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    rope_spec(
        "llama-rope-longrope",
        1,
        {
            "rope_type": "longrope",
            "original_max_position_embeddings": 64,
            "short_factor": [1.0] * 8,
            "long_factor": LONG_FACTOR,
        },
    ),
    # ---- families -------------------------------------------------------
    Spec(
        name="mistral-sliding",
        seed=0,
        config=small_config(
            "mistral",
            "MistralForCausalLM",
            layer_types=["sliding_attention", "full_attention"],
            sliding_window=16,
            attention_bias=True,
            mlp_bias=True,
        ),
        quantization=FOUR_BIT,
        extra=("model.layers.0.self_attn.rotary_emb.inv_freq", "lm_head.weight"),
        **TIED_SCALES,
    ),
    Spec(
        name="gemma2-bf16",
        seed=84,
        config=small_config(
            "gemma2",
            "Gemma2ForCausalLM",
            head_dim=16,
            vocab_size=192,
            intermediate_size=32,
            num_hidden_layers=3,
            hidden_act="gelu_pytorch_tanh",
            hidden_activation="gelu_pytorch_tanh",
            # Far below the real 50 and 30, so that a missing cap shows.
            attn_logit_softcapping=8.0,
            final_logit_softcapping=15.0,
            query_pre_attn_scalar=4,
            sliding_window=16,
        ),
        dtype=mx.bfloat16,
        block_gain=5.0,
        embed_std=0.05,
        final_norm=6.0,
    ),
    Spec(
        name="gemma3-text-bf16",
        seed=0,
        config=small_config(
            "gemma3_text", "Gemma3ForCausalLM", vocab_size=216, **GEMMA3
        ),
        dtype=mx.bfloat16,
        block_gain=5.0,
        embed_std=0.07,
        absent=("lm_head.weight",),
    ),
    Spec(
        name="gemma3-nested-8bit",
        seed=2,
        config=nested_config(),
        quantization={"group_size": 32, "bits": 8, "mode": "affine"},
        block_gain=3.0,
        embed_std=0.5,
        head_gain=4.0,
        extra=("vision_tower.patch.weight", "multi_modal_projector.norm.weight"),
    ),
    Spec(
        name="phi3-bf16",
        seed=3,
        config=small_config(
            "phi3",
            "Phi3ForCausalLM",
            partial_rotary_factor=0.5,
            tie_word_embeddings=False,
        ),
        dtype=mx.bfloat16,
    ),
    Spec(
        name="phi3-longrope-4bit",
        seed=0,
        config=small_config(
            "phi3",
            "Phi3ForCausalLM",
            max_position_embeddings=256,
            original_max_position_embeddings=64,
            rope_scaling={
                "type": "longrope",
                "short_factor": [1.0] * 8,
                "long_factor": LONG_FACTOR,
            },
        ),
        quantization=FOUR_BIT,
        **TIED_SCALES,
    ),
)
