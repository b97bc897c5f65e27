"""Write tiny random checkpoints with MLX and golden outputs made by mlx-lm.

Run without arguments to write everything next to this file. Run with
``--search`` to look for seeds that pass the quality gates; that writes nothing.

The README beside this file documents the format.
"""

import argparse
import json
import math
import platform
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Callable, Iterator
from unittest.mock import patch

import mlx.core as mx

# mlx_lm picks its generation stream while it is imported, so the device has to
# be fixed first. The CPU is the one device that every platform has.
mx.set_default_device(mx.cpu)

import numpy as np  # noqa: E402
from mlx.utils import tree_flatten, tree_unflatten  # noqa: E402
from mlx_lm import sample_utils  # noqa: E402
from mlx_lm.generate import generate_step  # noqa: E402
from mlx_lm.models import (  # noqa: E402
    gemma2,
    gemma3,
    gemma3_text,
    llama,
    phi3,
    qwen2,
    qwen3,
)
from mlx_lm.utils import (  # noqa: E402
    get_total_parameters,
    load_model,
    quantize_model,
    save_config,
)

from specs import SPECS, Spec  # noqa: E402

HERE = Path(__file__).resolve().parent
FORMAT_VERSION = 1
MAX_TOKENS = 64
# An independent f64 forward pass over these checkpoints moves a margin by at most
# 3.3e-4. A top-2 margin far above that means that no argmax can flip in f32.
MIN_MARGIN = 5e-3
MIN_DISTINCT = 20
PROMPT_LENGTHS = (1, 7, 40)
# A search that runs longer than this has gates that are too strict.
MAX_SEEDS = 400

Processor = Callable[[mx.array, mx.array], mx.array]
Json = dict[str, Any]


# --------------------------------------------------------------------------
# Checkpoints
# --------------------------------------------------------------------------


MODULES = {
    "gemma2": gemma2,
    "gemma3": gemma3,
    "gemma3_text": gemma3_text,
    "llama": llama,
    "mistral": llama,
    "phi3": phi3,
    "qwen2": qwen2,
    "qwen3": qwen3,
}


def random_parameter(
    name: str, shape: tuple[int, ...], spec: Spec, rng: np.random.Generator
) -> np.ndarray:
    """Draw one parameter in f32 with the scale that its role asks for."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if name.endswith("model.norm.weight"):
        return np.float32(spec.final_norm) + np.float32(0.2) * noise
    if name.endswith("norm.weight"):
        return 1.0 + np.float32(0.2) * noise
    if name.endswith(".bias"):
        return np.float32(0.5) * noise
    if name.endswith("embed_tokens.weight"):
        return np.float32(spec.embed_std) * noise
    gain = spec.block_gain if ".layers." in name else spec.head_gain
    return np.float32(gain / math.sqrt(shape[-1])) * noise


def random_model(spec: Spec) -> Any:
    """Build the model with mlx-lm's own class and seeded random weights."""
    module = MODULES[spec.config["model_type"]]
    model = module.Model(module.ModelArgs.from_dict(spec.config))
    rng = np.random.default_rng(spec.seed)
    # Sorting makes the draw independent of the order of attributes in mlx-lm.
    named = sorted(tree_flatten(model.parameters()))
    drawn = [(name, random_parameter(name, p.shape, spec, rng)) for name, p in named]
    weights = [(name, mx.array(value).astype(spec.dtype)) for name, value in drawn]
    model.update(tree_unflatten(weights))
    return model


def quantise(model: Any, config: Json, spec: Spec) -> tuple[Any, Json]:
    """Quantise with mlx-lm's own function, module by module where the spec says so."""
    overrides = spec.overrides or {}

    def packing(path: str, _: Any) -> bool | Json:
        named = (value for prefix, value in overrides.items() if path.startswith(prefix))
        return next(named, True)

    predicate = packing if overrides else None
    model, config = quantize_model(
        model, config, **spec.quantization, quant_predicate=predicate
    )
    # mlx-lm records what is packed otherwise; what is not packed may be recorded as well.
    for prefix, value in overrides.items():
        if value is False:
            config["quantization"][prefix] = False
    for path in spec.unnamed:
        del config["quantization"][path]
    return model, config


def stored_weights(model: Any, spec: Spec) -> list[tuple[str, mx.array]]:
    """Return the named tensors of the file, sorted."""
    weights = dict(tree_flatten(model.parameters()))
    for name in spec.absent:
        del weights[name]
    for name in spec.extra:
        weights[name] = mx.array([[1.0, -2.0]])
    return sorted(weights.items())


def shard_weights(weights: list[tuple[str, mx.array]], shards: int) -> Json:
    """Split the named weights into files of nearly equal tensor counts."""
    if shards == 1:
        return {"model.safetensors": dict(weights)}
    size = math.ceil(len(weights) / shards)
    return {
        f"model-{i + 1:05d}-of-{shards:05d}.safetensors": dict(
            weights[i * size : (i + 1) * size]
        )
        for i in range(shards)
    }


def write_index(folder: Path, files: Json, model: Any) -> None:
    """Write the index with the fields that mlx-lm's ``save_model`` writes."""
    index = {
        "metadata": {
            "total_size": sum(
                tensor.nbytes for part in files.values() for tensor in part.values()
            ),
            "total_parameters": get_total_parameters(model),
        },
        # The weights come sorted, so the map is sorted as mlx-lm's is.
        "weight_map": {name: file for file, part in files.items() for name in part},
    }
    text = json.dumps(index, indent=4) + "\n"
    (folder / "model.safetensors.index.json").write_text(text)


def write_checkpoint(spec: Spec, folder: Path) -> None:
    """Write one checkpoint folder in the layout of MLX and Hugging Face."""
    model = random_model(spec)
    config = dict(spec.config)
    if spec.quantization is not None:
        model, config = quantise(model, config, spec)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = shard_weights(stored_weights(model, spec), spec.shards)
    for file, part in files.items():
        mx.save_safetensors(str(folder / file), part, metadata={"format": "mlx"})
    if spec.shards > 1:
        write_index(folder, files, model)
    save_config(config, folder / "config.json")


def load_checkpoint(folder: Path) -> Any:
    """Load a folder the way mlx-lm does, with all floating-point tensors as f32."""
    model, _ = load_model(folder)
    # Widening is exact. Only the arithmetic changes, and only for f16 and bf16.
    model.set_dtype(mx.float32)
    return model


# --------------------------------------------------------------------------
# Greedy runs
# --------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One greedy run: a prompt, the sampling fields, and the penalty window."""

    prompt: str
    prompt_ids: list[int]
    label: str = "plain"
    window: str = "generated"
    sampling: Json = field(default_factory=dict)

    def full_sampling(self) -> Json:
        """Return every sampling field, so that no reader's default matters."""
        defaults = {
            "temperature": 0.0,
            "repetition_penalty": 1.0,
            "repetition_context_size": 20,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "logit_bias": {},
        }
        return {**defaults, **self.sampling}


def prompts(spec: Spec) -> dict[str, list[int]]:
    """Return one seeded prompt for each length, without the end id."""
    rng = np.random.default_rng([spec.seed, 1])
    limit = spec.config["vocab_size"] - 1
    return {f"len{n}": rng.integers(0, limit, n).tolist() for n in PROMPT_LENGTHS}


PENALTY_RUNS: tuple[tuple[str, str, str, Json], ...] = (
    # (label, prompt, window, sampling)
    (
        "repetition-1.3-ctx20",
        "len7",
        "generated",
        {"repetition_penalty": 1.3},
    ),
    (
        "repetition-1.3-ctx0",
        "len7",
        "generated",
        {"repetition_penalty": 1.3, "repetition_context_size": 0},
    ),
    ("presence-0.5", "len7", "generated", {"presence_penalty": 0.5}),
    ("frequency-0.3", "len7", "generated", {"frequency_penalty": 0.3}),
    ("logit-bias", "len7", "generated", {"logit_bias": {"5": 4.0, "17": -3.0}}),
    (
        "combined",
        "len7",
        "generated",
        {
            "repetition_penalty": 1.1,
            "repetition_context_size": 8,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.3,
            "logit_bias": {"5": 4.0, "17": -3.0},
        },
    ),
    (
        "repetition-1.3-ctx20",
        "len40",
        "generated",
        {"repetition_penalty": 1.3},
    ),
    (
        "repetition-1.3-ctx20",
        "len40",
        "prompt+generated",
        {"repetition_penalty": 1.3},
    ),
)


def runs(spec: Spec) -> Iterator[Run]:
    """Yield the plain runs of a checkpoint, then its penalised ones."""
    ids = prompts(spec)
    for name, prompt_ids in ids.items():
        yield Run(name, prompt_ids)
    if spec.penalties:
        for label, name, window, sampling in PENALTY_RUNS:
            yield Run(name, ids[name], label, window, sampling)


def make_processors(sampling: Json) -> list[Processor]:
    """Build mlx-lm's processors, with one context size for all three penalties."""
    window = sampling["repetition_context_size"]
    return sample_utils.make_logits_processors(
        logit_bias={int(k): v for k, v in sampling["logit_bias"].items()},
        repetition_penalty=sampling["repetition_penalty"],
        repetition_context_size=window,
        presence_penalty=sampling["presence_penalty"],
        presence_context_size=window,
        frequency_penalty=sampling["frequency_penalty"],
        frequency_context_size=window,
    )


def generated_only(processor: Processor, prompt_len: int) -> Processor:
    """Hide the prompt from a processor, which mlx-lm itself passes along."""
    return lambda tokens, logits: processor(tokens[prompt_len:], logits)


def run_greedy(model: Any, run: Run) -> Json:
    """Run mlx-lm's ``generate_step`` and return tokens, margins and logprobs."""
    processors = make_processors(run.full_sampling())
    if run.window == "generated":
        processors = [generated_only(p, len(run.prompt_ids)) for p in processors]
    if run.label == "plain":
        processors = []
    result: Json = {"tokens": [], "margins": [], "logprobs": []}
    # Each margin and logprob comes after the processors, as mlx-lm reports them.
    steps = generate_step(
        mx.array(run.prompt_ids),
        model,
        max_tokens=MAX_TOKENS,
        sampler=sample_utils.make_sampler(temp=0.0),
        logits_processors=processors,
    )
    for token, logprobs in steps:
        top = mx.sort(logprobs)[-2:]
        result["tokens"].append(token)
        result["margins"].append((top[1] - top[0]).item())
        result["logprobs"].append(logprobs[token].item())
    return result


def golden_entry(spec: Spec, run: Run, result: Json) -> Json:
    """Return one entry of goldens.json."""
    return {
        "name": f"{spec.name}/{run.prompt}/{run.label}/{run.window}",
        "checkpoint": spec.name,
        "weight_dtype": spec.weight_dtype,
        "compute_dtype": spec.compute_dtype,
        "prompt_ids": run.prompt_ids,
        "max_tokens": MAX_TOKENS,
        "sampling": run.full_sampling(),
        "window": run.window,
        "min_margin": min(result["margins"]),
        **result,
    }


def complaints(spec: Spec, run: Run, result: Json, others: list[Json]) -> list[str]:
    """Say why a result makes a poor golden; an empty list means it is good."""
    found = []
    if min(result["margins"]) < MIN_MARGIN:
        found.append(f"smallest margin {min(result['margins']):.2e}")
    if len(set(result["tokens"])) < MIN_DISTINCT:
        found.append(f"{len(set(result['tokens']))} distinct tokens")
    if spec.config["eos_token_id"] in result["tokens"]:
        found.append("the end id was produced")
    # Equal tokens under two settings would let a broken penalty pass.
    same = [o for o in others if o["prompt_ids"] == run.prompt_ids]
    if any(o["tokens"] == result["tokens"] for o in same):
        found.append("the tokens equal those of another setting")
    return found


def golden_runs(spec: Spec, folder: Path) -> tuple[list[Json], list[str]]:
    """Run one checkpoint and stop at the first result that fails the gates."""
    model = load_checkpoint(folder)
    entries: list[Json] = []
    for run in runs(spec):
        result = run_greedy(model, run)
        found = complaints(spec, run, result, entries)
        entries.append(golden_entry(spec, run, result))
        if found:
            return entries, [f"{entries[-1]['name']}: {text}" for text in found]
    return entries, []


# --------------------------------------------------------------------------
# Processors on fixed logits
# --------------------------------------------------------------------------

VOCAB = 64

PROCESSOR_CASES: tuple[tuple[str, Json, str], ...] = (
    # (name, arguments of make_logits_processors, history)
    ("none-installed", {}, "short"),
    (
        "repetition-1.05-ctx20",
        {"repetition_penalty": 1.05, "repetition_context_size": 20},
        "long",
    ),
    (
        "repetition-1.3-ctx5",
        {"repetition_penalty": 1.3, "repetition_context_size": 5},
        "long",
    ),
    (
        "repetition-0.9-ctx20",
        {"repetition_penalty": 0.9, "repetition_context_size": 20},
        "long",
    ),
    (
        "repetition-1.0",
        {"repetition_penalty": 1.0, "repetition_context_size": 20},
        "long",
    ),
    (
        "window-longer-than-history",
        {"repetition_penalty": 1.3, "repetition_context_size": 20},
        "short",
    ),
    (
        "window-0-is-whole-history",
        {"repetition_penalty": 1.3, "repetition_context_size": 0},
        "long",
    ),
    (
        "empty-history",
        {
            "repetition_penalty": 1.3,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.7,
        },
        "empty",
    ),
    (
        "repetition-repeated-token",
        {"repetition_penalty": 1.3, "repetition_context_size": 20},
        "repeats",
    ),
    (
        "presence-0.5",
        {"presence_penalty": 0.5, "presence_context_size": 20},
        "repeats",
    ),
    (
        "presence-negative",
        {"presence_penalty": -0.5, "presence_context_size": 4},
        "repeats",
    ),
    (
        "frequency-0.7",
        {"frequency_penalty": 0.7, "frequency_context_size": 20},
        "repeats",
    ),
    (
        "frequency-0.7-ctx0",
        {"frequency_penalty": 0.7, "frequency_context_size": 0},
        "long",
    ),
    ("logit-bias", {"logit_bias": {"3": 2.5, "60": -7.25}}, "short"),
    (
        "combined",
        {
            "logit_bias": {"3": 2.5, "60": -7.25},
            "repetition_penalty": 1.3,
            "repetition_context_size": 20,
            "presence_penalty": 0.5,
            "presence_context_size": 20,
            "frequency_penalty": 0.7,
            "frequency_context_size": 20,
        },
        "repeats",
    ),
    (
        "combined-mixed-windows",
        {
            "logit_bias": {"3": 2.5, "60": -7.25},
            "repetition_penalty": 1.05,
            "repetition_context_size": 5,
            "presence_penalty": 0.5,
            "presence_context_size": 9,
            "frequency_penalty": 0.7,
            "frequency_context_size": 0,
        },
        "long",
    ),
)


def fixed_logits(rng: np.random.Generator) -> np.ndarray:
    """Draw logits of both signs, with zeros and a tie for the first place."""
    logits = (4.0 * rng.standard_normal(VOCAB)).astype(np.float32)
    logits[[0, 9]] = 0.0
    logits[3] = -1.5
    logits[[20, 41]] = np.abs(logits).max() + np.float32(0.25)
    return logits


def histories(rng: np.random.Generator) -> dict[str, list[int]]:
    """Return histories that hit zeros, ties and biased ids."""
    long = rng.integers(0, VOCAB, 33).tolist()
    # Index 0 to 12 is outside a window of 20, so a wrong window shows.
    long[2], long[30], long[32] = 41, 9, 20
    return {
        "empty": [],
        "short": [3, 20, 0, 60, 12],
        "long": long,
        "repeats": [7, 3, 7, 20, 7, 60, 3, 0, 41, 7],
    }


def apply_processors(
    arguments: Json, history: list[int], logits: np.ndarray
) -> mx.array:
    """Run mlx-lm's own processors over one row of logits."""
    arguments = dict(arguments)
    if bias := arguments.get("logit_bias"):
        arguments["logit_bias"] = {int(k): v for k, v in bias.items()}
    tokens = mx.array(history, dtype=mx.int32)
    row = mx.array(logits)[None]
    for processor in sample_utils.make_logits_processors(**arguments):
        row = processor(tokens, row)
    return row


def processor_goldens() -> list[Json]:
    """Run every processor case on its own random logits, three times."""
    entries = []
    for number, (name, arguments, history_name) in enumerate(PROCESSOR_CASES):
        for variant in range(3):
            rng = np.random.default_rng([2, number, variant])
            logits = fixed_logits(rng)
            history = histories(rng)[history_name]
            output = apply_processors(arguments, history, logits)
            logprobs = output - mx.logsumexp(output, keepdims=True)
            entries.append(
                {
                    "name": f"{name}/{variant}",
                    "arguments": arguments,
                    "history": history,
                    "logits": logits.tolist(),
                    "output": output[0].tolist(),
                    "greedy": sample_utils.greedy_sampler(logprobs).item(),
                }
            )
    return entries


# --------------------------------------------------------------------------
# Sampler filters
# --------------------------------------------------------------------------

# A filter threshold this close to a probability could go either way in another
# program. Exact ties are made on purpose, from numbers that f32 holds exactly.
FILTER_GAP = 1e-4


def surviving(logprobs: mx.array) -> list[int]:
    """Return the ids that a filter did not set to minus infinity."""
    values = logprobs.reshape(-1).tolist()
    return [i for i, value in enumerate(values) if value != -math.inf]


def chained(logprobs: mx.array, parameters: Json) -> list[int]:
    """Return what reaches the draw inside mlx-lm's own ``make_sampler`` chain."""
    seen: list[mx.array] = []

    def record(filtered: mx.array, _: float) -> mx.array:
        seen.append(filtered)
        return sample_utils.greedy_sampler(filtered)

    with patch.object(sample_utils, "categorical_sampling", record):
        sample_utils.make_sampler(temp=0.7, **parameters)(logprobs)
    return surviving(seen[0])


def apply_filter(logprobs: mx.array, parameters: Json) -> list[int]:
    """Apply one filter directly, or several through the sampler's chain."""
    if len(parameters) > 1:
        return chained(logprobs, parameters)
    ((name, value),) = parameters.items()
    function = getattr(sample_utils, f"apply_{name}")
    kept = surviving(function(logprobs, value))
    assert kept == chained(logprobs, parameters), "the sampler changed a filter"
    return kept


FILTER_PARAMETERS: tuple[Json, ...] = (
    {"top_p": 0.1},
    {"top_p": 0.5},
    {"top_p": 0.9},
    {"top_p": 0.99},
    {"min_p": 0.01},
    {"min_p": 0.1},
    {"min_p": 0.5},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 40},
    {"top_p": 0.95, "min_p": 0.02},
    {"top_p": 0.9, "top_k": 5},
    {"min_p": 0.05, "top_k": 4},
    {"top_p": 0.97, "min_p": 0.02, "top_k": 7},
    {"top_p": 0.6, "min_p": 0.01, "top_k": 30},
)


def random_logprobs(seed: list[int]) -> mx.array:
    """Draw one row of normalised log-probabilities, with mlx-lm's formula."""
    rng = np.random.default_rng(seed)
    logits = mx.array((2.5 * rng.standard_normal(VOCAB)).astype(np.float32))[None]
    return logits - mx.logsumexp(logits, keepdims=True)


def nudges(value: float) -> tuple[float, float]:
    """Return the value moved down and up by the gap that must not matter."""
    return value * (1 - FILTER_GAP), value * (1 + FILTER_GAP)


def is_robust(logprobs: mx.array, parameters: Json) -> bool:
    """Say whether small changes of every threshold leave the survivors alone."""
    kept = apply_filter(logprobs, parameters)
    for name in parameters.keys() & {"top_p", "min_p"}:
        for value in nudges(parameters[name]):
            if apply_filter(logprobs, {**parameters, name: value}) != kept:
                return False
    return True


def filter_entry(name: str, logprobs: mx.array, parameters: Json, tie: str) -> Json:
    """Return one entry of filters.json."""
    return {
        "name": name,
        "parameters": parameters,
        "tie": tie,
        "logprobs": logprobs[0].tolist(),
        "survivors": apply_filter(logprobs, parameters),
    }


def random_filter_goldens() -> list[Json]:
    """Run each parameter set on two random rows that are far from a threshold."""
    entries = []
    for number, parameters in enumerate(FILTER_PARAMETERS):
        rows = (random_logprobs([3, number, attempt]) for attempt in count())
        robust = (row for row in rows if is_robust(row, parameters))
        for variant in range(2):
            name = f"random/{number}/{variant}"
            entries.append(filter_entry(name, next(robust), parameters, "none"))
    return entries


def dyadic_row(exponents: list[int]) -> mx.array:
    """Return a row of ln(2**-e), checked to give exact powers of two back."""
    row = mx.array([[-e * math.log(2.0) for e in exponents]])
    assert mx.exp(row).tolist()[0] == [2.0**-e for e in exponents]
    return row


def min_p_edge_row(min_p: float) -> mx.array:
    """Return a row with one value on the min-p threshold and one just below."""
    top = mx.array([-0.3])
    edge = np.array(top + math.log(min_p))
    below = np.nextafter(edge, np.float32(-np.inf))
    above = np.nextafter(edge, np.float32(np.inf))
    values = np.concatenate([below, np.array(top), edge, above, edge])
    return mx.array(values.astype(np.float32))[None]


def tie_filter_goldens() -> list[Json]:
    """Build rows with exact ties at the threshold of each filter."""
    halves = dyadic_row([3, 1, 2, 3])
    twins = dyadic_row([2, 3, 2, 4, 2, 4, 3])
    levels = dyadic_row([1, 4, 2, 4, 4, 6, 4])
    return [
        # The mass above the quarter is exactly top_p, so the quarter is dropped.
        filter_entry("top-p-mass-equal", halves, {"top_p": 0.5}, "exact"),
        filter_entry("top-p-mass-equal-2", halves, {"top_p": 0.75}, "exact"),
        # Tokens that tie with the last kept one stay, however many there are.
        filter_entry("top-p-value-tie", twins, {"top_p": 0.3}, "exact"),
        filter_entry("top-p-value-tie-2", twins, {"top_p": 0.8}, "exact"),
        filter_entry("top-p-all-equal", dyadic_row([2] * 4), {"top_p": 0.5}, "exact"),
        filter_entry("top-p-off-at-1", halves, {"top_p": 1.0, "min_p": 0.0}, "exact"),
        filter_entry("min-p-edge-0.1", min_p_edge_row(0.1), {"min_p": 0.1}, "exact"),
        filter_entry("min-p-edge-0.05", min_p_edge_row(0.05), {"min_p": 0.05}, "exact"),
        filter_entry("min-p-1", twins, {"min_p": 1.0}, "exact"),
        # Which of the tied tokens survive depends on the partition algorithm.
        filter_entry("top-k-tie", twins, {"top_k": 2}, "implementation-defined"),
        filter_entry("top-k-tie-low", levels, {"top_k": 4}, "implementation-defined"),
        filter_entry("top-k-tie-whole", twins, {"top_k": 3}, "exact"),
        filter_entry(
            "chain-tie", twins, {"top_p": 0.8, "min_p": 0.4, "top_k": 5}, "exact"
        ),
        filter_entry(
            "chain-top-k-cuts-tie",
            levels,
            {"top_p": 0.85, "min_p": 0.01, "top_k": 3},
            "implementation-defined",
        ),
    ]


# --------------------------------------------------------------------------
# Output
# --------------------------------------------------------------------------


def provenance(script: str) -> Json:
    """Name the program, the versions and the kind of machine."""
    packages = ("mlx", "mlx-lm", "numpy", "transformers")
    return {
        "script": script,
        **{name.replace("-", "_"): version(name) for name in packages},
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "device": "cpu",
    }


def write_json(
    path: Path,
    entries: list[Json],
    script: str = "tests/goldens/make_goldens.py",
    **extra: Any,
) -> None:
    """Write one entry per line, which keeps both the file and its diffs short."""
    made_by = provenance(script)
    head = {"format_version": FORMAT_VERSION, "provenance": made_by, **extra}
    lines = [json.dumps(entry, allow_nan=False) for entry in entries]
    text = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")
    body = ",\n  ".join(lines)
    path.write_text(f'{text},\n "entries": [\n  {body}\n ]\n}}\n')


def search(only: str) -> None:
    """Print, for each checkpoint, the first seed that passes the gates."""
    for spec in (spec for spec in SPECS if only in spec.name):
        for seed in range(MAX_SEEDS):
            trial = replace(spec, seed=seed)
            with tempfile.TemporaryDirectory() as folder:
                write_checkpoint(trial, Path(folder) / spec.name)
                _, found = golden_runs(trial, Path(folder) / spec.name)
            print(spec.name, seed, found or "passes", flush=True)
            if not found:
                break
        else:
            raise SystemExit(f"{spec.name}: no seed below {MAX_SEEDS} passes the gates")


def write_all() -> None:
    """Write the checkpoints and the three golden files."""
    entries: list[Json] = []
    for spec in SPECS:
        write_checkpoint(spec, HERE / spec.name)
        made, found = golden_runs(spec, HERE / spec.name)
        if found:
            raise SystemExit("\n".join([*found, "look for a seed with --search"]))
        entries += made
    write_json(HERE / "goldens.json", entries, seeds={s.name: s.seed for s in SPECS})
    write_json(HERE / "processors.json", processor_goldens())
    filters = random_filter_goldens() + tie_filter_goldens()
    write_json(HERE / "filters.json", filters)
    for entry in entries:
        distinct = len(set(entry["tokens"]))
        print(f"{entry['name']}: margin {entry['min_margin']:.4f}, {distinct} distinct")


def main() -> None:
    """Write the goldens, or search for seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", action="store_true", help="look for seeds only")
    parser.add_argument("--only", default="", help="search checkpoints with this in the name")
    arguments = parser.parse_args()
    if arguments.search:
        search(arguments.only)
    else:
        write_all()


if __name__ == "__main__":
    main()
