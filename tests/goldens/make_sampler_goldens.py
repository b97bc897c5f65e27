"""Record which tokens mlx-lm draws: 10,000 of them for each sampler setting.

Run it once for each pinned pair of versions; the README beside this file names
them. Each run writes one JSON file, named
after the version of mlx-lm that it found.

The logits are made by an integer formula that any language computes exactly,
so the files hold settings and tokens only.
"""

import argparse
import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlx.core as mx

mx.set_default_device(mx.cpu)

import numpy as np  # noqa: E402
from mlx_lm.sample_utils import make_logits_processors, make_sampler  # noqa: E402

HERE = Path(__file__).resolve().parent
FORMAT_VERSION = 1
DRAWS = 10_000
# The first tokens are written out, so that a reader sees where two lists part. All of
# them are hashed in blocks of this size.
LISTED = 500
BLOCK = 100
ROWS = 64
# Log-probabilities are recorded for so many tokens.
MEASURED = 20

Json = dict[str, Any]


# --------------------------------------------------------------------------
# Logits
# --------------------------------------------------------------------------


def mixed(words: np.ndarray) -> np.ndarray:
    """Scramble 32-bit words (the finaliser of MurmurHash3)."""
    words = words.astype(np.uint32)
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x85EBCA6B)
    words ^= words >> np.uint32(13)
    words *= np.uint32(0xC2B2AE35)
    words ^= words >> np.uint32(16)
    return words


def logits(row: int, vocab: int, shape: str) -> np.ndarray:
    """Return one row of f32 logits, each an integer times a power of two.

    ``plain`` rows fall off from the likeliest token as those of language models
    do; ``ties`` have nine levels only, a whole number of quarters each.
    """
    words = mixed(np.arange(vocab, dtype=np.uint32) + np.uint32(row * 0x9E3779B1 % 2**32))
    if shape == "ties":
        return ((words % np.uint32(9)).astype(np.float32)) / np.float32(4)
    # The sum of four bytes is nearly normal; the top byte lifts a few tokens.
    parts = [(words >> np.uint32(s)) & np.uint32(255) for s in (0, 8, 16, 24)]
    total = sum(part.astype(np.int64) for part in parts)
    lift = np.where(mixed(words) % np.uint32(64) == 0, 700, 0)
    # 1021 steps of 1/128 with 20 lower bits, so that the mantissa is used.
    fine = (mixed(words + np.uint32(1)) & np.uint32(0x3FF)).astype(np.int64)
    return ((total - 510 + lift) * 1024 + fine).astype(np.float32) / np.float32(131072)


# --------------------------------------------------------------------------
# Settings
# --------------------------------------------------------------------------

# (name, vocabulary, rows, sampling)
SETTINGS: tuple[tuple[str, int, str, Json], ...] = (
    ("temperature-1", 512, "plain", {"temperature": 1.0}),
    ("temperature-0.7-odd-vocabulary", 517, "plain", {"temperature": 0.7}),
    ("temperature-low", 512, "plain", {"temperature": 0.01}),
    ("temperature-high", 512, "plain", {"temperature": 10.0}),
    ("large-vocabulary", 8192, "plain", {"temperature": 0.9}),
    ("top-p-0.9", 512, "plain", {"temperature": 0.8, "top_p": 0.9}),
    ("top-p-0.3", 512, "plain", {"temperature": 1.3, "top_p": 0.3}),
    ("top-p-ties", 96, "ties", {"temperature": 1.0, "top_p": 0.5}),
    ("top-k-40", 512, "plain", {"temperature": 0.8, "top_k": 40}),
    ("top-k-ties", 96, "ties", {"temperature": 1.0, "top_k": 7}),
    ("min-p-0.05", 512, "plain", {"temperature": 1.1, "min_p": 0.05}),
    ("min-p-1-ties", 96, "ties", {"temperature": 1.0, "min_p": 1.0}),
    (
        "xtc-always",
        512,
        "plain",
        {"temperature": 1.0, "xtc_probability": 1.0, "xtc_threshold": 0.05},
    ),
    (
        "xtc-half",
        512,
        "plain",
        {"temperature": 0.9, "xtc_probability": 0.5, "xtc_threshold": 0.1},
    ),
    (
        "all-filters",
        512,
        "plain",
        {
            "temperature": 0.75,
            "top_p": 0.95,
            "min_p": 0.02,
            "xtc_probability": 0.3,
            "xtc_threshold": 0.08,
            "top_k": 30,
        },
    ),
    (
        "repetition",
        512,
        "plain",
        {"temperature": 0.8, "repetition_penalty": 1.3, "repetition_context_size": 64},
    ),
    (
        "all-penalties",
        512,
        "plain",
        {
            "temperature": 0.7,
            "repetition_penalty": 1.1,
            "repetition_context_size": 20,
            "presence_penalty": 0.4,
            "presence_context_size": 10,
            "frequency_penalty": 0.2,
            "frequency_context_size": 100,
        },
    ),
    (
        "greedy-penalties",
        96,
        "ties",
        {
            "temperature": 0.0,
            "repetition_penalty": 1.2,
            "repetition_context_size": 30,
            "frequency_penalty": 0.1,
        },
    ),
    (
        "bias",
        512,
        "plain",
        {
            "temperature": 1.0,
            "top_p": 0.9,
            "logit_bias": {"3": 6.0, "17": -100.0, "200": 5.5},
        },
    ),
    (
        "everything",
        8192,
        "plain",
        {
            "temperature": 0.85,
            "top_p": 0.97,
            "min_p": 0.005,
            "xtc_probability": 0.2,
            "xtc_threshold": 0.1,
            "top_k": 200,
            "repetition_penalty": 1.05,
            "repetition_context_size": 20,
            "presence_penalty": 0.1,
            "logit_bias": {"5": 2.0},
        },
    ),
)
SEED = 20_260_101
# What XTC may not remove: stands for the line break and the end of sequence.
EXEMPT = (1, 2)
PENALTIES = ("repetition", "presence", "frequency")


def processors_of(sampling: Json) -> list[Any]:
    """Build the processors; mlx-lm 0.28.3 has fewer arguments."""
    arguments = {
        name: sampling[name]
        for penalty in PENALTIES
        for name in (f"{penalty}_penalty", f"{penalty}_context_size")
        if name in sampling
    }
    bias = sampling.get("logit_bias")
    bias = {int(token): value for token, value in bias.items()} if bias else None
    return make_logits_processors(logit_bias=bias, **arguments)


def draw(name: str, vocab: int, shape: str, sampling: Json) -> Json:
    """Draw the tokens of one setting the way ``generate_step`` does."""
    filters = ("top_p", "min_p", "top_k", "xtc_probability", "xtc_threshold")
    sampler = make_sampler(
        temp=sampling["temperature"],
        xtc_special_tokens=list(EXEMPT),
        **{key: sampling[key] for key in filters if key in sampling},
    )
    processors = processors_of(sampling)
    rows = [mx.array(logits(row, vocab, shape))[None] for row in range(ROWS)]
    mx.random.seed(SEED)
    tokens: list[int] = []
    logprobs: list[float] = []
    for step in range(DRAWS):
        # A processor may write into what it is given.
        row = mx.array(rows[step % ROWS])
        # No window here is longer than 100.
        history = mx.array(tokens[-100:], dtype=mx.int32)
        for processor in processors:
            row = processor(history, row)
        normal = row - mx.logsumexp(row, keepdims=True)
        token = sampler(normal).item()
        if step < MEASURED:
            logprobs.append(normal[0, token].item())
        tokens.append(token)
    blocks = [tokens[i : i + BLOCK] for i in range(0, DRAWS, BLOCK)]
    digest = [
        hashlib.sha256(np.array(block, dtype="<u4").tobytes()).hexdigest()[:8]
        for block in blocks
    ]
    print(f"{name}: {len(set(tokens))} distinct tokens", flush=True)
    return {
        "name": name,
        "vocab": vocab,
        "logits": shape,
        "sampling": sampling,
        "tokens": tokens[:LISTED],
        "logprobs": logprobs,
        "blocks": "".join(digest),
    }


def supported(sampling: Json) -> bool:
    """Say whether this version of mlx-lm has all that a setting asks for."""
    try:
        processors_of(sampling)
    except TypeError:
        return False
    return True


def main() -> None:
    """Write the file of the installed version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="print one setting and write nothing")
    only = parser.parse_args().only
    entries = [
        draw(*setting)
        for setting in SETTINGS
        if supported(setting[3]) and only in (None, setting[0])
    ]
    if only:
        print(json.dumps(entries[0]))
        return
    packages = ("mlx", "mlx-cpu", "mlx-lm", "numpy")
    versions = {}
    for package in packages:
        try:
            versions[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:
            continue
    head = {
        "format_version": FORMAT_VERSION,
        "provenance": {
            "script": "tests/goldens/make_sampler_goldens.py",
            **versions,
            "python": platform.python_version(),
            "platform": f"{platform.system()}-{platform.machine()}",
            "device": "cpu",
        },
        "seed": SEED,
        "draws": DRAWS,
        "block": BLOCK,
        "rows": ROWS,
        "xtc_exempt": EXEMPT,
    }
    lines = ",\n  ".join(
        json.dumps(entry, allow_nan=False, separators=(",", ":")) for entry in entries
    )
    text = json.dumps(head, indent=1).removesuffix("\n}")
    path = HERE / f"sampler-mlx-lm-{version('mlx-lm')}.json"
    path.write_text(f'{text},\n "entries": [\n  {lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
