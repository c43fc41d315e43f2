"""The strict reading of the SDK's models finds what it is there to find."""

import json
from typing import Any

import pytest

from tests.conformance.sdk_models import faults

ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "x"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
DELTA: dict[str, Any] = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "x"},
}


@pytest.mark.parametrize(
    ("kind", "body"),
    [("Message", ANSWER), ("RawMessageStreamEvent", DELTA), ("MessageTokensCount", {"input_tokens": 1})],
)
def test_takes_what_the_sdk_knows(kind: str, body: Any) -> None:
    assert faults(kind, json.dumps(body)) == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Message", ANSWER | {"unknown": 1}),
        ("Message", ANSWER | {"stop_reason": "error"}),
        ("Message", ANSWER | {"content": [{"type": "text", "text": "x", "unknown": None}]}),
        ("Message", ANSWER | {"content": [{"type": "words", "text": "x"}]}),
        ("Message", ANSWER | {"usage": {"input_tokens": "1", "output_tokens": 1}}),
        ("Message", ANSWER | {"usage": {"input_tokens": 1}}),
        ("RawMessageStreamEvent", DELTA | {"index": "0"}),
        ("RawMessageStreamEvent", DELTA | {"type": "delta"}),
        ("RawMessageStreamEvent", DELTA | {"delta": {"type": "text_delta", "text": "x", "unknown": 1}}),
        ("MessageTokensCount", {"input_tokens": 1.5}),
        ("MessageTokensCount", []),
    ],
)
def test_refuses_what_it_does_not(kind: str, body: Any) -> None:
    assert faults(kind, json.dumps(body))
