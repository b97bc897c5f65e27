"""Eight clients at once: the rate of all their tokens, by server.

Every server runs weights of one shape with as many threads. In each round every server in turn gets
one streamed greedy completion from each client, all at the same moment, with prompts that it has not
seen; who comes first changes from round to round. The rate is all tokens over the time from the first
request to the last byte. Each answer must have exactly the tokens that were asked for, and all servers
must count the same tokens in a prompt.

`clients` beside this file builds what it needs and starts it.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

#: Longest wait for a server to be there, and for one piece of an answer, in seconds.
PATIENCE = 120


class Failed(Exception):
    """A server did not do what it was asked."""


@dataclass(frozen=True)
class Server:
    name: str
    #: Program and arguments; `{port}` is where it listens.
    command: list[str]
    #: What its requests say beside what all say.
    extra: dict[str, Any]


@dataclass(frozen=True)
class Load:
    clients: int
    prompt: int
    tokens: int


@dataclass(frozen=True)
class Answer:
    prompt_tokens: int
    tokens: int
    first: float
    last: float


def servers(arguments: argparse.Namespace) -> list[Server]:
    found = []
    load = arguments.clients, arguments.prompt + arguments.tokens
    threads = str(arguments.threads)
    for precision in ("fast", "exact"):
        command = [arguments.loopwatch, "serve", "--port", "{port}", "--threads", threads]
        command += ["--model", str(arguments.models / "mlx-4bit"), "--precision", precision]
        found.append(Server(f"loopwatch {precision}", command, {"repetition_penalty": 1.0}))
    command = [arguments.llama_server, "--port", "{port}", "--threads", threads]
    command += ["--model", str(arguments.models / "q4_0.gguf"), "--parallel", str(load[0])]
    # A slot's share of the context has room for prompt and answer, and a little more.
    command += ["--ctx-size", str(load[0] * (load[1] + 64)), "--host", "127.0.0.1"]
    found.append(Server("llama-server", command, {}))
    return found


@contextmanager
def running(server: Server) -> Iterator[str]:
    """Starts it and gives its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [part.replace("{port}", port) for part in server.command]
    with tempfile.TemporaryFile() as log:
        environment = os.environ | {"LOOPWATCH_LOG": "off"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            wait_for(process, f"127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"
        except Failed as error:
            log.seek(0)
            said = log.read().decode(errors="replace")[-2000:]
            raise Failed(f"{server.name}: {error}\n{' '.join(command)}\n{said}") from error
        finally:
            process.terminate()
            process.wait()


def wait_for(process: subprocess.Popen, address: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"it ended with {process.returncode}")
        try:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise Failed(f"it did not answer within {PATIENCE} s")


def prompt(round_number: int, client: int, length: int) -> str:
    """Letters that no merge joins, so each is a token everywhere; another beginning for each."""
    beginning = "".join("abcdefgh"[int(digit)] for digit in f"{round_number:03o}{client:03o}")
    return (beginning + "qwertyuop" * length)[:length]


def ask(address: str, server: Server, text: str, load: Load) -> Answer:
    body = {"prompt": text, "max_tokens": load.tokens, "temperature": 0, "ignore_eos": True}
    body |= {"stream": True, "stream_options": {"include_usage": True}, **server.extra}
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    headers = {"content-type": "application/json"}
    connection.request("POST", "/v1/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise Failed(f"status {answer.status}: {answer.read(2000).decode(errors='replace')}")
    first, usage = None, None
    for line in answer:
        if line.startswith(b"data: {"):
            first = first or time.perf_counter()
            if b'"usage":{' in line:
                usage = json.loads(line[6:])["usage"]
    last = time.perf_counter()
    if first is None or usage is None:
        raise Failed("an answer without tokens or usage")
    return Answer(usage["prompt_tokens"], usage["completion_tokens"], first, last)


def together(address: str, server: Server, texts: list[str], load: Load) -> tuple[float, int]:
    """Tokens per second of all clients at once, and the tokens of one prompt."""
    answers: list[Answer] = []
    failures: list[Exception] = []
    ready = threading.Barrier(len(texts) + 1)

    def client(text: str) -> None:
        ready.wait()
        try:
            answers.append(ask(address, server, text, load))
        except (OSError, ValueError, KeyError, http.client.HTTPException, Failed) as error:
            failures.append(error)

    threads = [threading.Thread(target=client, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise Failed(str(failures[0]))
    counts = {(answer.prompt_tokens, answer.tokens) for answer in answers}
    if counts != {(answers[0].prompt_tokens, load.tokens)}:
        raise Failed(f"answers of other lengths than {load.tokens} tokens: {counts}")
    took = max(answer.last for answer in answers) - start
    return len(answers) * load.tokens / took, answers[0].prompt_tokens


def measure(every: list[Server], load: Load, rounds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {server.name: [] for server in every}
    with ExitStack() as stack:
        # One that waits for requests takes no time from the one that is measured.
        addresses = {server.name: stack.enter_context(running(server)) for server in every}
        lengths = set()
        for number in range(rounds + 1):
            turn = number % len(every)
            for server in every[turn:] + every[:turn]:
                texts = [prompt(number, client, load.prompt) for client in range(load.clients)]
                rate, length = together(addresses[server.name], server, texts, load)
                lengths.add(length)
                # The first round warms up.
                if number > 0:
                    rates[server.name].append(rate)
                print(f"round {number}, {server.name}: {rate:.1f} tokens/s", file=sys.stderr)
        if len(lengths) != 1:
            raise Failed(f"the servers count different tokens in one prompt: {lengths}")
    return rates


def print_table(rates: dict[str, list[float]], load: Load, threads: int) -> None:
    reference = rates["llama-server"]
    rounds = len(reference)
    print(
        f"{load.clients} clients, prompts of {load.prompt} tokens, answers of {load.tokens}, "
        f"{threads} threads, {rounds} rounds: median (min to max)"
    )
    for name, samples in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(samples, reference, strict=True)]
        print(
            f"  {name:16} {statistics.median(samples):7.1f} tokens/s "
            f"({min(samples):.1f} to {max(samples):.1f})   "
            f"{statistics.median(ratios):5.2f} times llama-server "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    for program in ("loopwatch", "llama-server"):
        parser.add_argument(f"--{program}", required=True, help="set by clients")
    parser.add_argument("--models", type=Path, required=True, help="set by clients")
    arguments = parser.parse_args()
    load = Load(arguments.clients, arguments.prompt, arguments.tokens)
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"warning: the machine is busy (load {busy:.1f}); ratios suffer", file=sys.stderr)
    try:
        rates = measure(servers(arguments), load, arguments.rounds)
    except Failed as error:
        sys.exit(f"clients: error: {error}")
    print_table(rates, load, arguments.threads)


if __name__ == "__main__":
    main()
