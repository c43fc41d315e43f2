"""The strict reading of what is published finds what it is there to find."""

import copy
from typing import Any

import pytest

from tests.conformance.published import faults

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "x", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": None, "finish_reason": None}],
    "usage": None,
}
ERROR: dict[str, Any] = {"error": {"message": "m", "type": "t", "param": None, "code": None}}


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ("CreateChatCompletionResponse", ANSWER),
        ("CreateChatCompletionStreamResponse", CHUNK),
        ("CreateChatCompletionStreamResponse", CHUNK | {"choices": []}),
        ("ErrorResponse", ERROR),
        ("Model", {"id": "m", "object": "model", "created": 1, "owned_by": "us"}),
        ("ListModelsResponse", {"object": "list", "data": []}),
    ],
)
def test_takes_what_is_published(schema: str, body: Any) -> None:
    assert faults(schema, body) == []


@pytest.mark.parametrize(
    ("schema", "body", "path", "value"),
    [
        ("CreateChatCompletionResponse", ANSWER, ("unknown",), 1),
        ("CreateChatCompletionResponse", ANSWER, ("created",), 1.5),
        ("CreateChatCompletionResponse", ANSWER, ("choices", 0, "finish_reason"), "error"),
        ("CreateChatCompletionResponse", ANSWER, ("choices", 0, "finish_reason"), None),
        ("CreateChatCompletionResponse", ANSWER, ("choices", 0, "message", "thinking"), "x"),
        ("CreateChatCompletionResponse", ANSWER, ("usage",), None),
        ("CreateChatCompletionResponse", ANSWER, ("usage", "cost"), 1),
        ("CreateChatCompletionStreamResponse", CHUNK, ("choices", 0, "finish_reason"), "error"),
        ("CreateChatCompletionStreamResponse", CHUNK, ("choices", 0, "delta", "text"), "x"),
        ("CreateChatCompletionStreamResponse", CHUNK, ("object",), "chat.completion"),
        ("ErrorResponse", ERROR, ("error", "param"), 1),
        ("ErrorResponse", ERROR, ("error", "status"), 400),
        ("ErrorResponse", ERROR, ("detail",), "x"),
    ],
)
def test_refuses_what_is_not(schema: str, body: Any, path: tuple[str | int, ...], value: Any) -> None:
    wrong = copy.deepcopy(body)
    holder = wrong
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    assert faults(schema, wrong)


@pytest.mark.parametrize(
    ("schema", "body", "path"),
    [
        ("CreateChatCompletionResponse", ANSWER, ("choices", 0, "message", "refusal")),
        ("CreateChatCompletionResponse", ANSWER, ("choices", 0, "logprobs")),
        ("CreateChatCompletionStreamResponse", CHUNK, ("choices", 0, "finish_reason")),
        ("ErrorResponse", ERROR, ("error", "code")),
        ("ErrorResponse", ERROR, ("error", "param")),
    ],
)
def test_misses_what_is_required(schema: str, body: Any, path: tuple[str | int, ...]) -> None:
    wrong = copy.deepcopy(body)
    holder = wrong
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    assert faults(schema, wrong)
