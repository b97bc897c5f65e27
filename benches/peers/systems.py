"""The systems that are compared, and how one run of each is started and read.

Knows command lines and what programs print; rounds, ratios and tables are compare.py's.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Failed(Exception):
    """A program did not do what it was started for."""


@dataclass(frozen=True)
class Shape:
    """What every run measures."""

    prompt: int
    tokens: int
    repeats: int
    threads: int


def run(command: list[str]) -> tuple[str, int]:
    """What a program prints on stdout, and the most memory it used, in bytes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        except OSError as error:
            raise Failed(f"cannot start {command[0]}: {error.strerror}") from error
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            said = err.read().decode(errors="replace")[-2000:]
            raise Failed(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
        # Kibibytes, except on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        return out.read().decode(errors="replace"), usage.ru_maxrss * unit


def parsed(command: list[str], text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(f"{' '.join(command)} printed no JSON: {text[:200]!r}") from error


def rates(samples: list[Json]) -> list[float]:
    return [sample["tokens"] / sample["seconds"] for sample in samples]


@dataclass(frozen=True)
class System:
    """One row of the table."""

    slug: str
    name: str
    program: str
    weights: Path

    #: Rounds it takes part in; None is all.
    rounds: int | None = field(default=None, kw_only=True)
    #: What a reader of its row has to know.
    note: str = field(default="", kw_only=True)

    def weight_bytes(self) -> int:
        path = self.weights
        return (path / "model.safetensors" if path.is_dir() else path).stat().st_size

    def measure(self, shape: Shape) -> Json:
        """Rates of one run, in tokens per second: lists `prefill`, `decode`, and for loopwatch
        `together`, eight sequences; and `peak_bytes`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Loopwatch(System):
    flags: tuple[str, ...] = ()

    def measure(self, shape: Shape) -> Json:
        report = bench(self.program, str(self.weights), shape, self.flags)
        one, eight = report["decode"]
        memory = report["memory"]
        return {
            "prefill": rates(report["prefill"]["samples"]),
            "decode": rates(one["samples"]),
            "together": rates(eight["samples"]),
            "peak_bytes": memory["peak_bytes"] or report["max_rss"],
            "needed_bytes": memory["weight_bytes"] + memory["kv_bytes"],
        }


def bench(program: str, model: str, shape: Shape, flags: tuple[str, ...] = ()) -> Json:
    """What `loopwatch bench` reports."""
    command = [program, "bench", "--json", "--model", model, "--batch", "1,8", *flags]
    for name in ("prompt", "tokens", "repeats", "threads"):
        command += [f"--{name}", str(getattr(shape, name))]
    text, max_rss = run(command)
    return {**parsed(command, text), "max_rss": max_rss}


@dataclass(frozen=True)
class LlamaCpp(System):
    def measure(self, shape: Shape) -> Json:
        command = [self.program, "-o", "json", "-m", str(self.weights)]
        command += ["-p", str(shape.prompt), "-n", str(shape.tokens)]
        command += ["-r", str(shape.repeats), "-t", str(shape.threads)]
        text, peak = run(command)
        report: Json = {"peak_bytes": peak}
        for test in parsed(command, text):
            kind = "decode" if test["n_gen"] else "prefill"
            tokens = test["n_gen"] or test["n_prompt"]
            report[kind] = [tokens * 1e9 / took for took in test["samples_ns"]]
        if not report.keys() >= {"prefill", "decode"}:
            raise Failed(f"{' '.join(command)} did not report both tests")
        return report


@dataclass(frozen=True)
class MlxLm(System):
    prompt: int = field(default=16, kw_only=True)
    tokens: int = field(default=2, kw_only=True)

    def measure(self, shape: Shape) -> Json:
        script = Path(__file__).with_name("mlx_once.py")
        command = [self.program, str(script), "--model", str(self.weights)]
        command += ["--prompt", str(self.prompt), "--tokens", str(self.tokens)]
        text, peak = run(command)
        report = parsed(command, text)
        return {
            "prefill": rates(report["prefill"]),
            "decode": rates(report["decode"]),
            "peak_bytes": peak,
        }


def precisions(loopwatch: str) -> dict[str, tuple[str, ...]]:
    """The precisions that this loopwatch has, and the flags that choose them."""
    help_text, _ = run([loopwatch, "bench", "--help"])
    if "--precision" not in help_text:
        return {"exact": ()}
    return {name: ("--precision", name) for name in ("exact", "fast")}


def all_systems(loopwatch: str, llama_bench: str, python: str, models: Path) -> list[System]:
    """Every system that can run here, in the order of the table."""
    systems: list[System] = []
    for bits in (4, 8):
        for precision, flags in precisions(loopwatch).items():
            slug = f"loopwatch-{precision}" + ("" if bits == 4 else f"-{bits}bit")
            name = f"loopwatch {precision}, MLX {bits}-bit"
            weights = models / f"mlx-{bits}bit"
            systems.append(Loopwatch(slug, name, loopwatch, weights, flags))
    for slug, name in (
        ("q4_0", "Q4_0"),
        ("q4_0-mixed", "Q4_0 mixed"),
        ("q4_1", "Q4_1"),
        ("q8_0", "Q8_0"),
    ):
        weights = models / f"{slug}.gguf"
        systems.append(LlamaCpp(f"llama-{slug}", f"llama.cpp {name}", llama_bench, weights))
    systems.append(
        MlxLm(
            "mlx-lm",
            "mlx-lm, MLX 4-bit",
            python,
            models / "mlx-4bit",
            rounds=2,
            note="so slow on this backend that it got 16 tokens of prompt and 2 decode steps, in 2 "
            "rounds; it chooses its threads itself",
        )
    )
    return systems
