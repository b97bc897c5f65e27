"""Checks that mlx-lm obeys scripted checkpoints, and records what it makes of them.

For every case of cases.json: compile the script with loopwatch, load the
checkpoint with mlx-lm, generate, and check the stated period or end. The
tokens become goldens.json, with which the ordinary tests compare loopwatch.

    python -m pip install -r tests/scripted/requirements.txt
    cargo build
    python tests/scripted/verify_with_mlx_lm.py [--write] [--loopwatch PATH]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import real


def run(case, model, tokenizer):
    """One golden entry for each window: mlx-lm's own, and generated tokens only."""
    prompt = real.prompt_ids(tokenizer, case["messages"])
    for window, skip in (("prompt+generated", 0), ("generated", len(prompt))):
        made = real.processors(
            case["repetition_penalty"], case["repetition_context_size"], skip
        )
        ids, text, reason = real.sequential(
            model, tokenizer, prompt, case["max_tokens"], made
        )
        yield {
            **{key: case[key] for key in case if key != "expect"},
            "window": window,
            "prompt_ids": prompt,
            "tokens": ids,
            "text": text,
            "finish_reason": reason,
        }


def problems(entry, expect):
    """What mlx-lm did that the case does not say."""
    if entry["finish_reason"] != expect["finish_reason"]:
        yield f"ends by {entry['finish_reason']}, not {expect['finish_reason']}"
    if (found := real.period(entry["tokens"])) != expect["period"]:
        yield f"has period {found}, not {expect['period']}"
    if "text" in expect and entry["text"] != expect["text"]:
        yield f"says {entry['text']!r}, not {expect['text']!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loopwatch", default=str(real.ROOT / "target/debug/loopwatch"))
    parser.add_argument("--write", action="store_true", help="replace goldens.json")
    arguments = parser.parse_args()

    cases = json.loads((real.HERE / "cases.json").read_text(encoding="utf-8"))
    scripts = {case["script"] for case in cases}
    examples = (real.ROOT / "scenarios/checkpoints").glob("*.yaml")
    missing = {str(path.relative_to(real.ROOT)) for path in examples} - scripts
    failures = [f"{script}: no case" for script in sorted(missing)]
    entries = []
    with tempfile.TemporaryDirectory() as scratch:
        loaded = {}
        for case in cases:
            script = case["script"]
            if script not in loaded:
                folder = Path(scratch) / str(len(loaded))
                loaded[script] = real.compile_script(
                    arguments.loopwatch, real.ROOT / script, folder
                )
            for entry in run(case, *loaded[script]):
                entries.append(entry)
                # What a case states holds for the window of generated tokens.
                if entry["window"] == "generated":
                    for problem in problems(entry, case["expect"]):
                        failures.append(f"{case['name']}: {problem}")
    head = {"format_version": 1, "provenance": real.provenance("verify_with_mlx_lm.py")}
    well = real.settle(
        real.HERE / "goldens.json", real.render(head, entries), arguments.write
    )
    for failure in failures:
        print(failure)
    print(f"{len(cases)} cases, {len(failures)} failures")
    return 0 if well and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
