"""Makes random weights of the Qwen2.5-0.5B shape, once for each system, from the same numbers.

    python weights.py FOLDER --quantize PATH/TO/llama-quantize

writes, into FOLDER:

    mlx-4bit/  mlx-8bit/      checkpoints as mlx-lm's convert makes them (affine, group 64, bf16)
    q4_0.gguf  q4_1.gguf  q8_0.gguf   every matrix in that type, the embedding too
    q4_0-mixed.gguf           what llama-quantize makes of Q4_0 by itself

How fast a model is does not depend on what its weights say, so random ones will do.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator

import gguf
import mlx.core as mx
import numpy as np

import vocabulary

mx.set_default_device(mx.cpu)

SEED = 4
GROUP_SIZE = 64
CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "max_position_embeddings": 32768,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "eos_token_id": 151935,
}
HIDDEN = CONFIG["hidden_size"]
FFN = CONFIG["intermediate_size"]
KV = HIDDEN // CONFIG["num_attention_heads"] * CONFIG["num_key_value_heads"]

# Of one layer: the name in a checkpoint, the name in GGUF, and the shape.
LAYER = (
    ("input_layernorm.weight", "attn_norm.weight", (HIDDEN,)),
    ("self_attn.q_proj.weight", "attn_q.weight", (HIDDEN, HIDDEN)),
    ("self_attn.q_proj.bias", "attn_q.bias", (HIDDEN,)),
    ("self_attn.k_proj.weight", "attn_k.weight", (KV, HIDDEN)),
    ("self_attn.k_proj.bias", "attn_k.bias", (KV,)),
    ("self_attn.v_proj.weight", "attn_v.weight", (KV, HIDDEN)),
    ("self_attn.v_proj.bias", "attn_v.bias", (KV,)),
    ("self_attn.o_proj.weight", "attn_output.weight", (HIDDEN, HIDDEN)),
    ("post_attention_layernorm.weight", "ffn_norm.weight", (HIDDEN,)),
    ("mlp.gate_proj.weight", "ffn_gate.weight", (FFN, HIDDEN)),
    ("mlp.up_proj.weight", "ffn_up.weight", (FFN, HIDDEN)),
    ("mlp.down_proj.weight", "ffn_down.weight", (HIDDEN, FFN)),
)


def names() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", "token_embd.weight", (CONFIG["vocab_size"], HIDDEN)
    for layer in range(CONFIG["num_hidden_layers"]):
        for checkpoint, in_gguf, shape in LAYER:
            yield f"model.layers.{layer}.{checkpoint}", f"blk.{layer}.{in_gguf}", shape
    yield "model.norm.weight", "output_norm.weight", (HIDDEN,)


def tensors() -> Iterator[tuple[str, str, np.ndarray]]:
    """Activations keep the size that they have in a trained model, so nothing overflows."""
    random = np.random.default_rng(SEED)
    for checkpoint, in_gguf, shape in names():
        if "norm" in checkpoint:
            values = np.ones(shape, np.float32)
        else:
            values = random.standard_normal(shape, np.float32)
            values *= shape[-1] ** -0.5 if len(shape) > 1 else 0.02
        yield checkpoint, in_gguf, values


class Checkpoint:
    """An MLX checkpoint, quantised as mlx-lm 0.32.2 does: matrices from bf16, the rest in bf16."""

    def __init__(self, folder: Path, bits: int) -> None:
        self.folder = folder
        self.bits = bits
        self.tensors: dict[str, mx.array] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        array = mx.array(values).astype(mx.bfloat16)
        if values.ndim < 2:
            self.tensors[name] = array
        else:
            stem = name.removesuffix(".weight")
            parts = mx.quantize(array, group_size=GROUP_SIZE, bits=self.bits)
            for suffix, part in zip(("weight", "scales", "biases"), parts, strict=True):
                self.tensors[f"{stem}.{suffix}"] = part
        mx.eval(self.tensors)

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        quantization = {"group_size": GROUP_SIZE, "bits": self.bits}
        config = {**CONFIG, "quantization": quantization}
        (self.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        weights = str(self.folder / "model.safetensors")
        mx.save_safetensors(weights, self.tensors, metadata={"format": "mlx"})
        vocabulary.write_tokenizer(self.folder, CONFIG["vocab_size"])


def gguf_writer(path: Path) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_name("Random weights, Qwen2.5-0.5B shape")
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_rope_freq_base(CONFIG["rope_theta"])
    writer.add_vocab_size(CONFIG["vocab_size"])
    vocabulary.add_to_gguf(writer, CONFIG["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    return writer


def write_all(folder: Path, full: Path, say: Callable[[str], None]) -> None:
    checkpoints = [Checkpoint(folder / f"mlx-{bits}bit", bits) for bits in (4, 8)]
    writer = gguf_writer(full)
    for checkpoint_name, gguf_name, values in tensors():
        for checkpoint in checkpoints:
            checkpoint.add(checkpoint_name, values)
        # llama.cpp wants vectors in f32.
        kind = np.float16 if values.ndim > 1 else np.float32
        writer.add_tensor(gguf_name, values.astype(kind))
    for checkpoint in checkpoints:
        checkpoint.write()
        say(f"{checkpoint.folder.name} is written")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantise(program: Path, full: Path, target: Path, kind: str, pure: bool) -> None:
    flags = ["--pure"] if pure else []
    command = [str(program), *flags, str(full), str(target), kind]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        sys.exit(f"weights: error: {' '.join(command)} failed:\n{ran.stdout}{ran.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quantize", type=Path, required=True, metavar="PROGRAM")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        print(f"weights: {text}", file=sys.stderr, flush=True)

    full = folder / "f16.gguf"
    write_all(folder, full, say)
    for name, kind, pure in (
        ("q4_0", "Q4_0", True),
        ("q4_1", "Q4_1", True),
        ("q8_0", "Q8_0", True),
        ("q4_0-mixed", "Q4_0", False),
    ):
        target = folder / f"{name}.gguf"
        quantise(arguments.quantize, full, target, kind, pure)
        say(f"{target.name}: {target.stat().st_size / 2**20:.0f} MiB")
    full.unlink()


if __name__ == "__main__":
    main()
