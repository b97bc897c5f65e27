#!/usr/bin/env python3
"""Trains a small chat model from scratch on a CPU, by the recipe behind `builtin:readme`.

    python3 -m venv .venv
    .venv/bin/pip install -r models/requirements.txt
    .venv/bin/python models/train.py --out DIR

Stages, each of which leaves its result in DIR and is skipped when that result is there:

    corpus      DIR/corpus.json       documents, chats, and what was held out of both
    tokenizer   DIR/tokenizer.json    byte-level BPE, 4,096 entries
    tokens      DIR/tokens.npz        the same as numbers
    training    DIR/checkpoint.npz    weights and optimiser; an interrupted run goes on from it
    export      DIR/f16, DIR/4bit     Hugging Face names; the second in MLX affine 4-bit layout
    summary     DIR/summary.json      settings, corpus figures, held-out losses

README.md in this folder describes the result, and evaluate.py measures it.
"""

import argparse
import collections
import functools
import hashlib
import html.parser
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

import numpy as np

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
END_OF_TEXT = 0


class Settings:
    """The full-size recipe. `--smoke` shrinks it until a run takes about a minute."""

    vocabulary = 4096
    hidden, layers, heads, kv_heads, ffn = 256, 6, 8, 4, 704
    length, batch = 512, 8
    chat_share = 0.45  # of the rows in a batch
    peak_rate, final_rate, warm_up = 3e-3, 0.05, 50
    betas, weight_decay, clip = (0.9, 0.98), 0.05, 1.0
    save_every, held_out_every, held_out_rows = 100, 200, 24
    documents = None  # files taken of each source; None is all
    rope_theta, norm_eps = 10_000.0, 1e-5

    @classmethod
    def smoke(cls):
        small = cls()
        small.vocabulary, small.hidden, small.layers, small.ffn = 512, 64, 2, 192
        small.heads, small.kv_heads, small.length, small.batch = 4, 2, 128, 4
        small.warm_up, small.save_every, small.held_out_every, small.held_out_rows = 5, 20, 20, 8
        small.documents = 120
        return small

    def config(self):
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "intermediate_size": self.ffn,
            "vocab_size": self.vocabulary,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
            "torch_dtype": "float16",
            "eos_token_id": [2, 0],
            "bos_token_id": 0,
            "hidden_act": "silu",
        }


def say(text):
    print(text, flush=True)


def write_json(path, value, **options):
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, **options) + "\n", encoding="utf-8")
    partial.replace(path)


# ---------------------------------------------------------------- corpus

# Parts of the Rust documentation under MIT OR Apache-2.0. The embedded book is not among them:
# its prose is CC-BY-SA-4.0. The API pages of std, core and alloc are left out for their size.
BOOKS = [
    "book", "cargo", "clippy", "edition-guide", "error_codes", "nomicon", "reference",
    "rust-by-example", "rustc", "rustdoc", "style-guide", "unstable-book",
]
# Translations, and pages that say where an old edition has gone.
LEFT_OUT = {"es", "ja", "ko", "zh", "2018-edition", "first-edition", "second-edition"}
LICENCES = {
    "0BSD", "Apache-2.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0",
    "Unlicense", "Zlib",
}
# Texts with terms of their own, and lists of names.
NOT_PROSE = re.compile(
    r"^(licen[cs]e|copying|copyright|notice|unicode|authors|contributors|.*code_of_conduct)", re.I
)
OTHER_TERMS = re.compile(r"Creative Commons|\bCC[- ]BY", re.I)


class PageText(html.parser.HTMLParser):
    """The <main> part of an mdBook page as Markdown-like text."""

    VOID = {"br", "hr", "img", "input", "wbr", "meta", "link", "source", "col"}
    BLOCKS = {"p", "div", "ul", "ol", "dl", "dt", "dd", "table", "blockquote", "section"}
    SKIPPED = {"script", "style", "svg", "button", "nav", "template", "textarea"}
    SKIPPED_CLASSES = {"boring", "rule-link", "grammar-container", "grammar-railroad", "footnote-reference"}

    def __init__(self):
        super().__init__()
        self.parts, self.stack = [], []
        self.in_main = self.in_pre = False
        self.skipping = 0

    def handle_starttag(self, tag, attributes):
        if tag == "main":
            self.in_main = True
        if not self.in_main:
            return
        if tag == "br":
            self.put("\n")
        if tag in self.VOID:
            return
        classes = (dict(attributes).get("class") or "").split()
        skip = tag in self.SKIPPED or not self.SKIPPED_CLASSES.isdisjoint(classes)
        self.stack.append((tag, skip))
        self.skipping += skip
        if re.fullmatch("h[1-6]", tag):
            self.put("\n\n" + "#" * int(tag[1]) + " ")
        elif tag == "pre":
            self.put("\n\n```")
            self.in_pre = "fresh"
        elif tag == "code":
            if self.in_pre == "fresh":
                language = next((c[9:].split(",")[0] for c in classes if c.startswith("language-")), "")
                self.put(language + "\n")
                self.in_pre = True
            elif not self.in_pre:
                self.put("`")
        elif tag == "li":
            self.put("\n- ")
        elif tag == "tr":
            self.put("\n|")
        elif tag in self.BLOCKS:
            self.put("\n\n")

    def handle_endtag(self, tag):
        if tag == "main":
            self.in_main = False
        if not self.in_main or tag in self.VOID or all(tag != open_tag for open_tag, _ in self.stack):
            return
        while self.stack:
            open_tag, skip = self.stack.pop()
            self.close(open_tag)
            self.skipping -= skip
            if open_tag == tag:
                return

    def close(self, tag):
        if tag == "pre":
            self.in_pre = False
            if not "".join(self.parts[-1:]).endswith("\n"):
                self.put("\n")
            self.put("```\n\n")
        elif tag == "code" and not self.in_pre:
            self.put("`")
        elif tag in ("td", "th"):
            self.put(" |")
        elif tag in self.BLOCKS or re.fullmatch("h[1-6]", tag):
            self.put("\n\n")

    def handle_data(self, data):
        if self.in_main:
            if self.in_pre == "fresh":
                self.put("\n")
                self.in_pre = True
            self.put(data if self.in_pre else re.sub(r"\n[ \t]+", "\n", data))

    def put(self, text):
        if not self.skipping:
            self.parts.append(text)


def page_text(source):
    parser = PageText()
    parser.feed(source)
    return re.sub(r"\n- \s+", "\n- ", "".join(parser.parts))


def markdown_text(source):
    """Markdown without badges, comments, raw tags and link targets. Code fences stay as they are."""
    pieces = re.split(r"(^```.*?^```[ \t]*$)", source, flags=re.S | re.M)
    for i in range(0, len(pieces), 2):
        text = re.sub(r"<!--.*?-->", "", pieces[i], flags=re.S)
        text = re.sub(r"!\[[^\]]*\](\([^)]*\)|\[[^\]]*\])", "", text)
        text = re.sub(r"\[([^\[\]]*)\](\([^()]*\)|\[[^\[\]]*\])", r"\1", text)
        text = re.sub(r"^\s*\[[^\]]+\]:\s.*$", "", text, flags=re.M)
        text = re.sub(r"</?(a|p|div|br|img|h\d|details|summary|sup|sub|picture|source|center)\b[^>]*>", "", text)
        pieces[i] = text
    return "".join(pieces)


def tidy(text):
    text = text.replace("\r\n", "\n").replace("\u00a0", " ")
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def allowed(expression):
    """Whether an SPDX expression (or the old A/B form) can be met with LICENCES alone."""
    words = re.findall(r"[()]|[^\s()/]+|/", expression.replace("WITH LLVM-exception", ""))

    def either():
        found = both()
        while words and words[0] in ("OR", "/"):
            words.pop(0)
            found = both() or found
        return found

    def both():
        found = single()
        while words and words[0] == "AND":
            words.pop(0)
            found = single() and found
        return found

    def single():
        word = words.pop(0) if words else ""
        if word != "(":
            return word in LICENCES
        found = either()
        if words:
            words.pop(0)
        return found

    return either()


def rust_books():
    """(name, text) of every page of the books that rustup installs beside the compiler."""
    remedy = (
        "install it with `rustup component add rust-docs`, or point --rust-docs at a folder "
        "that holds book/, reference/, cargo/ and so on"
    )
    folder = arguments.rust_docs
    if folder is None:
        try:
            root = subprocess.run(
                ["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"cannot ask rustc where its documentation lies ({error}); {remedy}")
        folder = pathlib.Path(root) / "share/doc/rust/html"
    if not (folder / "book").is_dir():
        sys.exit(f"no Rust documentation in {folder}; {remedy}")
    for book in BOOKS:
        if not (folder / book).is_dir():
            say(f"corpus: {book} is not installed, going on without it")
        for path in sorted((folder / book).rglob("*.html")):
            inner = path.relative_to(folder)
            if path.name != "print.html" and inner.parts[1] not in LEFT_OUT:
                yield f"rust/{inner.as_posix()}", page_text(path.read_text(encoding="utf-8"))
    notes = folder / "releases.md"
    if notes.is_file():
        versions = re.split(r"^(?=Version .*\n=+$)", notes.read_text(encoding="utf-8"), flags=re.M)
        for text in versions[1:]:
            title, _, rest = text.partition("\n")
            rest = re.sub(r"^=+\n", "", rest)
            rest = re.sub(r"^(.+)\n-{3,}$", r"## \1", rest, flags=re.M)
            yield f"rust/releases/{title}", markdown_text(f"# {title}\n\n{rest}")


def crate_texts(licences):
    """(name, text) of the Markdown files of permissively licensed crates in cargo's registry."""
    folder = arguments.registry
    if folder is None:
        home = os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo"
        folder = pathlib.Path(home) / "registry/src"
    manifests = sorted(folder.glob("*/*/Cargo.toml"), key=lambda path: path.parent.name)
    if not manifests:
        sys.exit(
            f"no unpacked crates in {folder}; run `cargo fetch` in any Rust project (this one will "
            "do), or point --registry at a folder <registry>/<crate>/Cargo.toml"
        )
    for manifest in manifests:
        found = re.search(r'^license\s*=\s*"([^"]+)"', manifest.read_text(encoding="utf-8"), re.M)
        licence = found[1] if found else "none given"
        taken = allowed(licence)
        licences["taken" if taken else "left out"][licence] += 1
        if not taken:
            continue
        crate = manifest.parent
        for path in sorted(crate.rglob("*")):
            if path.suffix.lower() == ".md" and path.is_file() and not NOT_PROSE.match(path.name):
                name = f"crates/{crate.name}/{path.relative_to(crate).as_posix()}"
                yield name, markdown_text(path.read_text(encoding="utf-8", errors="replace"))


def sections(text):
    """(title, body) for each heading; headings inside code fences do not count."""
    title, body, fenced = "", [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            fenced = not fenced
        heading = None if fenced else re.match(r"#{1,6}\s+(.*)", line)
        if heading:
            yield title, "\n".join(body).strip()
            title, body = line, []
        else:
            body.append(line)
    yield title, "\n".join(body).strip()


def letters(text):
    return re.sub(r"[\W_]+", "", text).lower()


def fingerprint(text):
    return hashlib.sha256(text.encode()).hexdigest()


SHINGLE = 64


def shingles_of(path):
    """Every run of 64 letters and digits in the chats of a file, their system turns apart."""
    found = set()
    for chats in json.loads(path.read_text(encoding="utf-8")).values():
        for chat in chats:
            for role, turn in re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", chat, re.S):
                text = letters(turn) if role != "system" else ""
                found.update(text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1))
    return found


def collect(settings):
    licences = {"taken": collections.Counter(), "left out": collections.Counter()}
    foreign = shingles_of(arguments.hold_out) if arguments.hold_out else set()
    counts = collections.Counter()
    seen, documents = set(), {"train": [], "held_out": []}

    def sources():
        # `--smoke` takes a few files of each, from all over.
        limit, stride = settings.documents, 20 if settings.documents else 1
        yield from itertools.islice(rust_books(), 0, limit and limit * stride, stride)
        yield from itertools.islice(crate_texts(licences), limit)

    for name, raw in sources():
        counts["files"] += 1
        text = tidy(raw)
        if OTHER_TERMS.search(text) or any(token in text for token in SPECIAL):
            counts["left out: other terms or special tokens inside"] += 1
            continue
        if sum(map(str.isascii, text)) < 0.97 * len(text):
            counts["left out: not ASCII"] += 1
            continue
        kept = []
        for title, body in sections(text):
            mark = fingerprint(letters(title + body))
            if body and mark not in seen:
                seen.add(mark)
                kept.append(f"{title}\n\n{body}".strip())
        text = "\n\n".join(kept)[:60_000]
        if len(text) < 200:
            counts["left out: short or seen before"] += 1
            continue
        if foreign:
            plain = letters(text)
            if any(plain[i : i + SHINGLE] in foreign for i in range(len(plain) - SHINGLE + 1)):
                counts["left out: shares text with --hold-out"] += 1
                continue
        held_out = int(fingerprint(text)[:8], 16) % 100 < 4
        documents["held_out" if held_out else "train"].append({"name": name, "text": text})
    if not documents["held_out"]:
        sys.exit("the corpus is too small to hold anything out; see the notes on sources above")
    return documents, licences, counts


# ---------------------------------------------------------------- chats

PLAIN_SYSTEM = "You are a helpful assistant."
TOOLS = [("Read", "file_path"), ("Task", "prompt"), ("Bash", "command")]
TOOL_SYSTEM = (
    "# Tools\n\nYou may call one or more functions.\n<tools>\n"
    + "".join(f'{{"name": "{name}", "parameters": {{"{key}": "string"}}}}\n' for name, key in TOOLS)
    + "</tools>\nReturn a call within <tool_call></tool_call> tags."
)
FILES = ["README.md"] * 5 + ["src/lib.rs", "docs/guide.md", "CHANGELOG.md"]
READ_REQUESTS = [
    "read {} and summarise", "read {} and summarize", "Summarise {}",
    "please read {} and give me a summary", "what does {} say?",
]
BEFORE_CALL = ["", "I'll read the file first.\n", "I'm going to read {}.\n"]
SUMMARIES = ["Summary of {file}:\n\n- {title}\n- {first}", "{title}: {first}", "This file is about {title}. {first}"]
EXPLAIN_REQUESTS = [
    "Explain {}", "What is {}?", "Tell me about {}", "Write a short note on {}", "How does {} work?",
]


def chat(*turns):
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)


def bare(title):
    """A heading's words, without its signs."""
    title = re.sub(r"^#+\s*|\s*\{#.*?\}|\s*#+$", "", title)
    return re.sub(r"[`*]|\\(?=\W)", "", title).strip()


def paragraphs(body):
    body = re.sub(r"^```.*?^```[ \t]*$", "", body, flags=re.S | re.M)
    found = (part.strip() for part in re.split(r"\n\s*\n", body))
    return [part for part in found if len(part) >= 40 and not part.startswith(("|", "<", "=", "[", "#"))]


def first_sentences(paragraph, limit=280):
    if re.match(r"[-*]\s", paragraph):  # of a list, the first item
        paragraph = re.split(r"\n\s*[-*]\s+", paragraph[1:])[0]
    text = " ".join(paragraph.split())
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z`(\"])", text)
    kept = sentences[0]
    if len(kept) > limit:
        kept = kept[:limit].rpartition(" ")[0]
    if len(sentences) > 1 and len(kept) + len(sentences[1]) < limit - 80:
        kept += " " + sentences[1]
    return kept


def tool_chat(draw, title, body, prose):
    file = draw.choice(FILES)
    call = f'<tool_call>\n{{"name": "Read", "arguments": {{"file_path": "{file}"}}}}\n</tool_call>'
    content = f"# {title}\n\n{body}"[:700].rstrip()
    return chat(
        ("system", TOOL_SYSTEM),
        ("user", draw.choice(READ_REQUESTS).format(file)),
        ("assistant", draw.choice(BEFORE_CALL).format(file) + call),
        ("user", f"<tool_response>\n{content}\n</tool_response>"),
        ("assistant", draw.choice(SUMMARIES).format(file=file, title=title, first=first_sentences(prose[0]))),
    )


def plain_chat(draw, title, body, prose):
    answer = "\n\n".join(prose[:3])
    while len(answer) > 900 and "\n\n" in answer:
        answer = answer.rpartition("\n\n")[0]
    answer = answer if len(answer) <= 900 else first_sentences(answer, 900)
    return chat(
        ("system", PLAIN_SYSTEM), ("user", draw.choice(EXPLAIN_REQUESTS).format(title)), ("assistant", answer)
    )


def chats_from(documents, draw, rounds):
    """`rounds` chats of each section that has a title and some prose; 45 % call a tool."""
    usable = []
    for document in documents:
        for title, body in sections(document["text"]):
            title, prose = bare(title), paragraphs(body)
            if 2 < len(title) <= 80 and prose:
                usable.append((title, body, prose))
    titles = collections.Counter(title.lower() for title, _, _ in usable)
    made = {"tool": [], "plain": []}
    for _ in range(rounds):
        for title, body, prose in usable:
            # "Examples", "Fixed" and the like explain nothing; they serve for files to read only.
            if draw.random() < 0.45 or titles[title.lower()] > 3:
                made["tool"].append(tool_chat(draw, title, body, prose))
            else:
                made["plain"].append(plain_chat(draw, title, body, prose))
    # Back to 45 : 55, which the common titles have shifted.
    draw.shuffle(made["tool"])
    draw.shuffle(made["plain"])
    made["tool"] = made["tool"][: max(1, len(made["plain"]) * 45 // 55)]
    return made


def corpus_stage(settings, path):
    documents, licences, counts = collect(settings)
    draw = random.Random(arguments.seed)
    train = chats_from(documents["train"], draw, rounds=2)
    held_out = chats_from(documents["held_out"], random.Random(f"held out, {arguments.seed}"), rounds=1)
    chats = train["tool"] + train["plain"]
    draw.shuffle(chats)
    figures = {
        "documents": len(documents["train"]),
        "document characters": sum(len(d["text"]) for d in documents["train"]),
        "chats": len(chats),
        "tool chats": len(train["tool"]),
        "chat characters": sum(map(len, chats)),
        "held-out documents": len(documents["held_out"]),
        "held-out document characters": sum(len(d["text"]) for d in documents["held_out"]),
        **counts,
    }
    write_json(
        path.with_name("held-out.json"),
        {
            "documents": [d["text"] for d in documents["held_out"]],
            "tool": held_out["tool"][:64],
            "plain": held_out["plain"][:64],
        },
    )
    write_json(
        path,
        {
            "figures": figures,
            "licences of crates": {key: dict(sorted(value.items())) for key, value in licences.items()},
            "names": [d["name"] for d in documents["train"]],
            "held-out names": [d["name"] for d in documents["held_out"]],
            "documents": [d["text"] for d in documents["train"]],
            "chats": chats,
        },
    )


# ---------------------------------------------------------------- tokens


def tokenizer_stage(settings, path, corpus):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # A chat repeats its system turn thousands of times; a tenth of the chats teaches the format.
    tokenizer.train_from_iterator(corpus["documents"] + corpus["chats"][::10], trainer)
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == list(range(len(SPECIAL)))
    assert tokenizer.get_vocab_size() == settings.vocabulary, "the corpus is too small for this vocabulary"
    tokenizer.save(str(path))


def numbers(tokenizer, texts):
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def stream(rows):
    """Documents end to end, each after one end-of-text token."""
    return np.concatenate([np.array([END_OF_TEXT, *row], np.uint16) for row in rows])


def packed(rows, width):
    """Chats in rows of `width`, every row starting at the start of a chat.

    A chat that is cut by the end of its row opens the next row again, unless it opened this one.
    """
    out, row, i = [], [], 0
    while i < len(rows):
        room = width - len(row)
        piece = [*rows[i], END_OF_TEXT]
        opened = not row
        row.extend(piece[:room])
        if len(piece) <= room or opened:
            i += 1
        if len(row) == width:
            out.append(row)
            row = []
    return np.array(out, np.uint16)


def tokens_stage(settings, path, corpus, held_out, tokenizer):
    width = settings.length + 1
    arrays = {
        "documents": stream(numbers(tokenizer, corpus["documents"])),
        "chats": packed(numbers(tokenizer, corpus["chats"]), width),
        "held_out_documents": stream(numbers(tokenizer, held_out["documents"])),
        "held_out_chats": packed(numbers(tokenizer, held_out["tool"] + held_out["plain"]), width),
    }
    partial = path.with_name("partial.npz")
    np.savez(partial, **arrays)
    partial.replace(path)


def batch_at(step, settings, tokens):
    """The batch of one step: a pure function of seed and step, so a resumed run sees the same."""
    draw = np.random.default_rng([arguments.seed, step])
    width = settings.length + 1
    rows = []
    for _ in range(settings.batch):
        if draw.random() < settings.chat_share:
            rows.append(tokens["chats"][draw.integers(len(tokens["chats"]))])
        else:
            start = draw.integers(len(tokens["documents"]) - width)
            rows.append(tokens["documents"][start : start + width])
    return np.stack(rows).astype(np.int32)


# ---------------------------------------------------------------- model


def shapes(settings):
    """Hugging Face names of a Llama model with tied embeddings, weights as (out, in)."""
    s, head = settings, settings.hidden // settings.heads
    found = {"model.embed_tokens.weight": (s.vocabulary, s.hidden), "model.norm.weight": (s.hidden,)}
    for layer in range(s.layers):
        for name, shape in {
            "input_layernorm": (s.hidden,),
            "self_attn.q_proj": (s.hidden, s.hidden),
            "self_attn.k_proj": (s.kv_heads * head, s.hidden),
            "self_attn.v_proj": (s.kv_heads * head, s.hidden),
            "self_attn.o_proj": (s.hidden, s.hidden),
            "post_attention_layernorm": (s.hidden,),
            "mlp.gate_proj": (s.ffn, s.hidden),
            "mlp.up_proj": (s.ffn, s.hidden),
            "mlp.down_proj": (s.hidden, s.ffn),
        }.items():
            found[f"model.layers.{layer}.{name}.weight"] = shape
    return found


def first_weights(settings):
    draw = np.random.default_rng(arguments.seed)
    weights = {}
    for name, shape in shapes(settings).items():
        if len(shape) == 1:
            weights[name] = np.ones(shape, np.float32)
        else:
            deviation = 0.02
            if "o_proj" in name or "down_proj" in name:
                deviation /= (2 * settings.layers) ** 0.5
            weights[name] = draw.normal(0, deviation, shape).astype(np.float32)
    return weights


def make_loss(settings, dtype):
    """The mean cross-entropy of the next token. Products run in `dtype`, everything else in f32."""
    import jax
    import jax.numpy as jnp

    def product(a, b, contract):
        return jax.lax.dot_general(
            a.astype(dtype), b.astype(dtype), (contract, ((), ())), preferred_element_type=jnp.float32
        )

    @jax.custom_vjp
    def linear(x, weight):  # (tokens, in) by (out, in)
        return product(x, weight, ((1,), (1,)))

    def linear_forward(x, weight):
        return linear(x, weight), (x.astype(dtype), weight)

    def linear_backward(kept, slope):
        x, weight = kept
        return (
            product(slope, weight, ((1,), (0,))).astype(jnp.float32),
            product(slope, x, ((0,), (0,))),
        )

    linear.defvjp(linear_forward, linear_backward)

    def norm(x, weight):
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + settings.norm_eps) * weight

    head = settings.hidden // settings.heads
    group = settings.heads // settings.kv_heads

    def loss(weights, tokens):
        inputs, targets = tokens[:, :-1], tokens[:, 1:].reshape(-1)
        rows, length = inputs.shape
        frequencies = settings.rope_theta ** (-jnp.arange(0, head, 2) / head)
        angles = jnp.arange(length)[:, None] * frequencies
        cos, sin = jnp.cos(angles), jnp.sin(angles)
        visible = jnp.tril(jnp.ones((length, length), bool))

        @jax.checkpoint  # scores are made again on the way back: cheaper than storing them
        def attention(parts):
            q, k, v = parts  # (group, length, head), (length, head), (length, head)
            out = []
            for start in range(0, length, 128):
                end = min(length, start + 128)
                scores = (q[:, start:end].reshape(-1, head) @ k[:end].T).reshape(group, -1, end)
                scores = jax.nn.softmax(jnp.where(visible[start:end, :end], scores, -1e30), -1)
                out.append((scores.reshape(-1, end) @ v[:end]).reshape(group, -1, head))
            return jnp.concatenate(out, 1)

        def rotated(x):  # (rows, heads, length, head), the two halves as pairs
            a, b = jnp.split(x, 2, -1)
            return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

        x = weights["model.embed_tokens.weight"][inputs].reshape(rows * length, -1)
        for layer in range(settings.layers):
            take = lambda name: weights[f"model.layers.{layer}.{name}.weight"]
            split = lambda y: y.reshape(rows, length, -1, head).transpose(0, 2, 1, 3)

            y = norm(x, take("input_layernorm"))
            q = rotated(split(linear(y, take("self_attn.q_proj")))) * head**-0.5
            k = rotated(split(linear(y, take("self_attn.k_proj"))))
            v = split(linear(y, take("self_attn.v_proj")))
            # Heads of a group share one k and v: a loop over those pairs keeps each in the cache.
            pair = lambda y: y.reshape(rows * settings.kv_heads, -1, length, head)
            y = jax.lax.map(attention, (pair(q), pair(k)[:, 0], pair(v)[:, 0]))
            y = y.reshape(rows, settings.heads, length, head).transpose(0, 2, 1, 3).reshape(rows * length, -1)
            x = x + linear(y, take("self_attn.o_proj"))

            y = norm(x, take("post_attention_layernorm"))
            y = jax.nn.silu(linear(y, take("mlp.gate_proj"))) * linear(y, take("mlp.up_proj"))
            x = x + linear(y, take("mlp.down_proj"))
        logits = linear(norm(x, weights["model.norm.weight"]), weights["model.embed_tokens.weight"])
        chosen = jnp.take_along_axis(logits, targets[:, None], -1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)

    return loss


def make_step(settings, loss):
    import jax
    import jax.numpy as jnp

    b1, b2 = settings.betas

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(weights, first, second, count, rate, tokens):
        value, slopes = jax.value_and_grad(loss)(weights, tokens)
        size = jnp.sqrt(sum(jnp.sum(slope * slope) for slope in slopes.values()))
        shrink = jnp.minimum(1.0, settings.clip / (size + 1e-6))
        new_weights, new_first, new_second = {}, {}, {}
        for name, weight in weights.items():
            slope = slopes[name] * shrink
            m = b1 * first[name] + (1 - b1) * slope
            v = b2 * second[name] + (1 - b2) * slope * slope
            move = (m / (1 - b1**count)) / (jnp.sqrt(v / (1 - b2**count)) + 1e-8)
            if weight.ndim == 2:
                move = move + settings.weight_decay * weight
            new_weights[name], new_first[name], new_second[name] = weight - rate * move, m, v
        return new_weights, new_first, new_second, value

    return step


def rate_at(step, progress, settings):
    """Linear warm-up, then a cosine from the peak to 5 % of it as `progress` goes from 0 to 1."""
    cosine = 0.5 * (1 + np.cos(np.pi * min(1.0, progress)))
    rate = settings.peak_rate * (settings.final_rate + (1 - settings.final_rate) * cosine)
    return rate * min(1.0, (step + 1) / settings.warm_up)


def quicker_dtype():
    """bfloat16 where the processor multiplies it in hardware, otherwise float32."""
    import jax
    import jax.numpy as jnp

    times = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        a, b = jnp.ones((2048, 256), dtype), jnp.ones((256, 704), dtype)
        multiply = jax.jit(lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.float32))
        multiply(a, b).block_until_ready()
        start = time.perf_counter()
        for _ in range(10):
            multiply(a, b).block_until_ready()
        times[dtype] = time.perf_counter() - start
    return min(times, key=times.get)


def save_checkpoint(path, step, elapsed, groups):
    partial = path.with_name("partial.npz")
    arrays = {f"{group}/{name}": np.asarray(x) for group, part in groups.items() for name, x in part.items()}
    np.savez(partial, step=step, elapsed=elapsed, **arrays)
    partial.replace(path)


def load_checkpoint(path):
    groups = {"weights": {}, "first": {}, "second": {}}
    with np.load(path) as stored:
        for key in stored.files:
            group, _, name = key.partition("/")
            if name:
                groups[group][name] = stored[key]
        return int(stored["step"]), float(stored["elapsed"]), groups


def training_stage(settings, path, tokens):
    import jax
    import jax.numpy as jnp

    dtype = {"f32": jnp.float32, "bf16": jnp.bfloat16}.get(arguments.compute) or quicker_dtype()
    loss = make_loss(settings, dtype)
    step_function, held_out_loss = make_step(settings, loss), jax.jit(loss)
    if path.exists():
        step, elapsed, groups = load_checkpoint(path)
        say(f"training: going on from step {step}, {elapsed / 60:.1f} minutes in")
    else:
        weights = first_weights(settings)
        zeros = {name: np.zeros_like(value) for name, value in weights.items()}
        step, elapsed, groups = 0, 0.0, {"weights": weights, "first": zeros, "second": dict(zeros)}
    groups = {key: {name: jnp.array(x) for name, x in part.items()} for key, part in groups.items()}
    count = sum(x.size for x in groups["weights"].values())
    say(f"training: {count:,} parameters, products in {dtype.__name__}")

    width = settings.length + 1
    stream = tokens["held_out_documents"]
    rows = np.stack([stream[i : i + width] for i in range(0, len(stream) - width, width)])
    watched = {
        "documents": rows[:: max(1, len(rows) // settings.held_out_rows)][: settings.held_out_rows],
        "chats": tokens["held_out_chats"][: settings.held_out_rows],
    }

    def held_out():
        value = {}
        for name, rows in watched.items():
            size = min(settings.batch, len(rows))
            parts = [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
            value[name] = float(np.mean([held_out_loss(groups["weights"], p.astype(np.int32)) for p in parts]))
        return value

    def progress():
        by_steps = step / arguments.steps if arguments.steps else 0.0
        by_time = elapsed / 60 / arguments.minutes if arguments.minutes else 0.0
        return max(by_steps, by_time)

    recent, since = collections.deque(maxlen=50), None
    mark = time.monotonic()
    while progress() < 1:
        rate = rate_at(step, progress(), settings)
        batch = batch_at(step, settings, tokens)
        *new, value = step_function(*groups.values(), step + 1, rate, batch)
        groups = dict(zip(groups, new))
        value = float(value)
        step += 1
        if not np.isfinite(value):
            sys.exit(f"the loss at step {step} is {value}; lower the learning rate")
        now = time.monotonic()
        elapsed, mark = elapsed + now - mark, now
        recent.append(value)
        if since is None:  # the first step includes compilation
            since = (step, elapsed)
        elif step % 10 == 0 or progress() >= 1:
            speed = (step - since[0]) / (elapsed - since[1])
            # Time left: the budget that ends first, at the speed since this process started.
            ends = [(arguments.steps - step) / speed] if arguments.steps else []
            ends += [arguments.minutes * 60 - elapsed] if arguments.minutes else []
            say(
                f"step {step}  loss {np.mean(recent):.3f}  rate {rate:.2e}  "
                f"{speed * settings.batch * settings.length:,.0f} tokens/s  "
                f"elapsed {elapsed / 60:.1f} min  left {max(0, min(ends)) / 60:.1f} min"
            )
        if step % settings.save_every == 0 or progress() >= 1:
            save_checkpoint(path, step, elapsed, groups)
        if step % settings.held_out_every == 0:
            figures = held_out()
            say(f"step {step}  held out: " + "  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
        mark_after = time.monotonic()
        elapsed, mark = elapsed + mark_after - mark, mark_after
    return step, elapsed, dtype.__name__, held_out(), {k: np.asarray(v) for k, v in groups["weights"].items()}


# ---------------------------------------------------------------- export


def quantise(weight, bits=4, group=64):
    """MLX's affine quantiser: packed uint32, f16 scales, f16 biases; w is about scale * q + bias.

    The end of a group that is farther from zero is met exactly, and zero falls on a level.
    """
    levels = 2**bits - 1
    rows, columns = weight.shape
    w = weight.astype(np.float32).reshape(rows, columns // group, group)
    low, high = w.min(-1), w.max(-1)
    scale = np.maximum((high - low) / np.float32(levels), np.float32(1e-7))
    low_is_edge = np.abs(low) > np.abs(high)
    scale = np.where(low_is_edge, scale, -scale)
    edge = np.where(low_is_edge, low, high)
    zero = np.rint(edge / scale)
    scale = np.where(zero != 0, edge / np.where(zero != 0, zero, 1), scale)
    bias = np.where(zero != 0, edge, np.float32(0))
    q = np.clip(np.rint((w - bias[..., None]) / scale[..., None]), 0, levels).astype(np.uint32)
    lanes = q.reshape(rows, -1, 32 // bits) << (bits * np.arange(32 // bits, dtype=np.uint32))
    return np.bitwise_or.reduce(lanes, -1), scale.astype(np.float16), bias.astype(np.float16)


def dequantise(packed_weight, scale, bias, bits=4, group=64):
    lanes = packed_weight[..., None] >> (bits * np.arange(32 // bits, dtype=np.uint32))
    q = (lanes & (2**bits - 1)).reshape(*scale.shape, group).astype(np.float32)
    w = q * scale[..., None].astype(np.float32) + bias[..., None].astype(np.float32)
    return w.reshape(packed_weight.shape[0], -1)


def check_quantiser(name, weight, parts):
    """Against mlx where it is installed; and the error may not exceed half a level plus f16 rounding."""
    try:
        import mlx.core as mx
    except ImportError:
        mx = None
    if mx is not None:
        for ours, theirs in zip(parts, mx.quantize(mx.array(weight), group_size=64, bits=4)):
            assert np.array_equal(ours, np.array(theirs)), f"{name}: mlx quantises otherwise"
    error = np.abs(dequantise(*parts) - weight.astype(np.float32)).reshape(*parts[1].shape, 64).max(-1)
    limit = 0.5 * np.abs(parts[1].astype(np.float32)) + 0.01 * np.abs(parts[2].astype(np.float32)) + 1e-4
    # A group whose zero is off the middle of its range can lose up to one level at its far end.
    assert (error <= 2 * limit).all(), f"{name}: round trip error {error.max()}"
    return "mlx" if mx is not None else "round trip"


def export_stage(settings, out, weights):
    from safetensors.numpy import save_file

    half = {name: value.astype(np.float16) for name, value in weights.items()}
    four, checked = {}, ""
    for name, value in half.items():
        if value.ndim == 1:
            four[name] = value
            continue
        parts = quantise(value)
        checked = check_quantiser(name, value, parts)
        stem = name.removesuffix(".weight")
        four[name], four[f"{stem}.scales"], four[f"{stem}.biases"] = parts
    say(f"export: 4-bit weights checked by {checked}")
    quantisation = {"group_size": 64, "bits": 4}
    kinds = {
        "f16": (half, {}, "pt"),
        "4bit": (four, {"quantization": quantisation, "quantization_config": quantisation}, "mlx"),
    }
    for kind, (tensors, extra, layout) in kinds.items():
        folder = out / kind
        folder.mkdir(exist_ok=True)
        save_file(tensors, folder / "model.safetensors", metadata={"format": layout})
        write_json(folder / "config.json", {**settings.config(), **extra}, indent=1)
        shutil.copyfile(out / "tokenizer.json", folder / "tokenizer.json")
        shipped = pathlib.Path(__file__).resolve().parent / "readme"
        for name in ("tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
            if (shipped / name).is_file():
                shutil.copyfile(shipped / name, folder / name)


# ---------------------------------------------------------------- stages in order


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for everything this writes")
    parser.add_argument("--steps", type=int, help="end training after this many steps")
    parser.add_argument("--minutes", type=float, help="end training after this long [45 if --steps is not given]")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--compute", choices=["auto", "f32", "bf16"], default="auto",
                        help="number format of matrix products; auto times both")
    parser.add_argument("--rust-docs", type=pathlib.Path, help="folder of the Rust books [asks rustc]")
    parser.add_argument("--registry", type=pathlib.Path, help="folder of unpacked crates [cargo's]")
    parser.add_argument("--hold-out", type=pathlib.Path, metavar="FILE",
                        help="leave out documents that share text with the chats of this JSON file")
    parser.add_argument("--corpus-only", action="store_true", help="stop before the tokenizer")
    parser.add_argument("--smoke", action="store_true", help="every stage, tiny, in about a minute")
    found = parser.parse_args()
    if found.smoke and not found.steps and not found.minutes:
        found.steps = 60
    if not found.steps and not found.minutes:
        found.minutes = 45.0
    return found


def main():
    settings = Settings.smoke() if arguments.smoke else Settings()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    # What earlier stages were made with; going on with other settings would mix two models.
    made_with = {"seed": arguments.seed, "smoke": arguments.smoke, "config": settings.config()}
    stamp = out / "made-with.json"
    if not stamp.exists():
        write_json(stamp, made_with, indent=1)
    elif json.loads(stamp.read_text(encoding="utf-8")) != made_with:
        sys.exit(f"{out} holds a run with other settings; choose another --out or remove it")

    path = out / "corpus.json"
    if not path.exists():
        say("corpus: collecting")
        corpus_stage(settings, path)
    corpus = json.loads(path.read_text(encoding="utf-8"))
    held_out = json.loads((out / "held-out.json").read_text(encoding="utf-8"))
    for key in ("figures", "licences of crates"):
        say(f"corpus: {json.dumps(corpus[key], indent=1)}")
    if arguments.corpus_only:
        return

    path = out / "tokenizer.json"
    if not path.exists():
        say("tokenizer: training")
        tokenizer_stage(settings, path, corpus)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    path = out / "tokens.npz"
    if not path.exists():
        say("tokens: encoding")
        tokens_stage(settings, path, corpus, held_out, tokenizer)
    with np.load(path) as stored:
        tokens = {name: stored[name] for name in stored.files}
    amounts = {name: int(value.size) for name, value in tokens.items()}
    say(f"tokens: {json.dumps(amounts)}")

    step, elapsed, dtype, losses, weights = training_stage(settings, out / "checkpoint.npz", tokens)
    export_stage(settings, out, weights)
    summary = {
        "steps": step,
        "tokens seen": step * settings.batch * settings.length,
        "minutes of training": round(elapsed / 60, 1),
        "products in": dtype,
        "held-out loss per token": {name: round(value, 4) for name, value in losses.items()},
        "tokens": amounts,
        "corpus": corpus["figures"],
        "licences of crates": corpus["licences of crates"],
        "seed": arguments.seed,
    }
    write_json(out / "summary.json", summary, indent=1)
    say(f"done: {out / '4bit'} and {out / 'f16'}\n{json.dumps(summary['held-out loss per token'])}")


if __name__ == "__main__":
    arguments = parse_arguments()
    main()
