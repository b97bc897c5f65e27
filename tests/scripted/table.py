"""Records how one scripted loop ends under the mlx-lm that is installed.

Periods, penalties and windows in all combinations, through both of mlx-lm's
generation paths. Versions differ in what the window holds, and this table is
the difference. Run it once for each version, each in an environment of its own:

    python -m pip install -r tests/scripted/requirements-0.28.3.txt
    python tests/scripted/table.py [--write] [--loopwatch PATH]
"""

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import real

PERIODS = (1, 5, 19, 20, 21, 30)
# None is a request without a penalty: no processor is installed.
PENALTIES = (None, 1.0, 1.03, 1.05)
WINDOWS = (20, 64, 0)
MAX_TOKENS = 200
MESSAGES = [{"role": "user", "content": "Repeat after me"}]


def script(period, folder):
    """The script of period.yaml with its tokens filled in."""
    tokens = ", ".join(f'"w{index} "' for index in range(period))
    text = (real.HERE / "period.yaml").read_text(encoding="utf-8")
    path = Path(folder) / f"period-{period}.yaml"
    path.write_text(text.replace("[TOKENS]", f"[{tokens}]"), encoding="utf-8")
    return path


def check(ids, period, reason):
    """An answer is the loop, and the end if there is one; anything else is a mistake here."""
    body = ids[:-1] if reason == "stop" else ids
    ring = ids[:period]
    assert body == [ring[i % period] for i in range(len(body))], ids
    assert (ids[-1] == real.EOS) == (reason == "stop"), ids


def cells(period, model, tokenizer):
    prompt = real.prompt_ids(tokenizer, MESSAGES)
    for penalty in PENALTIES:
        for window in WINDOWS:
            made = real.processors(penalty, window)
            answers = {}
            ids, _, reason = real.sequential(model, tokenizer, prompt, MAX_TOKENS, made)
            answers["sequential"] = (ids, reason)
            # Older versions do not batch requests with penalties.
            if hasattr(real.BatchGenerator, "next_generated"):
                answers["batched"] = real.batched(model, prompt, MAX_TOKENS, made)
            for path, (ids, reason) in answers.items():
                check(ids, period, reason)
                yield {
                    "period": period,
                    "repetition_penalty": penalty,
                    "repetition_context_size": window,
                    "path": path,
                    "prompt_ids": prompt,
                    "completion_tokens": len(ids),
                    "finish_reason": reason,
                }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loopwatch", default=str(real.ROOT / "target/debug/loopwatch"))
    parser.add_argument("--write", action="store_true", help="replace the golden file")
    arguments = parser.parse_args()
    entries = []
    with tempfile.TemporaryDirectory() as scratch:
        for period in PERIODS:
            folder = Path(scratch) / f"period-{period}"
            model, tokenizer = real.compile_script(
                arguments.loopwatch, script(period, scratch), folder
            )
            entries.extend(cells(period, model, tokenizer))
    head = {
        "format_version": 1,
        "provenance": real.provenance("table.py"),
        "max_tokens": MAX_TOKENS,
    }
    path = real.HERE / f"table-{version('mlx-lm')}.json"
    well = real.settle(path, real.render(head, entries), arguments.write)
    for path in ("sequential", "batched"):
        for period in PERIODS:
            row = [
                entry["completion_tokens"]
                for entry in entries
                if entry["period"] == period and entry["path"] == path
            ]
            if row:
                print(path, "period", period, row)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
