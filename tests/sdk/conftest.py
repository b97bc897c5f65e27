"""Servers for the tests: the program, started on a free port, with a model of its own."""

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import anthropic
import openai
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("LOOPWATCH", "target/release/loopwatch")
KEY = "a-key-for-tests"


@contextmanager
def served(model, *arguments):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLX_")
    }
    environment |= {"LOOPWATCH_API_KEY": KEY, "LOOPWATCH_LOG": "off"}
    process = subprocess.Popen(
        [PROGRAM, "serve", "--port", "0", "--model", model, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert " answers on http://" in line, line
        yield line.split()[-1]
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="session")
def agent():
    """A model that thinks, calls the tool Read, and answers with its result at hand."""
    with served("script:scenarios/checkpoints/think-then-call.yaml") as url:
        yield url


@pytest.fixture(scope="session")
def coder(tmp_path_factory):
    """A model whose prompt opens its thought, and whose calls are those of Qwen3-Coder."""
    folder = tmp_path_factory.mktemp("model") / "coder"
    script = ROOT / "tests/scripted/coder.yaml"
    subprocess.run([PROGRAM, "checkpoint", script, folder], check=True, capture_output=True)
    template = folder / "chat_template.jinja"
    # Real templates show the form of the model's calls.
    template.write_text(template.read_text() + "{#- Calls: <function=NAME> -#}")
    with served(str(folder)) as url:
        yield url


@pytest.fixture(scope="session")
def counter():
    """A model that says one two three four five, over and over below a penalty of 1.031."""
    with served("script:scenarios/checkpoints/period-five.yaml") as url:
        yield url


@pytest.fixture(scope="session")
def looper():
    """The same without a penalty, behind a server that tells its clients of loops."""
    model = "script:scenarios/checkpoints/period-five.yaml"
    with served(model, "--on-loop", "annotate", "--repetition-penalty", "1.0") as url:
        yield url


@pytest.fixture(scope="session")
def real():
    with served("builtin:readme") as url:
        yield url


def openai_at(url, **options):
    options = {"api_key": KEY, "max_retries": 0} | options
    return openai.OpenAI(base_url=f"{url}/v1", **options)


def anthropic_at(url, **options):
    options = {"api_key": KEY, "max_retries": 0} | options
    return anthropic.Anthropic(base_url=url, **options)
