#!/usr/bin/env python3
"""How much faster `loopwatch serve` gives an answer again than it generates it.

Starts the server with an answer cache, asks for the same greedy answer over one connection, in turn
generated (`Cache-Control: no-cache`) and given again, and prints the medians and their ratio. Every
answer must be the same, and come from where it should. Needs nothing but Python.

    benches/serving/answer_cache.py [MODEL] [TOKENS]

LOOPWATCH names another program than target/release/loopwatch.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("LOOPWATCH", "target/release/loopwatch")
ROUNDS = 9


def ask(connection, body, fresh):
    headers = {"content-type": "application/json"}
    if fresh:
        headers["cache-control"] = "no-cache"
    start = time.perf_counter()
    connection.request("POST", "/v1/completions", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    took = time.perf_counter() - start
    assert answer.status == 200, text
    assert (answer.getheader("x-loopwatch-cache") == "hit") != fresh, answer.getheaders()
    return took, json.loads(text)["choices"]


def measure(address, tokens):
    connection = http.client.HTTPConnection(address)
    body = json.dumps(
        {
            "prompt": "Explain Building Rust programs",
            "max_tokens": tokens,
            "ignore_eos": True,
            "repetition_penalty": 1.1,
        }
    )
    _, expected = ask(connection, body, fresh=True)
    times = {True: [], False: []}
    for _ in range(ROUNDS):
        for fresh in times:
            took, choices = ask(connection, body, fresh)
            assert choices == expected
            times[fresh].append(took)
    return times[True], times[False]


def main():
    model = sys.argv[1] if len(sys.argv) > 1 else "builtin:readme"
    tokens = int(sys.argv[2]) if len(sys.argv) > 2 else 512
    arguments = ["serve", "--port", "0", "--model", model, "--answer-cache", str(64 << 20)]
    server = subprocess.Popen(
        [PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"LOOPWATCH_LOG": "off"},
    )
    try:
        line = server.stdout.readline()
        generated, again = measure(line.split("http://")[1].strip(), tokens)
    finally:
        server.terminate()
        server.wait()
    print(f"{model}, {tokens} tokens, {ROUNDS} rounds; milliseconds: median (min to max)")
    for name, times in [("generated", generated), ("given again", again)]:
        median, low, high = (1e3 * f(times) for f in (statistics.median, min, max))
        print(f"  {name:12} {median:9.2f} ({low:.2f} to {high:.2f})")
    ratios = [slow / fast for slow, fast in zip(generated, again)]
    print(f"  ratio        {statistics.median(ratios):9.0f} ({min(ratios):.0f} to {max(ratios):.0f})")


if __name__ == "__main__":
    main()
