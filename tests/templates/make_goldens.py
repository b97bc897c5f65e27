"""Renders every conversation with every template, as transformers does.

Usage: pip install -r requirements.txt && python make_goldens.py

Writes goldens.json beside this script: for each template the prompts, or the messages of the
exceptions that the template raised.
"""

import copy
import datetime
import json
import pathlib
import platform

import jinja2
import tokenizers
import transformers
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
FAMILIES = ["qwen2.5", "qwen3", "llama-3", "mistral", "gemma", "phi", "macros", "named"]
# Without a date of its own, a conversation is rendered with a clock that stands still, and
# `strftime_now` is taken away from the template: loopwatch has no clock unless it is given one.
NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")


class Clock(datetime.datetime):
    instant = None

    @classmethod
    def now(cls, tz=None):
        return cls.instant


def load(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    jinja = folder / "chat_template.jinja"
    template = jinja.read_text("utf-8") if jinja.exists() else config["chat_template"]
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}
    named = {}
    for name in NAMES:
        token = config.get(name)
        if token is not None:
            named[name] = token["content"] if isinstance(token, dict) else token
    vocabulary = tokenizers.Tokenizer(tokenizers.models.WordLevel({"x": 0}, unk_token="x"))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=vocabulary, chat_template=template, **named
    )


def prepared(messages):
    """OpenAI's messages as a server hands them to a template (as mlx-lm's server does)."""
    messages = copy.deepcopy(messages)
    for message in messages:
        content = message["content"]
        if content is None:
            message["content"] = ""
        elif isinstance(content, list):
            message["content"] = "".join(part["text"] for part in content)
        for call in message.get("tool_calls", []):
            arguments = call["function"]["arguments"]
            if isinstance(arguments, str):
                call["function"]["arguments"] = json.loads(arguments)
    return messages


def render(tokenizer, conversation, tools):
    variables = dict(conversation.get("variables", {}))
    instant = variables.pop("strftime_now", None)
    template = tokenizer.get_chat_template(None, tools)
    environment = chat_template_utils._compile_jinja_template(template).environment
    clock = environment.globals.pop("strftime_now", None) or CLOCKS[template]
    CLOCKS[template] = clock
    if instant is not None:
        Clock.instant = Clock.fromisoformat(instant)
        environment.globals["strftime_now"] = clock
    variables.setdefault("add_generation_prompt", True)
    try:
        text = tokenizer.apply_chat_template(
            prepared(conversation["messages"]), tools=tools, tokenize=False, **variables
        )
        return {"prompt": text}
    except jinja2.exceptions.TemplateError as error:
        return {"refused": str(error)}
    finally:
        environment.globals.pop("strftime_now", None)


CLOCKS = {}
chat_template_utils.datetime = Clock


def main():
    given = json.loads((HERE / "conversations.json").read_text("utf-8"))
    goldens = {}
    for family in FAMILIES:
        tokenizer = load(HERE / family)
        goldens[family] = {
            conversation["name"]: render(
                tokenizer, conversation, given["tools"] if conversation.get("tools") else None
            )
            for conversation in given["conversations"]
        }
    versions = {
        "python": platform.python_version(),
        "transformers": transformers.__version__,
        "jinja2": jinja2.__version__,
        "tokenizers": tokenizers.__version__,
    }
    text = json.dumps({"versions": versions, "goldens": goldens}, indent=1, ensure_ascii=False)
    (HERE / "goldens.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
