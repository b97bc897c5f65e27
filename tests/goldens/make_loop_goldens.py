"""Record how long a scripted loop lasts under mlx-lm, for each window and path.

The model is a table: a loop of ``period`` tokens, and the end of sequence close
behind with 0.97 of the loop's logit, so that a repetition penalty above 1.031
on the loop's tokens alone lets the end win. The prompt holds the end of sequence
as chat templates do. Run it with each pinned version of mlx-lm, as the README
beside this file says.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx

mx.set_default_device(mx.cpu)

import mlx.nn as nn  # noqa: E402
from mlx_lm.generate import BatchGenerator, generate_step  # noqa: E402
from mlx_lm.models.cache import KVCache  # noqa: E402
from mlx_lm.sample_utils import make_logits_processors  # noqa: E402

HERE = Path(__file__).resolve().parent
FORMAT_VERSION = 1
VOCAB = 160
END = 100
MOST = 200
PERIODS = (1, 5, 19, 20, 21, 30)
PENALTIES = (1.0, 1.03, 1.05)
CONTEXT_SIZES = (20, 64, 0)
PROMPT = [END if i in (11, 31) else 101 + i for i in range(40)]


class Loop(nn.Module):
    """A table of next-token logits behind the interface of a language model."""

    def __init__(self, period: int) -> None:
        """Fill the table; a token of the prompt leads to the start of the loop."""
        super().__init__()
        self.layers = [None]
        follow = [(i + 1) % period if i < period else 0 for i in range(VOCAB)]
        rows = [[0.0] * VOCAB for _ in follow]
        for row, token in zip(rows, follow):
            row[token] = 10.0
            row[END] = 9.7
        self.table = mx.array(rows)

    def __call__(self, tokens: mx.array, cache: Any = None, **_: Any) -> mx.array:
        """Return logits, and let the caches grow."""
        filler = mx.zeros((tokens.shape[0], 1, tokens.shape[1], 1))
        for layer in cache or []:
            layer.update_and_fetch(filler, filler)
        return self.table[tokens]

    def make_cache(self) -> list[KVCache]:
        """Return the cache of one layer."""
        return [KVCache()]


def sequential(period: int, processors: list[Any], cached: int) -> int:
    """Count tokens of the sequential path, after a cached part of the prompt."""
    model = Loop(period)
    cache = model.make_cache()
    if cached:
        model(mx.array(PROMPT[:cached])[None], cache=cache)
    steps = generate_step(
        mx.array(PROMPT[cached:]),
        model,
        max_tokens=MOST,
        logits_processors=processors,
        prompt_cache=cache,
    )
    count = 0
    for token, _ in steps:
        count += 1
        if token == END:
            break
    return count


def batched(period: int, processors: list[Any]) -> int:
    """Count tokens of the path that the server takes for unseeded requests."""
    generator = BatchGenerator(Loop(period), max_tokens=MOST, stop_tokens=[[END]])
    generator.insert([PROMPT], logits_processors=[processors])
    count = 0
    while responses := generator.next_generated():
        for response in responses:
            count += 1
            if response.finish_reason:
                return count
    return count


def main() -> None:
    """Write the file of the installed version."""
    # mlx-lm 0.28.3 has no processors in its batches, and its server no batches.
    paths = ("sequential", "cached") + (
        ("batched",) if hasattr(BatchGenerator, "next_generated") else ()
    )
    entries = []
    for path in paths:
        for period in PERIODS:
            for penalty in PENALTIES:
                for size in CONTEXT_SIZES:
                    processors = make_logits_processors(
                        repetition_penalty=penalty, repetition_context_size=size
                    )
                    cached = len(PROMPT) - 1 if path == "cached" else 0
                    count = (
                        batched(period, processors)
                        if path == "batched"
                        else sequential(period, processors, cached)
                    )
                    entries.append(
                        {
                            "seeded": path != "batched",
                            "cached": cached,
                            "period": period,
                            "repetition_penalty": penalty,
                            "repetition_context_size": size,
                            "tokens": count,
                        }
                    )
    head = {
        "format_version": FORMAT_VERSION,
        "provenance": {
            "script": "tests/goldens/make_loop_goldens.py",
            "mlx": version("mlx"),
            "mlx_lm": version("mlx-lm"),
            "python": platform.python_version(),
            "platform": f"{platform.system()}-{platform.machine()}",
            "device": "cpu",
        },
        "prompt": PROMPT,
    }
    lines = ",\n  ".join(json.dumps(entry) for entry in entries)
    text = json.dumps(head).removesuffix("}")
    path = HERE / f"loops-mlx-lm-{version('mlx-lm')}.json"
    path.write_text(f'{text},\n "entries": [\n  {lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
