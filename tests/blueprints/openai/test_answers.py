"""What the client is answered, whole and as a stream."""

import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from services.errors import ErrorCode
from services.events import Done, Failed, Init, Message, Progress, StopReason, Thinking, ToolResult, ToolUse, Usage
from tests.blueprints.openai.asking import AskingOpenAI
from tests.support.fake_runs import USAGE, Script, saying

COUNTED = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
THOUGHTS: Script = [
    [Init(model="model-1")],
    [Thinking("Let me "), Thinking("see.")],
    [Message("It is "), ToolUse("1", "Bash", {}), ToolResult("1", "x"), Progress("again"), Usage(USAGE)],
    [Message("42."), Done(usage=USAGE)],
]


def sent(response: TestResponse) -> list[str]:
    """The frames of a stream, comments among them."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "text/event-stream"
    return response.text.removesuffix("\n\n").split("\n\n")


def chunks(response: TestResponse) -> list[dict[str, Any]]:
    """The chunks of a stream that ends well."""
    *frames, last = sent(response)
    assert last == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if not frame.startswith(":")]


def deltas(response: TestResponse) -> list[tuple[dict[str, Any], str | None]]:
    """What is new in each chunk that has a choice, and its finish reason."""
    choices = [choice for chunk in chunks(response) for choice in chunk["choices"]]
    return [(choice["delta"], choice["finish_reason"]) for choice in choices]


# ---------------------------------------------------------------------- whole


def test_an_answer_has_all_that_openais_have(asking: AskingOpenAI) -> None:
    response = asking.post()
    answer = response.json
    assert answer is not None
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer.pop("created") > 1_700_000_000
    message = {"role": "assistant", "content": "Hi there", "refusal": None}
    assert answer == {
        "object": "chat.completion",
        "model": "model-1",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": COUNTED,
    }
    assert response.headers["X-Clinvk-Run"] == "run-0"
    assert response.headers["X-Request-Id"]
    assert asking.runs.started[0].closed.is_set()


def test_thoughts_stand_apart_and_the_agents_steps_nowhere(asking: AskingOpenAI) -> None:
    answer = asking.post(script=THOUGHTS).json
    assert answer is not None
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": "It is 42.",
        "refusal": None,
        "reasoning_content": "Let me see.",
    }


def test_ids_are_unique(asking: AskingOpenAI) -> None:
    ids = [answer["id"] for answer in (asking.post().json, asking.post().json) if answer is not None]
    assert len(set(ids)) == 2


REASONS: list[tuple[StopReason, str]] = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("max_tokens", "length"),
    ("max_turns", "length"),
    ("refusal", "content_filter"),
]


@pytest.mark.parametrize(("reason", "told"), REASONS)
def test_the_end_is_told_in_openais_words(asking: AskingOpenAI, reason: StopReason, told: str) -> None:
    script = saying("No.", outcome=Done(usage=USAGE, stop_reason=reason))
    whole = asking.post(script=script).json
    assert whole is not None
    assert whole["choices"][0]["finish_reason"] == told
    assert whole["choices"][0]["message"]["refusal"] is None
    assert deltas(asking.post(script=script, stream=True))[-1] == ({}, told)


# ---------------------------------------------------------------------- streamed


def test_a_stream_begins_with_the_role_and_ends_with_the_reason(asking: AskingOpenAI) -> None:
    response = asking.post(script=THOUGHTS, stream=True)
    assert deltas(response) == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"reasoning_content": "Let me "}, None),
        ({"reasoning_content": "see."}, None),
        ({"content": "It is "}, None),
        ({"content": "42."}, None),
        ({}, "stop"),
    ]
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-Clinvk-Run"] == "run-0"
    assert asking.runs.started[0].closed.is_set()


def test_all_chunks_are_of_one_answer(asking: AskingOpenAI) -> None:
    told = chunks(asking.post(stream=True))
    assert len({(one["id"], one["created"], one["model"], one["object"]) for one in told}) == 1
    assert told[0]["model"] == "model-1"
    assert told[0]["object"] == "chat.completion.chunk"
    assert all("usage" not in one for one in told)


def test_the_usage_comes_last_if_it_is_asked_for(asking: AskingOpenAI) -> None:
    *others, last = chunks(asking.post(stream=True, stream_options={"include_usage": True}))
    assert (last["choices"], last["usage"]) == ([], COUNTED)
    assert [one["usage"] for one in others] == [None] * len(others)


def test_silence_is_filled_with_comments(asking: AskingOpenAI) -> None:
    frames = sent(asking.post(script=[[], [Message("x")], [], [Done()]], stream=True))
    assert json.loads(frames[0].removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"
    assert [frame for frame in frames if frame.startswith(":")] == [": still running"] * 2
    assert [delta.get("content") for delta, _ in deltas(asking.post(stream=True))] == ["", "x", None]


@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_that_is_cut_says_that_its_usage_is_an_estimate(asking: AskingOpenAI, usage: bool) -> None:
    frames = sent(asking.post(stop=["there"], stream=True, stream_options={"include_usage": usage}))
    assert frames[-1] == "data: [DONE]"
    assert (": X-Clinvk-Usage: estimated" in frames) == usage


def test_a_failure_in_the_middle_is_the_last_thing_said(asking: AskingOpenAI) -> None:
    failed = Failed(ErrorCode.RATE_LIMITED, "the provider said 429")
    *_, text, last = sent(asking.post(script=saying("Hi", outcome=failed), stream=True))
    assert json.loads(text.removeprefix("data: "))["choices"][0]["delta"] == {"content": "Hi"}
    message = "the provider said 429"
    error = {"message": message, "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    assert json.loads(last.removeprefix("data: ")) == {"error": error}


def test_a_failure_before_the_first_word_has_its_status(asking: AskingOpenAI) -> None:
    failed = Failed(ErrorCode.RATE_LIMITED, "the provider said 429", retry_after_s=17)
    for stream in (False, True):
        response = asking.post(script=saying(outcome=failed), stream=stream)
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "17"
        assert response.headers["X-Should-Retry"] == "false"
        assert response.headers["Content-Type"] == "application/json"
