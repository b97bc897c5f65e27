"""Runs scripted checkpoints through the mlx-lm that is installed."""

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

# mlx_lm picks its generation stream while it is imported, so the device has to
# be fixed first. The CPU is the one device that every platform has.
mx.set_default_device(mx.cpu)

from mlx_lm import load, stream_generate  # noqa: E402
from mlx_lm.generate import BatchGenerator  # noqa: E402
from mlx_lm.sample_utils import make_logits_processors  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EOS = 2


def compile_script(loopwatch, script, folder):
    """Writes the checkpoint of a script and returns mlx-lm's model and tokenizer."""
    subprocess.run(
        [loopwatch, "checkpoint", str(script), str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return load(str(folder))


def prompt_ids(tokenizer, messages):
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    # Newer transformers return a mapping.
    return list(ids["input_ids"] if hasattr(ids, "keys") else ids)


def processors(penalty, context, skip=0):
    """mlx-lm's own processors; with ``skip``, blind to the first tokens of the history."""
    if penalty is None:
        return []
    made = make_logits_processors(
        repetition_penalty=penalty, repetition_context_size=context
    )
    if skip == 0:
        return made
    return [lambda tokens, logits: p(tokens[skip:], logits) for p in made]


def sequential(model, tokenizer, prompt, max_tokens, made):
    """The path of ``generate`` and of servers with a seed: ids, text, finish reason."""
    ids, text, reason = [], "", None
    for response in stream_generate(
        model, tokenizer, prompt, max_tokens=max_tokens, logits_processors=made
    ):
        ids.append(response.token)
        text += response.text
        reason = response.finish_reason
    return ids, text, reason


def batched(model, prompt, max_tokens, made):
    """The path of servers without a seed, since 0.28.4 or 0.30: ids and finish reason."""
    generator = BatchGenerator(model, max_tokens=max_tokens, stop_tokens=[[EOS]])
    generator.insert([prompt], [max_tokens], logits_processors=[made])
    ids = []
    while responses := generator.next_generated():
        for response in responses:
            ids.append(response.token)
            if response.finish_reason is not None:
                generator.close()
                return ids, response.finish_reason
    raise RuntimeError("the generator ended without a finish reason")


def provenance(script):
    return {
        "script": script,
        "versions": {
            name: version(name)
            for name in ("mlx", "mlx-lm", "tokenizers", "transformers")
        },
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": "cpu",
    }


def render(head, entries):
    """JSON with one entry on a line, so that a change shows in a diff."""
    lines = ",\n".join("    " + json.dumps(entry) for entry in entries)
    body = json.dumps(head, indent=2)[:-2]
    return f'{body},\n  "entries": [\n{lines}\n  ]\n}}\n'


def period(ids):
    """The shortest period of at least two whole copies at the end, or None."""
    for length in range(1, len(ids) // 2 + 1):
        if ids[-length:] == ids[-2 * length : -length]:
            return length
    return None


def settle(path, text, write):
    """Writes a golden file, or compares with it. Returns whether all is well."""
    if write:
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
        return True
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["entries"] == json.loads(text)["entries"]:
        print(f"{path.relative_to(ROOT)}: {len(kept['entries'])} entries, all equal")
        return True
    print(f"{path.relative_to(ROOT)}: differs; look, then run again with --write")
    return False
