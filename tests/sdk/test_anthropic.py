"""The server through Anthropic's own package."""

import anthropic
import pytest
from conftest import anthropic_at

READ = {
    "name": "Read",
    "description": "Read a file",
    "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}},
}
GO = [{"role": "user", "content": "go"}]


def test_a_message_is_what_the_stream_says(real):
    client = anthropic_at(real)
    request = {
        "model": "m",
        "max_tokens": 40,
        "system": [{"type": "text", "text": "You explain."}],
        "messages": [{"role": "user", "content": "Explain Building Rust programs"}],
    }
    whole = client.messages.create(**request)
    assert whole.content[0].text
    with client.messages.stream(**request) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_raw_events_come_in_order(counter):
    events = anthropic_at(counter).messages.create(
        model="m", max_tokens=3, messages=GO, stream=True
    )
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1


def test_a_tool_goes_round(agent):
    client = anthropic_at(agent)
    with client.messages.stream(model="m", max_tokens=100, messages=GO, tools=[READ]) as stream:
        asked = stream.get_final_message()
    assert asked.stop_reason == "tool_use"
    assert [block.type for block in asked.content] == ["thinking", "tool_use"]
    assert asked.content[0].thinking == "The user wants a summary. I read the file first."
    call = asked.content[-1]
    assert (call.name, call.input) == ("Read", {"file_path": "README.md"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "# Title"}
    answer = client.messages.create(
        model="m",
        max_tokens=100,
        tools=[READ],
        messages=[
            *GO,
            # The package's own blocks go back as they are.
            {"role": "assistant", "content": asked.content},
            {"role": "user", "content": [result]},
        ],
    )
    assert answer.content[0].text == "It says how to build the project."
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize("stream", [False, True])
def test_another_form_of_calls_goes_round(coder, stream):
    client = anthropic_at(coder)
    request = {"model": "m", "max_tokens": 100, "tools": [READ]}
    if stream:
        with client.messages.stream(messages=GO, **request) as events:
            asked = events.get_final_message()
    else:
        asked = client.messages.create(messages=GO, **request)
    thinking, text, call = asked.content
    assert (thinking.thinking, text.text) == ("I read the file first.", "I look.")
    assert (call.name, call.input) == ("Read", {"file_path": "README.md"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "# Title"}
    messages = [
        *GO,
        {"role": "assistant", "content": asked.content},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(messages=messages, **request)
    assert answer.content[0].text == "It says how to build the project."


def test_counting(counter):
    client = anthropic_at(counter)
    counted = client.messages.count_tokens(model="m", messages=GO)
    usage = client.messages.create(model="m", max_tokens=1, messages=GO).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_stops(counter):
    answer = anthropic_at(counter).messages.create(
        model="m", max_tokens=30, messages=GO, stop_sequences=["nowhere", "three"]
    )
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "three")
    assert answer.content[0].text == "one two "


@pytest.mark.parametrize("stream", [False, True])
def test_the_cure(counter, stream):
    """The package's extra_body carries the penalty, and the tokens change."""

    def words(penalty):
        request = {
            "model": "m",
            "max_tokens": 50,
            "messages": GO,
            "extra_body": {"repetition_penalty": penalty},
        }
        client = anthropic_at(counter)
        if stream:
            with client.messages.stream(**request) as events:
                return len("".join(events.text_stream).split())
        return len(client.messages.create(**request).content[0].text.split())

    assert words(1.0) == 50
    assert words(1.05) == 5


def test_errors(counter):
    client = anthropic_at(counter)
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(
            model="m", max_tokens=3, messages=GO, extra_body={"temperature": 11}
        )
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.AuthenticationError):
        anthropic_at(counter, api_key="wrong").messages.create(
            model="m", max_tokens=3, messages=GO
        )


def test_a_loop_is_told_beside_the_answer(looper):
    client = anthropic_at(looper)
    request = {"model": "m", "max_tokens": 400, "messages": GO}
    whole = client.messages.create(**request)
    (found,) = whole.model_extra["loopwatch"]["loops"]
    assert (found["period"], found["onset"]) == (5, 0)
    # The event that tells it is none that the package knows, and the answer is not disturbed.
    with client.messages.stream(**request) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text
    assert final.stop_reason == "max_tokens"
    kinds = {event.type for event in client.messages.create(**request, stream=True)}
    assert "message_stop" in kinds
