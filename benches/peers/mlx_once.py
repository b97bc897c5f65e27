"""Times one answer of mlx-lm, on MLX's CPU backend, and prints JSON. Weights need no tokenizer.

Prefill is the prompt's tokens over the time to the first token, decode the steps behind it, which
is how `loopwatch bench` counts. Greedy, as mlx-lm samples by default.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

# mlx_lm picks its stream while it is imported, so the device has to be fixed first.
mx.set_default_device(mx.cpu)

from mlx_lm.generate import generate_step  # noqa: E402
from mlx_lm.utils import load_model  # noqa: E402


def timed(model, tokens: list[int], steps: int) -> list[float]:
    """When each token came, in seconds from the request."""
    start = time.perf_counter()
    answer = generate_step(mx.array(tokens), model, max_tokens=steps + 1)
    return [time.perf_counter() - start for _ in answer]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    arguments = parser.parse_args()
    model, config = load_model(arguments.model)
    mx.random.seed(0)
    prompt = mx.random.randint(0, config["vocab_size"], (arguments.prompt,)).tolist()
    at = timed(model, prompt, arguments.tokens)
    report = {
        "version": version("mlx-lm"),
        "prefill": [{"tokens": len(prompt), "seconds": at[0]}],
        "decode": [{"tokens": len(at) - 1, "seconds": at[-1] - at[0]}],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
