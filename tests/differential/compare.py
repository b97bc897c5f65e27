"""Run mlx-lm and loopwatch on the same seeded checkpoints and prompts, and compare.

Each case is a fresh random checkpoint, a prompt, and sampling settings. A case is a match if all
tokens are equal and all log-probabilities agree; a near-tie if the first different token comes
where mlx-lm's two best differ by less than the stated bound; else a mismatch, which makes the
exit code 1.
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))

import make_goldens  # noqa: E402
import mlx.core as mx  # noqa: E402
import numpy as np  # noqa: E402
from make_goldens import Run, load_checkpoint, run_greedy, write_checkpoint  # noqa: E402
from specs import (  # noqa: E402
    GEMMA3,
    LLAMA3_ROPE,
    LONG_FACTOR,
    Json,
    Spec,
    small_config,
)

TOKENS = 128
# Largest difference of a log-probability; f32 in another order of summation stays below.
TOLERANCE = 1e-3
# Two best tokens nearer than this may change places within the tolerance.
NEAR_TIE = 2 * TOLERANCE

ARCHITECTURES: dict[str, tuple[Json, Json]] = {
    # name: (config, scales of the weights)
    "llama": (
        small_config(
            "llama", "LlamaForCausalLM", rope_scaling=LLAMA3_ROPE, attention_bias=True
        ),
        {"block_gain": 5.0, "embed_std": 0.5},
    ),
    "qwen2": (
        small_config(
            "qwen2",
            "Qwen2ForCausalLM",
            rope_scaling={"type": "linear", "factor": 3.0},
        ),
        {"block_gain": 5.0, "embed_std": 0.5},
    ),
    "qwen3": (
        small_config(
            "qwen3", "Qwen3ForCausalLM", head_dim=32, tie_word_embeddings=False
        ),
        {},
    ),
    "gemma2": (
        small_config(
            "gemma2",
            "Gemma2ForCausalLM",
            head_dim=16,
            hidden_act="gelu_pytorch_tanh",
            attn_logit_softcapping=8.0,
            final_logit_softcapping=15.0,
            query_pre_attn_scalar=4,
        ),
        {"block_gain": 5.0, "embed_std": 0.05, "final_norm": 6.0},
    ),
    "gemma3": (
        small_config(
            "gemma3_text",
            "Gemma3ForCausalLM",
            **{**GEMMA3, "intermediate_size": 64},
        ),
        {"block_gain": 5.0, "embed_std": 0.5, "head_gain": 4.0},
    ),
    "phi3": (
        small_config(
            "phi3",
            "Phi3ForCausalLM",
            max_position_embeddings=256,
            original_max_position_embeddings=64,
            rope_scaling={
                "type": "longrope",
                "short_factor": [1.0] * 8,
                "long_factor": LONG_FACTOR,
            },
            tie_word_embeddings=False,
        ),
        {},
    ),
}

AFFINE = [(4, 64), (3, 32), (8, 64), (6, 64), (5, 32), (2, 32)]
PACKINGS: dict[str, Json] = {
    "bf16": {"dtype": mx.bfloat16},
    **{
        f"affine-{bits}-{group}": {
            "quantization": {"group_size": group, "bits": bits, "mode": "affine"}
        }
        for bits, group in AFFINE
    },
    "mxfp4": {"quantization": {"group_size": 32, "bits": 4, "mode": "mxfp4"}},
    "nvfp4": {"quantization": {"group_size": 16, "bits": 4, "mode": "nvfp4"}},
    "mxfp8": {"quantization": {"group_size": 32, "bits": 8, "mode": "mxfp8"}},
}

SAMPLERS: dict[str, Json] = {
    "greedy": {},
    "repetition": {"repetition_penalty": 1.2, "repetition_context_size": 30},
    "all-penalties": {
        "repetition_penalty": 1.1,
        "repetition_context_size": 12,
        "presence_penalty": 0.4,
        "frequency_penalty": 0.2,
        "logit_bias": {"5": 2.0, "17": -3.0},
    },
}

# Of all combinations, each packing meets a third of the samplers per architecture.
PACKINGS_PER_SAMPLER = 4


@dataclass(frozen=True)
class Case:
    """One checkpoint, prompt and sampler."""

    name: str
    spec: Spec
    run: Run


def cases(seed: int) -> Iterator[Case]:
    """Yield all cases: every architecture with every sampler, packings in turn."""
    packings = list(PACKINGS)
    combinations = product(ARCHITECTURES, SAMPLERS, range(PACKINGS_PER_SAMPLER))
    for number, (architecture, sampler, _) in enumerate(combinations):
        packing = packings[number % len(packings)]
        config, scales = ARCHITECTURES[architecture]
        # Without an end token, so that every run has all its tokens.
        config = {k: v for k, v in config.items() if k != "eos_token_id"}
        case_seed = 1000 * seed + number
        spec = Spec(
            name=architecture,
            seed=case_seed,
            config=config,
            **PACKINGS[packing],
            **scales,
        )
        rng = np.random.default_rng([7, case_seed])
        prompt = rng.integers(0, config["vocab_size"], rng.integers(1, 60)).tolist()
        label = "plain" if sampler == "greedy" else sampler
        run = Run("prompt", prompt, label, "prompt+generated", SAMPLERS[sampler])
        yield Case(f"{architecture}/{packing}/{sampler}/{case_seed}", spec, run)


def loopwatch(binary: str, folder: Path, run: Run) -> Json:
    """Generate with loopwatch, which is asked to sample as this version of mlx-lm does."""
    sampling = run.full_sampling()
    # mlx-lm's processors get one window for all three penalties here.
    for penalty in ("presence", "frequency"):
        sampling[f"{penalty}_context_size"] = sampling["repetition_context_size"]
    command = [binary, "generate", "--json", "--model", str(folder)]
    command += ["--prompt-ids", ",".join(map(str, run.prompt_ids))]
    command += ["--max-tokens", str(TOKENS)]
    command += ["--semantics", f"mlx-lm-{version('mlx-lm')}"]
    for token, bias in sampling.pop("logit_bias").items():
        command += ["--logit-bias", f"{token}={bias}"]
    for field, value in sampling.items():
        command += ["--" + field.replace("_", "-"), str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"error": done.stderr.strip()}
    answer = json.loads(done.stdout)
    return {"tokens": answer["tokens"], "logprobs": answer["logprobs"]["chosen"]}


def compare(theirs: Json, ours: Json) -> Json:
    """Say how two runs agree."""
    if "error" in ours:
        return {"verdict": "mismatch", "why": ours["error"]}
    pairs = zip(theirs["tokens"], ours["tokens"], strict=False)
    equal = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    if equal is None and len(ours["tokens"]) != len(theirs["tokens"]):
        return {"verdict": "mismatch", "why": f"{len(ours['tokens'])} tokens"}
    differences = [
        abs(a - b)
        for a, b in zip(theirs["logprobs"][:equal], ours["logprobs"], strict=False)
    ]
    largest = max(differences, default=0.0)
    result = {
        "logprob_difference": largest,
        "smallest_margin": min(theirs["margins"]),
        "distinct_tokens": len(set(theirs["tokens"])),
    }
    if largest > TOLERANCE:
        why = f"a log-probability differs by {largest:.2e}"
        return {"verdict": "mismatch", "why": why, **result}
    if equal is None:
        return {"verdict": "match", **result}
    margin = theirs["margins"][equal]
    verdict = "near-tie" if margin < NEAR_TIE else "mismatch"
    why = f"token {equal} differs, where mlx-lm's margin is {margin:.2e}"
    return {"verdict": verdict, "why": why, **result}


def run_case(case: Case, binary: str) -> Json:
    """Write the checkpoint, run both sides, compare."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / case.spec.name
        # mlx-lm prints a line for each quantised model.
        with contextlib.redirect_stdout(io.StringIO()):
            write_checkpoint(case.spec, folder)
            theirs = run_greedy(load_checkpoint(folder), case.run)
        return {"case": case.name, **compare(theirs, loopwatch(binary, folder, case.run))}


def main() -> None:
    """Run all cases and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loopwatch", required=True, help="the binary to compare")
    parser.add_argument("--seed", type=int, default=0, help="first part of every seed")
    parser.add_argument("--only", default="", help="cases with this in the name")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    arguments = parser.parse_args()
    make_goldens.MAX_TOKENS = TOKENS
    results: list[Json] = []
    for case in cases(arguments.seed):
        if arguments.only not in case.name:
            continue
        result = run_case(case, arguments.loopwatch)
        results.append(result)
        print(f"{result['verdict']:9} {case.name}  {result.get('why', '')}", flush=True)
    if not results:
        raise SystemExit(f"no case has {arguments.only!r} in its name")
    summarise(results, arguments.json)


def summarise(results: list[Json], path: Path | None) -> None:
    """Print the counts, write the file, and end with 1 if something differs."""
    counts: dict[str, Any] = {"match": 0, "near-tie": 0, "mismatch": 0}
    for result in results:
        counts[result["verdict"]] += 1
    largest = max((r.get("logprob_difference", 0.0) for r in results), default=0.0)
    distinct = sorted(r.get("distinct_tokens", 0) for r in results)
    versions = make_goldens.provenance("tests/differential/compare.py")
    if path is not None:
        report = {"provenance": versions, "bounds": bounds(), "results": results}
        path.write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"{len(results)} cases of {TOKENS} tokens against mlx-lm {versions['mlx_lm']}"
        f" (mlx {versions['mlx']}): {counts['match']} matches,"
        f" {counts['near-tie']} near-ties (margin below {NEAR_TIE}),"
        f" {counts['mismatch']} mismatches; log-probabilities within {largest:.1e};"
        f" half of the cases have {distinct[len(distinct) // 2]} distinct tokens or more"
    )
    raise SystemExit(1 if counts["mismatch"] else 0)


def bounds() -> Json:
    """Return the bounds that verdicts rest on."""
    return {"logprob_tolerance": TOLERANCE, "near_tie_margin": NEAR_TIE}


if __name__ == "__main__":
    main()
