"""Names for the tokens of the random weights, the same for every system.

Byte-level BPE as GPT-2 has it: one token for each byte, then made-up words with a space in front, up
to the size of the vocabulary; the last token ends a text. Knows how a tokenizer.json and GGUF say
that; what the weights are is weights.py's.
"""

import json
from pathlib import Path

import gguf

END = "<|endoftext|>"
#: What every byte-level vocabulary has to have at least one of.
MERGE = ("i", "n")


def byte_names() -> list[str]:
    """A visible character for each byte, as GPT-2 names them."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    visible += range(ord("®"), ord("ÿ") + 1)
    hidden = [byte for byte in range(256) if byte not in visible]
    named = {byte: chr(byte) for byte in visible}
    named |= {byte: chr(256 + at) for at, byte in enumerate(hidden)}
    return [named[byte] for byte in range(256)]


def tokens(size: int) -> list[str]:
    names = byte_names()
    space = names[ord(" ")]
    known = [*names, "".join(MERGE)]
    words = [f"{space}word{number}" for number in range(size - len(known) - 1)]
    return [*known, *words, END]


def write_tokenizer(folder: Path, size: int) -> None:
    names = tokens(size)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": size - 1,
                "content": END,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
        ],
        "pre_tokenizer": {**byte_level, "use_regex": True},
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {name: number for number, name in enumerate(names)},
            "merges": [list(MERGE)],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    config = {"eos_token": END, "tokenizer_class": "GPT2Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")


def add_to_gguf(writer: gguf.GGUFWriter, size: int) -> None:
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens(size))
    writer.add_token_types([*[normal] * (size - 1), control])
    writer.add_token_merges([" ".join(MERGE)])
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)
