#!/usr/bin/env python3
"""Measures a chat model made by train.py (or the shipped one) and prints Markdown tables.

    .venv/bin/python models/evaluate.py --held-out DIR/held-out.json models/readme DIR/4bit

Of the held-out texts it reports the loss per token and, since tokenizers differ, per byte. It then
lets the model answer held-out prompts greedily at several repetition penalties and counts answers
that end in a loop, answers that end by themselves, and tool calls that are valid.

A loop: the answer ends in at least 4 copies and at least 32 tokens of one period of up to 64 tokens.
The penalty is the usual one: each distinct token of the window has its logit divided by the
penalty if it is positive, and multiplied by it if it is negative. Weights are dequantised to f32.
"""

import argparse
import json
import math
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from train import END_OF_TEXT, bare, dequantise, letters

WINDOW = 512  # the length the model was trained at
TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>\n", re.S)
ANSWER = "<|im_start|>assistant\n"


class Model:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        stored = load_file(folder / "model.safetensors")
        self.weights = {}
        how = self.config.get("quantization") or {}
        for name, value in stored.items():
            stem = name.removesuffix(".weight")
            if name.endswith((".scales", ".biases")):
                continue
            if stem + ".scales" in stored:
                parts = (value, stored[stem + ".scales"], stored[stem + ".biases"])
                value = dequantise(*parts, how["bits"], how["group_size"])
            self.weights[name] = jnp.array(value, jnp.float32)
        self.ends = self.config["eos_token_id"]
        self.run = jax.jit(self.forward)
        self.loss = jax.jit(self.chunk_loss)
        self.decode = jax.jit(self.next_token, static_argnames=("covers_prompt",), donate_argnums=(1,))

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def empty_cache(self, rows, length):
        c = self.config
        shape = (rows, length, c["num_key_value_heads"], c["hidden_size"] // c["num_attention_heads"])
        return [(jnp.zeros(shape), jnp.zeros(shape)) for _ in range(c["num_hidden_layers"])]

    def forward(self, weights, tokens, starts, cache):
        """Hidden states of `tokens`, row r standing at positions starts[r], starts[r] + 1, …"""
        c = self.config
        rows, count = tokens.shape
        length = cache[0][0].shape[1]
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        size = c["hidden_size"] // heads
        positions = starts[:, None] + jnp.arange(count)
        angles = positions[..., None] * c["rope_theta"] ** (-jnp.arange(0, size, 2) / size)
        cos, sin = jnp.cos(angles)[:, :, None], jnp.sin(angles)[:, :, None]
        visible = jnp.arange(length) <= positions[..., None]  # (rows, count, length)
        row = jnp.arange(rows)[:, None]

        def norm(x, weight):
            return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + c["rms_norm_eps"]) * weight

        def rotated(x):
            a, b = jnp.split(x, 2, -1)
            return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

        x = weights["model.embed_tokens.weight"][tokens]
        written = []
        for layer in range(c["num_hidden_layers"]):
            take = lambda name: weights[f"model.layers.{layer}.{name}.weight"]
            split = lambda y: y.reshape(rows, count, -1, size)
            y = norm(x, take("input_layernorm"))
            q = rotated(split(y @ take("self_attn.q_proj").T))
            keys, values = cache[layer]
            keys = keys.at[row, positions].set(rotated(split(y @ take("self_attn.k_proj").T)))
            values = values.at[row, positions].set(split(y @ take("self_attn.v_proj").T))
            written.append((keys, values))
            q = q.reshape(rows, count, kv_heads, heads // kv_heads, size)
            scores = jnp.einsum("rckgd,rtkd->rkgct", q, keys) * size**-0.5
            scores = jax.nn.softmax(jnp.where(visible[:, None, None], scores, -1e30), -1)
            y = jnp.einsum("rkgct,rtkd->rckgd", scores, values).reshape(rows, count, -1)
            x = x + y @ take("self_attn.o_proj").T
            y = norm(x, take("post_attention_layernorm"))
            y = jax.nn.silu(y @ take("mlp.gate_proj").T) * (y @ take("mlp.up_proj").T)
            x = x + y @ take("mlp.down_proj").T
        return norm(x, weights["model.norm.weight"]), written

    def logits(self, weights, hidden):
        return hidden @ weights["model.embed_tokens.weight"].T

    def chunk_loss(self, weights, tokens):
        """Negative log-likelihood of each token but the first, in nats."""
        hidden, _ = self.forward(
            weights, tokens[:, :-1], jnp.zeros(len(tokens), jnp.int32),
            self.empty_cache(len(tokens), tokens.shape[1] - 1),
        )
        logits = self.logits(weights, hidden)
        chosen = jnp.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0]
        return jax.nn.logsumexp(logits, -1) - chosen

    def token_losses(self, sequences, batch=4):
        """Per sequence the loss of each token but its first, in windows of 512 that do not overlap."""
        pieces = []
        for i, ids in enumerate(sequences):
            for start in range(0, len(ids) - 1, WINDOW):
                pieces.append((i, ids[start : start + WINDOW + 1]))
        found = [[] for _ in sequences]
        for at in range(0, len(pieces), batch):
            tokens = np.zeros((batch, WINDOW + 1), np.int32)
            for row, (_, piece) in enumerate(pieces[at : at + batch]):
                tokens[row, : len(piece)] = piece
            losses = np.asarray(self.loss(self.weights, tokens))
            for row, (i, piece) in enumerate(pieces[at : at + batch]):
                found[i].extend(losses[row, : len(piece) - 1])
        return found

    def next_token(self, weights, cache, last, tokens, lengths, prompts, penalty, window, covers_prompt):
        """Penalises `last` (logits), takes its best token, writes that, and runs it for the next logits."""
        rows, room = tokens.shape
        place, row = jnp.arange(room), jnp.arange(rows)
        inside = (place >= (lengths - window)[:, None]) & (place < lengths[:, None])
        if not covers_prompt:
            inside &= place >= prompts[:, None]
        seen = jnp.zeros(last.shape, bool).at[row[:, None], tokens].max(inside)
        last = jnp.where(seen, jnp.where(last < 0, last * penalty, last / penalty), last)
        best = jnp.argmax(last, -1).astype(jnp.int32)
        tokens = tokens.at[row, lengths].set(best)
        hidden, cache = self.forward(weights, best[:, None], lengths, cache)
        return cache, self.logits(weights, hidden[:, 0]), tokens, lengths + 1

    def answers(self, texts, penalties, limit, covers_prompt):
        """For each (penalty, window), for each prompt: (token ids without the end token, ended)."""
        prompts = [self.encode(text).ids for text in texts]
        lengths = np.array([len(ids) for ids in prompts], np.int32)
        room = int(lengths.max()) + limit
        tokens = np.zeros((len(prompts), room), np.int32)
        for row, ids in enumerate(prompts):
            tokens[row, : len(ids)] = ids
        # Prompts are padded on the right. What padding leaves in the cache is overwritten before
        # any token may look at it.
        first = tokens[:, : int(lengths.max())]
        hidden, filled = self.run(
            self.weights, first, np.zeros(len(first), np.int32), self.empty_cache(len(first), room)
        )
        start = self.logits(self.weights, hidden[np.arange(len(first)), lengths - 1])
        found = []
        for penalty, window in penalties:
            cache = jax.tree.map(jnp.copy, filled)
            last, written, at = start, jnp.array(tokens), jnp.array(lengths)
            for _ in range(limit):
                cache, last, written, at = self.decode(
                    self.weights, cache, last, written, at, lengths, penalty, window, covers_prompt=covers_prompt
                )
            rows = []
            for row, length in zip(np.asarray(written), lengths):
                ids = row[length : length + limit].tolist()
                end = next((i for i, token in enumerate(ids) if token in self.ends), None)
                rows.append((ids[:end], end is not None))
            found.append(rows)
        return found

    def text(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)


def period_of_loop(ids, copies=4, least=32, longest=64):
    """The shortest period the answer ends in a loop of, or None."""
    for period in range(1, longest + 1):
        run = period
        while run < len(ids) and ids[-1 - run] == ids[-1 - run + period]:
            run += 1
        if run >= max(least, copies * period) and len(ids) >= run:
            return period
    return None


def valid_call(text, system):
    """The arguments of a well-formed call of one of the prompt's tools, otherwise None."""
    tools = {}
    for line in re.search(r"<tools>\n(.*?)\n</tools>", system, re.S)[1].split("\n"):
        tool = json.loads(line)
        tools[tool["name"]] = tool["parameters"]
    found = re.fullmatch(r"(?:[^<]*\n)?<tool_call>\n(.*)\n</tool_call>", text, re.S)
    try:
        call = json.loads(found[1]) if found else {}
        arguments = call["arguments"]
        good = arguments.keys() == tools[call["name"]].keys()
        return arguments if good and all(isinstance(value, str) for value in arguments.values()) else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def figures_of_loss(model, held_out, most_documents):
    """(name, loss per token, bits per byte) of each kind of held-out text."""
    rows = []

    def add(name, losses, size):
        rows.append((name, np.mean(losses), np.sum(losses) / math.log(2) / size))

    documents = held_out.get("documents", [])[:most_documents]
    if documents:
        sequences = [[END_OF_TEXT, *model.encode(text).ids] for text in documents]
        losses = np.concatenate(model.token_losses(sequences))
        add("documents", losses, sum(len(text.encode()) for text in documents))
    for kind in ("plain", "tool"):
        chats = held_out.get(kind, [])
        encodings = [model.encode(text) for text in chats]
        losses = model.token_losses([encoding.ids for encoding in encodings])
        replies, size = [], 0
        for text, encoding, row in zip(chats, encodings, losses):
            spans = [found.span(2) for found in TURN.finditer(text) if found[1] == "assistant"]
            size += sum(len(text[start:end].encode()) for start, end in spans)
            for (start, _), loss in zip(encoding.offsets[1:], row):
                if any(a <= start <= b for a, b in spans):  # b: the end-of-turn token
                    replies.append(loss)
        if chats:
            add(f"{kind} chats, replies", replies, size)
    return rows


def markdown(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def penalty_setting(text):
    penalty, _, window = text.partition("/")
    return float(penalty), int(window or 20)


def prompts_of(held_out, most):
    """Distinct prompts for the three tasks; each is the text up to where the model is to answer."""
    before_first = lambda text: text[: text.index(ANSWER) + len(ANSWER)]
    before_last = lambda text: text[: text.rindex(ANSWER) + len(ANSWER)]
    distinct = lambda texts: list(dict.fromkeys(texts))[:most]
    return {
        "explain": distinct(map(before_last, held_out["plain"])),
        "call": distinct(map(before_first, held_out["tool"])),
        "summarise": distinct(map(before_last, held_out["tool"])),
    }


def behaviour(model, prompts, arguments):
    answers = {
        task: model.answers(texts, arguments.penalties, arguments.tokens, arguments.window_covers == "all")
        for task, texts in prompts.items()
    }
    rows = []
    for i, (penalty, window) in enumerate(arguments.penalties):
        loops = lambda task: sum(period_of_loop(ids) is not None for ids, _ in answers[task][i])
        ended = lambda task: sum(end for _, end in answers[task][i])
        valid = right = named = 0
        for prompt, (ids, end) in zip(prompts["call"], answers["call"][i]):
            call = valid_call(model.text(ids), prompt) if end else None
            valid += call is not None
            file = re.search(r"[\w/]+\.(?:md|rs)", TURN.findall(prompt)[1][1])
            right += call is not None and call.get("file_path") == file[0]
        for prompt, (ids, _) in zip(prompts["summarise"], answers["summarise"][i]):
            title = bare(re.search(r"<tool_response>\n(.*)", prompt)[1])
            named += letters(title) in letters(model.text(ids))
        rows.append([
            f"{penalty}; {window}", loops("explain"), ended("explain"), valid, right,
            loops("summarise"), ended("summarise"), named,
        ])
        if arguments.show:
            for task, texts in prompts.items():
                for prompt, (ids, end) in list(zip(texts, answers[task][i]))[: arguments.show]:
                    asked = TURN.findall(prompt)[1][1]
                    print(f"[{task} {penalty} loop={period_of_loop(ids)} ended={end}] {asked}\n{model.text(ids)}\n")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=pathlib.Path, nargs="+", help="folders with config.json and weights")
    parser.add_argument("--held-out", type=pathlib.Path, required=True,
                        help='JSON file with lists of texts "plain", "tool" and, optionally, "documents"')
    parser.add_argument("--prompts", type=int, default=16, help="most prompts per task")
    parser.add_argument("--documents", type=int, help="most documents for the loss [all]")
    parser.add_argument("--tokens", type=int, default=200, help="longest answer")
    parser.add_argument("--penalties", type=lambda text: [penalty_setting(part) for part in text.split(",")],
                        default="1.0,1.05/20,1.1/20,1.2/20", help="PENALTY/WINDOW,… [%(default)s]")
    parser.add_argument("--window-covers", choices=["all", "generated"], default="all",
                        help="whether the window reaches back into the prompt [all, as mlx-lm 0.32 has it]")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print the first N answers of each task")
    parser.add_argument("--loss-only", action="store_true")
    arguments = parser.parse_args()
    held_out = json.loads(arguments.held_out.read_text(encoding="utf-8"))
    for folder in arguments.models:
        model = Model(folder)
        count = sum(value.size for value in model.weights.values())
        print(f"### {folder.parent.name}/{folder.name}: {count:,} parameters\n")
        rows = figures_of_loss(model, held_out, arguments.documents)
        markdown(
            ["held-out text", "loss per token", "bits per byte"],
            [(name, f"{loss:.3f}", f"{bits:.3f}") for name, loss, bits in rows],
        )
        if arguments.loss_only:
            continue
        prompts = prompts_of(held_out, arguments.prompts)
        n = {task: len(texts) for task, texts in prompts.items()}
        markdown(
            [
                "penalty; window",
                f"explain ({n['explain']}): loops", "ended",
                f"tool call ({n['call']}): valid", "right file",
                f"summarise ({n['summarise']}): loops", "ended", "names the title",
            ],
            behaviour(model, prompts, arguments),
        )


if __name__ == "__main__":
    main()
