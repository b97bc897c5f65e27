"""The server through OpenAI's own package."""

import json

import openai
import pytest
from conftest import openai_at

READ = {
    "type": "function",
    "function": {
        "name": "Read",
        "description": "Read a file",
        "parameters": {"type": "object", "properties": {"file_path": {"type": "string"}}},
    },
}
GO = [{"role": "user", "content": "go"}]
THOUGHT = "The user wants a summary. I read the file first."


def test_models(counter):
    client = openai_at(counter)
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).owned_by == "loopwatch"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_chat_is_what_the_stream_says(real):
    client = openai_at(real)
    request = {
        "model": "builtin:readme",
        "messages": [{"role": "user", "content": "Explain Building Rust programs"}],
        "max_tokens": 40,
    }
    whole = client.chat.completions.create(**request)
    assert whole.choices[0].message.content
    chunks = list(
        client.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    (reason,) = {c.choices[0].finish_reason for c in chunks if c.choices} - {None}
    assert reason == whole.choices[0].finish_reason


def test_the_stream_helper_accumulates(counter):
    client = openai_at(counter)
    with client.chat.completions.stream(model="m", messages=GO, max_tokens=20) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content.startswith("one two three")


def test_a_tool_goes_round(agent):
    client = openai_at(agent)
    asked = client.chat.completions.create(model="m", messages=GO, tools=[READ])
    assert asked.choices[0].finish_reason == "tool_calls"
    assert asked.choices[0].message.reasoning_content == THOUGHT
    assert asked.choices[0].message.content is None
    (call,) = asked.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"file_path": "README.md"}
    # The package's own object goes back as it is.
    result = {"role": "tool", "tool_call_id": call.id, "content": "# Title"}
    messages = [*GO, asked.choices[0].message, result]
    answer = client.chat.completions.create(model="m", messages=messages, tools=[READ])
    assert answer.choices[0].message.content == "It says how to build the project."


def test_a_streamed_tool_call(agent):
    chunks = openai_at(agent).chat.completions.create(
        model="m", messages=GO, tools=[READ], stream=True
    )
    calls = [c for chunk in chunks for c in (chunk.choices[0].delta.tool_calls or [])]
    assert [c.function.name for c in calls] == ["Read"]


def test_another_form_of_calls_goes_round(coder):
    client = openai_at(coder)
    with client.chat.completions.stream(model="m", messages=GO, tools=[READ]) as stream:
        events = list(stream)
        asked = stream.get_final_completion().choices[0]
    chunks = [event.chunk for event in events if event.type == "chunk"]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert thought == "I read the file first."
    assert (asked.finish_reason, asked.message.content) == ("tool_calls", "I look.")
    (call,) = asked.message.tool_calls
    assert json.loads(call.function.arguments) == {"file_path": "README.md"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "# Title"}
    messages = [*GO, asked.message.to_dict(), result]
    answer = client.chat.completions.create(model="m", messages=messages, tools=[READ])
    assert answer.choices[0].message.content == "It says how to build the project."


@pytest.mark.parametrize("stream", [False, True])
def test_stops(counter, stream):
    answer = openai_at(counter).chat.completions.create(
        model="m", messages=GO, stop=["three"], stream=stream
    )
    if stream:
        chunks = list(answer)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one two "
        assert chunks[-1].choices[0].finish_reason == "stop"
    else:
        assert answer.choices[0].message.content == "one two "
        assert answer.choices[0].finish_reason == "stop"


def test_seeds(real):
    client = openai_at(real)

    def say(seed):
        answer = client.chat.completions.create(
            model="m", messages=GO, temperature=1.5, seed=seed, max_tokens=12
        )
        return answer.choices[0].message.content

    assert say(1) == say(1)
    assert len({say(seed) for seed in range(5)}) > 1


def test_logprobs(counter):
    answer = openai_at(counter).chat.completions.create(
        model="m", messages=GO, logprobs=True, top_logprobs=2, max_tokens=2
    )
    first, second = answer.choices[0].logprobs.content
    assert (first.token, second.token) == ("one ", "two ")
    assert first.logprob <= 0 and len(first.top_logprobs) == 2
    assert bytes(first.bytes) == b"one "


@pytest.mark.parametrize("stream", [False, True])
def test_the_cure(counter, stream):
    """The package's extra_body carries the penalty, and the tokens change."""

    def words(penalty):
        answer = openai_at(counter).chat.completions.create(
            model="m",
            messages=GO,
            max_tokens=50,
            stream=stream,
            extra_body={"repetition_penalty": penalty},
        )
        if stream:
            text = "".join(c.choices[0].delta.content or "" for c in answer)
        else:
            text = answer.choices[0].message.content
        return len(text.split())

    assert words(1.0) == 50
    assert words(1.05) == 5


def test_completions(counter):
    client = openai_at(counter)
    answer = client.completions.create(model="m", prompt=["a", "b"], n=2, max_tokens=3, logprobs=1)
    assert [c.text for c in answer.choices] == ["one two three "] * 4
    assert answer.choices[0].logprobs.tokens == ["one ", "two ", "three "]
    chunks = client.completions.create(model="m", prompt="a", max_tokens=3, stream=True)
    assert "".join(c.choices[0].text for c in chunks) == "one two three "


def test_token_ids(counter):
    answer = openai_at(counter).chat.completions.create(
        model="m", messages=GO, max_tokens=4, extra_body={"return_tokens": True}
    )
    told = answer.model_extra["loopwatch"]
    assert len(told["tokens"]) == 4
    assert "".join(t["text"] for t in told["tokens"]) == "one two three four "


def test_errors(counter):
    client = openai_at(counter)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=GO, temperature=11)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=GO, tool_choice="required")
    assert caught.value.param == "tool_choice"
    with pytest.raises(openai.AuthenticationError):
        openai_at(counter, api_key="wrong").models.list()


def test_warnings(counter):
    raw = openai_at(counter).chat.completions.with_raw_response.create(
        model="m", messages=GO, extra_body={"temprature": 1}
    )
    assert "did you mean 'temperature'?" in raw.headers["warning"]


def test_a_loop_is_told_beside_the_answer(looper):
    client = openai_at(looper)
    request = {"model": "m", "messages": GO, "max_tokens": 400}
    whole = client.chat.completions.create(**request)
    (found,) = whole.model_extra["loopwatch"]["loops"]
    assert (found["choice"], found["period"], found["onset"]) == (0, 5, 0)
    raw = client.chat.completions.with_raw_response.create(**request)
    assert f"at={found['at']}" in raw.headers["x-loopwatch-loop"]
    chunks = list(client.chat.completions.create(**request, stream=True))
    told = [chunk for chunk in chunks if "loopwatch" in chunk.model_extra]
    assert [chunk.model_extra["loopwatch"]["loops"] for chunk in told] == [[found]]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    plain = client.completions.create(model="m", prompt="go", max_tokens=400, stream=True)
    assert sum("loopwatch" in chunk.model_extra for chunk in plain) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_repetition_ends_the_answer(looper, stream):
    rule = {"max_pattern_size": 8, "min_count": 3}
    answer = openai_at(looper).chat.completions.create(
        model="m", messages=GO, stream=stream, extra_body={"repetition_detection": rule}
    )
    choice = (list(answer)[-1] if stream else answer).choices[0]
    assert choice.finish_reason == "repetition"
    assert choice.model_extra["stop_reason"] == "repetition_detected"
