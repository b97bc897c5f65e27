"""Write small matrices that MLX quantised, with the values that MLX reads back.

Every packing that ``mx.quantize`` has is covered: affine at all widths and group sizes, with
scales of each type, and the three floating-point formats, once with ordinary values and once
with scales from end to end. The README beside this file documents the
format of ``quantised.json``.
"""

from itertools import product
from pathlib import Path
from typing import Any

import mlx.core as mx

mx.set_default_device(mx.cpu)

import numpy as np  # noqa: E402

from make_goldens import write_json  # noqa: E402

HERE = Path(__file__).resolve().parent
ROWS, COLS = 2, 128
MICRO = {"mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}
# Scales to run through: the ends and a part of the middle of E8M0, all numbers of E4M3.
E8M0 = [0, 1, 2, *range(5, 250, 12), 253, 254]
E4M3 = [byte for byte in range(256) if byte & 0x7F != 0x7F]
SCALES = {"mxfp4": E8M0, "nvfp4": E4M3, "mxfp8": E8M0}
DTYPES = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}


def hexadecimal(array: mx.array) -> str:
    """Return the bytes of an array as they lie in a little-endian file."""
    flat = mx.contiguous(array).reshape(-1)
    return np.array(flat.view(mx.uint8)).tobytes().hex()


def entry(
    name: str, mode: str, parts: list[mx.array], bits: int, group_size: int, dtype: str
) -> dict[str, Any]:
    """Return one packed matrix and what MLX makes of it in f32."""
    # Widening a scale is exact; it makes MLX compute in f32, as loopwatch does.
    wide = [p if p.dtype in (mx.uint32, mx.uint8) else p.astype(mx.float32) for p in parts]
    values = mx.dequantize(
        *wide, group_size=group_size, bits=bits, mode=mode, dtype=mx.float32
    )
    packed, scales, *biases = parts
    return {
        "name": name,
        "mode": mode,
        "bits": bits,
        "group_size": group_size,
        "rows": packed.shape[0],
        "cols": values.shape[1],
        "dtype": dtype,
        "packed": hexadecimal(packed),
        "scales": hexadecimal(scales),
        "biases": hexadecimal(biases[0]) if biases else "",
        "values": hexadecimal(values),
    }


def affine_entries() -> list[dict[str, Any]]:
    """Quantise a random matrix at each width and group size, with scales of each type."""
    entries = []
    for number, (bits, group) in enumerate(product((2, 3, 4, 5, 6, 8), (32, 64, 128))):
        dtype = list(DTYPES)[number % 3]
        noise = np.random.default_rng([5, number]).standard_normal((ROWS, COLS))
        weights = mx.array(noise.astype(np.float32)).astype(DTYPES[dtype])
        parts = mx.quantize(weights, group_size=group, bits=bits, mode="affine")
        name = f"affine/{bits}-bit/group-{group}/{dtype}"
        entries.append(entry(name, "affine", list(parts), bits, group, dtype))
    return entries


def micro_entries() -> list[dict[str, Any]]:
    """Quantise a random matrix in each format, and run through the scales."""
    entries = []
    for number, (mode, (bits, group)) in enumerate(MICRO.items()):
        rng = np.random.default_rng([6, number])
        noise = rng.standard_normal((ROWS, COLS)) * np.exp(rng.standard_normal(COLS))
        weights = mx.array(noise.astype(np.float32))
        parts = mx.quantize(weights, group_size=group, bits=bits, mode=mode)
        entries.append(entry(f"{mode}/random", mode, list(parts), bits, group, "u8"))
        scales = SCALES[mode]
        # Code 2 is 1 in E2M1, code 0x38 is 1 in E4M3; a second element has a full mantissa.
        codes = [0x22222227] if bits == 4 else [0x38383833]
        packed = mx.array(codes * (len(scales) * group * bits // 32), dtype=mx.uint32)
        parts = [
            packed.reshape(len(scales), -1),
            mx.array(scales, dtype=mx.uint8).reshape(len(scales), 1),
        ]
        entries.append(entry(f"{mode}/scales", mode, parts, bits, group, "u8"))
    codes = [*E4M3, 0, 0]
    packed = np.array(codes, dtype=np.uint8).view(np.uint32).reshape(1, -1)
    parts = [mx.array(packed), mx.full((1, 8), 126, dtype=mx.uint8)]
    entries.append(entry("mxfp8/elements", "mxfp8", parts, 8, 32, "u8"))
    return entries


if __name__ == "__main__":
    entries = affine_entries() + micro_entries()
    script = "tests/goldens/make_quantised_goldens.py"
    write_json(HERE / "quantised.json", entries, script=script)
