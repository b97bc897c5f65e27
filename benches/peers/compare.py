"""Runs loopwatch and its peers in turn, round after round, and prints tables in Markdown.

`run` beside this file builds everything and calls this. Programs only have to start with what is
given; see README.md for what is compared with what.
"""

import argparse
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterable

from systems import (
    Failed,
    Json,
    Loopwatch,
    Shape,
    System,
    all_systems,
    bench,
    parsed,
    precisions,
    rates,
    run,
)

#: What the others are set against: the same bits per weight as MLX's 4-bit, everywhere.
REFERENCE = "llama-q4_0"
#: What llama-quantize makes of Q4_0 when nobody says how.
MIXED = "llama-q4_0-mixed"
#: Starts of the built-in model, over all rounds.
STARTS = 20
#: Decode steps of the built-in model; it is fast.
BUILTIN_TOKENS = 512
#: Load that lets one doubt the figures; building, just before, counts too.
BUSY = 1.0


def say(text: str) -> None:
    print(f"peers: {text}", file=sys.stderr, flush=True)


# ---- Measuring ----


def measure(arguments: argparse.Namespace, systems: list[System], results: Json) -> None:
    """Fills `results`, which holds whatever was measured, at any time."""
    shape = Shape(arguments.prompt, arguments.tokens, arguments.repeats, arguments.threads)
    for index in range(arguments.rounds):
        label = f"round {index + 1}/{arguments.rounds}"
        results["load"].append(load())
        results["machine"].append(machine(arguments.machine, label))
        taking_part = [one for one in systems if one.rounds is None or index < one.rounds]
        # Whoever comes first in one round comes last in another.
        turn = index % len(taking_part)
        for system in taking_part[turn:] + taking_part[:turn]:
            start = time.monotonic()
            found = system.measure(shape)
            results["rounds"].append({"round": index, "system": system.slug, **found})
            took = time.monotonic() - start
            prefill, decode = (number(statistics.median(found[kind])) for kind in KINDS)
            say(f"{label}: {system.name}: prefill {prefill}, decode {decode} tok/s ({took:.0f} s)")
            save(arguments.json, results)
        if not arguments.skip_builtin:
            results["builtin"].append(builtin(arguments, index))
            say(f"{label}: built-in model measured")
            save(arguments.json, results)


KINDS = ("prefill", "decode")


def machine(program: str | None, label: str) -> Json:
    if program is None:
        return {}
    text, _ = run([program, "--json"])
    report = parsed([program], text)
    say(f"{label}: machine's limits measured")
    return report


def load() -> float | None:
    """Processes that want to run, over the last minute; before the first round, those of others."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def builtin(arguments: argparse.Namespace, index: int) -> Json:
    """The built-in model: its rates, and the time from process start to the end of a process that
    writes one token."""
    shape = Shape(arguments.prompt, BUILTIN_TOKENS, arguments.repeats, arguments.threads)
    by_precision: Json = {}
    for precision, flags in precisions(arguments.loopwatch).items():
        report = bench(arguments.loopwatch, "builtin:readme", shape, flags)
        one, eight = (rates(series["samples"]) for series in report["decode"])
        by_precision[precision] = {"decode": one, "together": eight}
    command = [arguments.loopwatch, "generate", "--model", "builtin:readme", "--prompt", "Hello"]
    command += ["--max-tokens", "1", "--threads", str(arguments.threads)]
    starts = math.ceil(STARTS / arguments.rounds)
    return {
        "round": index,
        "rates": by_precision,
        "start_ms": [start_ms(command) for _ in range(starts)],
    }


def start_ms(command: list[str]) -> float:
    start = time.perf_counter()
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.perf_counter() - start
    if ran.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {ran.returncode}: {ran.stderr.decode()}")
    return took * 1e3


def save(path: Path | None, results: Json) -> None:
    """Written anew after each run, and never half: an interruption loses nothing."""
    if path is not None:
        beside = path.with_name(path.name + ".new")
        beside.write_text(json.dumps(results, indent=1) + "\n")
        beside.replace(path)


# ---- Tables ----


def number(value: float) -> str:
    """Three digits that mean something."""
    if value < 0.1:
        return f"{value:.4f}"
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def spread(values: Iterable[float], unit: str = "") -> str:
    """Median, and the ends behind it."""
    values = sorted(values)
    if not values:
        return "–"
    middle = number(statistics.median(values)) + unit
    if len(values) == 1:
        return middle
    return f"{middle} ({number(values[0])}–{number(values[-1])})"


def table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]

    def line(cells: list[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    return "\n".join([line(head), line(rule), *map(line, rows)])


class Results:
    """What was measured, by system and round."""

    def __init__(self, results: Json) -> None:
        self.runs: dict[str, dict[int, Json]] = {}
        for found in results["rounds"]:
            self.runs.setdefault(found["system"], {})[found["round"]] = found
        self.builtin = results["builtin"]
        self.machine = [limits for limits in results["machine"] if limits]

    def medians(self, slug: str, kind: str) -> dict[int, float]:
        """The middle of each round."""
        runs = self.runs.get(slug, {})
        return {index: statistics.median(run[kind]) for index, run in runs.items() if kind in run}

    def ratios(self, slug: str, kind: str, other: str, other_kind: str | None = None) -> list[float]:
        """One for each round in which both took part."""
        ours, theirs = self.medians(slug, kind), self.medians(other, other_kind or kind)
        return [ours[index] / theirs[index] for index in sorted(ours.keys() & theirs.keys())]

    def limit(self, name: str, threads: int) -> list[float]:
        return [
            sample
            for limits in self.machine
            for row in limits["limits"]
            if row["limit"] == name and row["threads"] == threads
            for sample in row["samples"]
        ]

    def thread_counts(self) -> list[int]:
        rows = (row for limits in self.machine for row in limits["limits"])
        return sorted({row["threads"] for row in rows})


def phase_table(
    kind: str, title: str, systems: list[System], results: Results, notes: bool = False
) -> str:
    """One phase of all systems; `notes` adds what holds for decode only."""
    head = [title, "weights", "tok/s", "against Q4_0", "against mixed"]
    if notes:
        head += ["weights read, GB/s", "peak memory"]
    rows = []
    for system in systems:
        if system.slug not in results.runs:
            continue
        size = system.weight_bytes()
        medians = results.medians(system.slug, kind).values()
        row = [system.name, f"{size / 2**20:.0f} MiB", spread(medians)]
        for other in (REFERENCE, MIXED):
            same = system.slug == other
            row.append("1" if same else spread(results.ratios(system.slug, kind, other)))
        if notes:
            # Embedding and output layer are one matrix, so a token takes every weight once.
            peak = max(run["peak_bytes"] for run in results.runs[system.slug].values())
            row += [f"{statistics.median(medians) * size / 1e9:.1f}", f"{peak / 2**20:.0f} MiB"]
        rows.append(row)
    return table(head, rows)


def own_table(systems: list[System], results: Results) -> str:
    """What only loopwatch is asked for."""
    rows = []
    for system in systems:
        runs = results.runs.get(system.slug)
        if not isinstance(system, Loopwatch) or not runs:
            continue
        memory = [run["peak_bytes"] / run["needed_bytes"] for run in runs.values()]
        rows.append([
            system.name,
            spread(results.medians(system.slug, "together").values()),
            spread(results.ratios(system.slug, "together", system.slug, "decode"), " ×"),
            spread(results.ratios(system.slug, "decode", "mlx-lm"), " ×"),
            spread(memory, " ×"),
        ])
    head = ["system", "8 sequences, tok/s", "against one", "decode against mlx-lm"]
    return table([*head, "peak memory against weights + KV cache"], rows) if rows else ""


def builtin_table(results: Results) -> str:
    rows = []
    for precision in results.builtin[0]["rates"]:
        for kind, sequences in (("decode", "1 sequence"), ("together", "8 sequences")):
            samples = [rate for found in results.builtin for rate in found["rates"][precision][kind]]
            rows.append([f"{precision}: decode, {sequences}, tok/s", spread(samples)])
    starts = [sample for found in results.builtin for sample in found["start_ms"]]
    what = f"whole process that writes one token, ms ({len(starts)} starts)"
    rows.append([what, spread(starts)])
    return table(["built-in model", "median (least–greatest)"], rows)


def machine_table(results: Results) -> str:
    isa = results.machine[0]["isa"]
    rows = []
    for name, text in (
        ("read_bytes_per_second", "memory read, GB/s"),
        ("f32_flop_per_second", f"f32 multiply-add ({isa}), GFLOP/s"),
        ("integer_products_per_second", f"products of 4 and 8 bits ({isa}), G/s"),
    ):
        for threads in results.thread_counts():
            values = [sample / 1e9 for sample in results.limit(name, threads)]
            plural = "" if threads == 1 else "s"
            rows.append([f"{text}, {threads} thread{plural}", spread(values)])
    return table(["machine", "median (least–greatest)"], rows)


def show(systems: list[System], raw: Json, arguments: argparse.Namespace) -> None:
    results = Results(raw)
    if not results.runs:
        return
    rounds = len({found["round"] for found in raw["rounds"]})
    how = f"threads: {arguments.threads}, rounds: {rounds}"
    print(f"\n{raw['processor']}, {how}. Qwen2.5-0.5B shape,")
    print("random weights. Medians of the rounds (least–greatest); ratios are of one round each.")
    print("Mixed has its embedding in Q8_0, as llama-quantize makes Q4_0 by itself.\n")
    if raw["load"] and (raw["load"][0] or 0) > BUSY:
        print(f"Load {raw['load'][0]:.1f} before the first round. If that was more than this script's own")
        print("building, measure again: threads that wait for each other suffer far more than their share.\n")
    print(phase_table("prefill", f"prefill, {arguments.prompt} tokens", systems, results))
    decode = f"decode, {arguments.tokens} steps"
    print("\n" + phase_table("decode", decode, systems, results, notes=True))
    for system in systems:
        if system.note and system.slug in results.runs:
            print(f"\n{system.name}: {system.note}.")
    parts: list[Callable[[], str]] = [lambda: own_table(systems, results)]
    if results.builtin:
        parts.append(lambda: builtin_table(results))
    if results.machine:
        parts.append(lambda: machine_table(results))
    for part in parts:
        if text := part():
            print(f"\n{text}")


# ---- Command line ----


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def arguments_of(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benches/peers/run",
        description=__doc__.splitlines()[0],
        epilog="Names for --skip and --only: loopwatch-exact, loopwatch-fast, loopwatch-exact-8bit, "
        "loopwatch-fast-8bit, llama-q4_0, llama-q4_0-mixed, llama-q4_1, llama-q8_0, mlx-lm.",
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--threads", type=positive, default=cores, metavar="N", help="[all cores]")
    parser.add_argument("--rounds", type=positive, metavar="N", help="[5, with --quick 2]")
    parser.add_argument("--repeats", type=positive, metavar="N",
                        help="measurements of one run, whose median is the round's [3, with --quick 1]")
    parser.add_argument("--prompt", type=positive, default=256, metavar="N", help="tokens [256]")
    parser.add_argument("--tokens", type=positive, default=64, metavar="N", help="decode steps [64]")
    parser.add_argument("--quick", action="store_true", help="a first impression, not a result")
    parser.add_argument("--skip", action="append", default=[], metavar="NAME", help="leave one out")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="nothing else")
    parser.add_argument("--skip-builtin", action="store_true", help="nothing of the built-in model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every sample, written as it comes")
    for program in ("loopwatch", "llama-bench", "python", "machine", "models"):
        parser.add_argument(f"--{program}", metavar="PATH", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    arguments.repeats = arguments.repeats or (1 if arguments.quick else 3)
    if arguments.loopwatch is None:
        parser.error("start benches/peers/run, which builds what this needs")
    return arguments


def selected(systems: list[System], arguments: argparse.Namespace) -> list[System]:
    known = {system.slug for system in systems}
    for name in arguments.skip + arguments.only:
        if name not in known:
            raise Failed(f"there is no system '{name}' here; there are {', '.join(sorted(known))}")
    chosen = [
        system
        for system in systems
        if system.slug not in arguments.skip and (not arguments.only or system.slug in arguments.only)
    ]
    if not chosen:
        raise Failed("nothing is left to measure")
    return chosen


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> int:
    arguments = arguments_of(sys.argv[1:])
    signal.signal(signal.SIGTERM, stop)
    raw: Json = {
        "processor": processor(),
        "settings": {name: getattr(arguments, name) for name in
                     ("threads", "rounds", "repeats", "prompt", "tokens")},
        "rounds": [],
        "builtin": [],
        "machine": [],
        "load": [],
    }
    systems: list[System] = []
    try:
        models = Path(arguments.models)
        found = all_systems(arguments.loopwatch, arguments.llama_bench, arguments.python, models)
        systems = selected(found, arguments)
        raw["weight_bytes"] = {system.slug: system.weight_bytes() for system in systems}
        measure(arguments, systems, raw)
        code = 0
    except (Failed, OSError) as error:
        say(f"error: {error}")
        code = 1
    except KeyboardInterrupt:
        say("interrupted; what follows is what was measured until then")
        code = 130
    show(systems, raw, arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
