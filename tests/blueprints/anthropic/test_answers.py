"""What clients get: whole answers, streams, and headers."""

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.errors import ErrorCode
from services.events import (
    Done,
    Event,
    Failed,
    Init,
    Message,
    Progress,
    StopReason,
    Thinking,
    TokenUsage,
    ToolResult,
    ToolUse,
    Usage,
)
from services.settings import ServerSettings
from tests.blueprints.anthropic.asking import HELLO, URL, AskingAnthropic
from tests.conformance.streams import events_of
from tests.support.fake_runs import FakeRuns, Script, fake_app, saying

COUNTED = TokenUsage(input_tokens=100, output_tokens=20, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=5)
THINKING: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
THOUGHTFUL: Script = [
    [Init(model="model-1")],
    [Thinking("let me "), Thinking("see")],
    [Message("It"), Message(" is")],
    [Thinking("hm"), Message(" so.")],
    [Done(usage=COUNTED)],
]


# ---------------------------------------------------------------------- whole answers


def test_a_whole_answer(asking: AskingAnthropic) -> None:
    response = asking.post(script=saying("Hi", " there", outcome=Done(usage=COUNTED)))
    assert response.status_code == 200
    answer = response.json
    assert answer is not None
    assert re.fullmatch(r"msg_[0-9a-f]{24}", answer.pop("id"))
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "model-1",
        "content": [{"type": "text", "text": "Hi there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 60,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 5},
        },
    }
    assert response.headers["X-Clinvk-Run"] == "run-0"
    assert response.headers["request-id"] == response.headers["X-Request-Id"]
    assert "X-Clinvk-Usage" not in response.headers


def test_every_answer_has_an_id_of_its_own(asking: AskingAnthropic) -> None:
    answers = [asking.post().json for _ in range(3)]
    assert len({answer["id"] for answer in answers if answer}) == 3


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("end_turn", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("max_turns", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("refusal", "refusal"),
    ],
)
def test_why_it_ended(asking: AskingAnthropic, reason: StopReason, told: str) -> None:
    answer = asking.post(script=saying("x", outcome=Done(stop_reason=reason))).json
    assert answer is not None
    assert answer["stop_reason"] == told
    assert asking.events()[-2]["delta"] == {"stop_reason": told, "stop_sequence": None}


def test_an_answer_without_words_has_no_content(asking: AskingAnthropic) -> None:
    answer = asking.post(script=saying()).json
    assert answer is not None
    assert answer["content"] == []


def test_thoughts_are_shown_to_those_who_ask(asking: AskingAnthropic) -> None:
    answer = asking.post(script=THOUGHTFUL, **THINKING).json
    assert answer is not None
    assert answer["content"] == [
        {"type": "thinking", "thinking": "let me see", "signature": ""},
        {"type": "text", "text": "It is"},
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": " so."},
    ]
    hidden = [{}, {"thinking": {"type": "adaptive", "display": "omitted"}}, {"thinking": {"type": "disabled"}}]
    for fields in hidden:
        answer = asking.post(script=THOUGHTFUL, **fields).json
        assert answer is not None
        assert answer["content"] == [{"type": "text", "text": "It is so."}]
        kinds = [e["content_block"]["type"] for e in asking.events(**fields) if e["type"] == "content_block_start"]
        assert kinds == ["text"]


def test_a_stop_sequence_cuts_the_answer(asking: AskingAnthropic) -> None:
    script: Script = [[Message("one ST")], [Message("OP two")], lambda run: [Message("three")]]
    response = asking.post(script=script, stop_sequences=["never", "STOP"], system="Count.")
    answer = response.json
    assert answer is not None
    assert answer["content"] == [{"type": "text", "text": "one "}]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "STOP")
    assert answer["usage"]["input_tokens"] > 0
    assert answer["usage"]["output_tokens"] == 2
    assert response.headers["X-Clinvk-Usage"] == "estimated"
    assert asking.runs.started[-1].canceled.is_set()


def test_a_streamed_answer_is_cut_as_well(asking: AskingAnthropic) -> None:
    script: Script = [[Message("one ST")], [Message("OP two")], lambda run: [Message("three")]]
    response = asking.post(script=script, stop_sequences=["STOP"], stream=True)
    bodies = [json.loads(event.data) for event in events_of(response.data)]
    assert [b["delta"]["text"] for b in bodies if b["type"] == "content_block_delta"] == ["one "]
    assert bodies[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "STOP"}
    assert bodies[-1] == {"type": "message_stop"}
    assert response.data.endswith(b"\n\n: X-Clinvk-Usage: estimated\n\n")


def test_an_answer_that_does_not_fit_is_refused() -> None:
    runs = FakeRuns({"claude": saying("x" * 600, "y" * 600)}, server=ServerSettings(max_output_bytes=1000))
    response = fake_app(runs).test_client().post(URL, json=HELLO)
    assert response.status_code == 502
    assert "stream it" in response.text
    assert runs.started[-1].closed.is_set()


# ---------------------------------------------------------------------- streams


def test_a_stream(asking: AskingAnthropic) -> None:
    response = asking.post(script=THOUGHTFUL, stream=True, **THINKING)
    assert response.content_type == "text/event-stream"
    assert response.headers["X-Clinvk-Run"]
    assert response.headers["request-id"] == response.headers["X-Request-Id"]
    sent = events_of(response.data)
    assert [event.event for event in sent] == [json.loads(event.data)["type"] for event in sent]
    start, *bodies = (json.loads(event.data) for event in sent)
    assert start["message"].pop("id").startswith("msg_")
    assert start["message"].pop("usage")["input_tokens"] > 0
    assert start == {
        "type": "message_start",
        "message": {
            "type": "message",
            "role": "assistant",
            "model": "model-1",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        },
    }
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    signed = {"type": "signature_delta", "signature": ""}

    def delta(index: int, **its: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": its}

    assert bodies == [
        {"type": "content_block_start", "index": 0, "content_block": thinking},
        delta(0, type="thinking_delta", thinking="let me "),
        delta(0, type="thinking_delta", thinking="see"),
        delta(0, **signed),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        delta(1, type="text_delta", text="It"),
        delta(1, type="text_delta", text=" is"),
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": thinking},
        delta(2, type="thinking_delta", thinking="hm"),
        delta(2, **signed),
        {"type": "content_block_stop", "index": 2},
        {"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": ""}},
        delta(3, type="text_delta", text=" so."),
        {"type": "content_block_stop", "index": 3},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 60,
                "output_tokens": 20,
                "output_tokens_details": {"thinking_tokens": 5},
            },
        },
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("counted", [COUNTED, TokenUsage()])
def test_a_stream_begins_with_what_is_known_of_the_input(asking: AskingAnthropic, counted: TokenUsage) -> None:
    script: Script = [[Usage(counted)], [Message("x")], [Done(usage=counted)]]
    said = "word " * 700
    start = asking.events(script=script, messages=[{"role": "user", "content": said}])[0]
    usage = start["message"]["usage"]
    if counted.input_tokens:
        assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (10, 60)
    else:
        assert usage["input_tokens"] == pytest.approx(1000, rel=0.1)
        assert usage["cache_read_input_tokens"] == 0
    assert usage["output_tokens"] == 1


def test_a_silence_is_bridged_by_pings_after_the_beginning(asking: AskingAnthropic) -> None:
    script: Script = [[], [Init(model="model-1")], [], [Message("x")], [], [Done()]]
    response = asking.post(script=script, stream=True)
    assert b'event: ping\ndata: {"type":"ping"}\n\n' in response.data
    kinds = [event.event for event in events_of(response.data)]
    assert kinds == [
        "message_start", "ping", "ping", "content_block_start", "content_block_delta", "ping", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip


def test_a_failure_in_the_stream_is_its_last_event(asking: AskingAnthropic) -> None:
    failed = Failed(ErrorCode.OVERLOADED, "claude's provider is overloaded", retry_after_s=3)
    *bodies, last = asking.events(script=[[Message("x")], [failed]])
    assert last["type"] == "error"
    assert last["error"] == {"type": "overloaded_error", "message": "claude's provider is overloaded"}
    assert last["request_id"]
    assert [body["type"] for body in bodies] == ["message_start", "content_block_start", "content_block_delta"]


def test_a_failure_before_the_stream_has_its_status(asking: AskingAnthropic) -> None:
    failed = Failed(ErrorCode.RATE_LIMITED, "slowly", retry_after_s=3)
    response = asking.post(script=[[Init(), Progress("again")], [failed]], stream=True)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "3"
    assert response.headers["X-Should-Retry"] == "false"


def test_what_an_agent_does_is_not_told_and_what_it_says_is(asking: AskingAnthropic) -> None:
    steps: Script = [
        [Message("I look. "), ToolUse("1", "Bash", {}), ToolResult("1", "x"), Message("There.")],
        [Done()],
    ]
    headers = {"X-Clinvk-Tools": "cli"}
    answer = asking.post(script=steps, headers=headers).json
    assert answer is not None
    assert answer["content"] == [{"type": "text", "text": "I look. There."}]
    assert not asking.runs.started[-1].plan.prompt.as_model


pieces = st.lists(
    st.one_of(st.builds(Message, st.text()), st.builds(Thinking, st.text()), st.builds(Progress, st.just("…"))),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(pieces, max_size=4), st.booleans())
def test_a_stream_says_what_a_whole_answer_says(
    asking: AskingAnthropic, batches: list[list[Event]], thinks: bool
) -> None:
    script: Script = [*batches, [Done(usage=COUNTED)]]
    fields: dict[str, Any] = THINKING if thinks else {}
    whole = asking.post(script=script, **fields).json
    assert whole is not None
    streamed: list[dict[str, Any]] = []
    for body in asking.events(script=script, **fields):
        match body:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert index == len(streamed)
                streamed.append(block)
            case {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}:
                assert index == len(streamed) - 1
                assert kind.removesuffix("_delta") in (streamed[index]["type"], "signature")
                for name, piece in delta.items():
                    streamed[index][name] += piece
            case {"type": "message_delta", "usage": usage}:
                assert usage == whole["usage"]
    assert streamed == whole["content"]
