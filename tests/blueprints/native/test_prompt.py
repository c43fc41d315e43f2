"""POST /api/v1/prompt: its shapes, its streams, its failures."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from services.errors import ClinvkError, ErrorCode
from services.events import Done, Failed, Init, Message, Progress, Thinking, ToolResult, ToolUse, Usage
from services.settings import UnifiedFlags
from tests.support.fake_runs import USAGE, Batch, FakeRun, FakeRuns, Script, fake_app, saying

HELLO = {"backend": "claude", "prompt": "hello", "ephemeral": True}


def client_of(script: Script) -> tuple[FlaskClient, FakeRuns]:
    runs = FakeRuns({"claude": script})
    return fake_app(runs).test_client(), runs


def lines_of(response: TestResponse) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.data.splitlines()]


def test_answers_with_all_that_is_known() -> None:
    client, runs = client_of(saying("Hel", "lo"))
    response = client.post("/api/v1/prompt", json=HELLO | {"max_turns": 2})
    assert response.status_code == 200
    assert response.json == {
        "run_id": "run-0",
        "backend": "claude",
        "model": "model-1",
        "exit_code": 0,
        "duration_ms": 7,
        "output": "Hello",
        "token_usage": {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2},
        "cost_usd": 0.25,
        "warnings": ["max_turns: it has no such limit"],
    }
    assert response.headers["X-Clinvk-Run"] == "run-0"
    assert runs.started[0].closed.is_set()
    assert runs.started[0].plan.prompt.text == "hello"


def test_a_cli_that_failed_is_an_answer() -> None:
    failed = Failed(ErrorCode.BACKEND_AUTH_FAILED, "claude is not logged in", 1, usage=USAGE)
    client, _ = client_of(saying("par", outcome=failed))
    response = client.post("/api/v1/prompt", json=HELLO)
    assert response.status_code == 200
    answer = response.json
    assert answer is not None
    assert answer["exit_code"] == 1
    assert answer["error"] == "claude is not logged in"
    assert answer["error_code"] == "backend_auth_failed"
    assert answer["output"] == "par"
    assert "cost_usd" not in answer
    assert response.headers["X-Should-Retry"] == "false"


def test_plain_text_is_the_bare_output() -> None:
    client, _ = client_of(saying("Grüße"))
    response = client.post("/api/v1/prompt", json=HELLO, headers={"Accept": "text/plain"})
    assert response.status_code == 200
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.text == "Grüße"


def test_plain_text_fails_by_status() -> None:
    client, _ = client_of(saying("x", outcome=Failed(ErrorCode.BACKEND_FAILED, "it broke")))
    response = client.post("/api/v1/prompt", json=HELLO, headers={"Accept": "text/plain"})
    assert response.status_code == 502
    assert response.content_type == "application/problem+json"
    assert response.json is not None
    assert response.json["error"] == "backend_failed"
    assert response.headers["X-Should-Retry"] == "false"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html,*/*;q=0.8", ""])
def test_json_is_what_other_clients_get(accept: str) -> None:
    client, _ = client_of(saying("x"))
    assert client.post("/api/v1/prompt", json=HELLO, headers={"Accept": accept}).is_json


def test_a_dry_run_starts_nothing() -> None:
    client, runs = client_of(saying("x"))
    response = client.post("/api/v1/prompt", json=HELLO | {"dry_run": True, "model": "o p"})
    assert response.json is not None
    assert response.json["output"] == "/nowhere/claude --model 'o p' <stdin>"
    assert "run_id" not in response.json
    assert response.json["exit_code"] == 0
    assert runs.started == []


def test_a_stream_has_every_kind_of_event() -> None:
    script: Script = [
        [Init(model="model-1")],
        [Thinking("hm"), Message("Hel"), Message("lo")],
        [],
        [ToolUse("t1", "Bash", {"command": "ls"}), ToolResult("t1", "a.txt")],
        [Progress("retry 1 of 2"), Usage(USAGE)],
        [Done(usage=USAGE, cost_usd=0.25, turn_count=2)],
    ]
    client, runs = client_of(script)
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"})
    assert response.status_code == 200
    assert response.content_type == "application/x-ndjson"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Clinvk-Run"] == "run-0"
    events = lines_of(response)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    tokens = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2}
    assert [(event["type"], event["content"]) for event in events] == [
        ("init", {"model": "model-1"}),
        ("thinking", {"text": "hm"}),
        ("message", {"text": "Hel", "role": "assistant", "is_partial": True}),
        ("message", {"text": "lo", "role": "assistant", "is_partial": True}),
        ("progress", {"message": "still running"}),
        ("tool_use", {"tool_id": "t1", "tool_name": "Bash", "input": {"command": "ls"}}),
        ("tool_result", {"tool_id": "t1", "output": "a.txt", "is_error": False}),
        ("progress", {"message": "retry 1 of 2"}),
        ("token_usage", tokens),
        (
            "done",
            {
                "token_usage": tokens,
                "cost_usd": 0.25,
                "turn_count": 2,
                "exit_code": 0,
                "duration_ms": 7,
                "warnings": [],
            },
        ),
    ]
    for event in events:
        assert (event["backend"], event["run_id"], event["session_id"]) == ("claude", "run-0", "")
        assert event["timestamp"].endswith("Z")
    assert runs.started[0].closed.is_set()


def test_server_sent_events_hold_the_same() -> None:
    client, _ = client_of([[Message("a")], [], [Message("b")], [Done()]])
    body = HELLO | {"output_format": "stream-json"}
    response = client.post("/api/v1/prompt", json=body, headers={"Accept": "text/event-stream"})
    assert response.content_type == "text/event-stream"
    frames = response.data.decode().split("\n\n")
    assert frames[1].startswith(":")
    assert frames[-1] == ""
    events = [json.loads(frame.removeprefix("data: ")) for frame in (frames[0], *frames[2:-1])]
    assert [event["type"] for event in events] == ["message", "message", "done"]
    assert [event["sequence"] for event in events] == [1, 2, 3]


def test_a_stream_that_fails_at_once_is_an_http_error() -> None:
    failed = Failed(ErrorCode.RATE_LIMITED, "the provider is busy", retry_after_s=9)
    client, runs = client_of([[Init()], [Progress("retry 1 of 1")], [failed]])
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"})
    assert response.status_code == 429
    assert response.json is not None
    assert response.json["error"] == "rate_limited"
    assert response.headers["X-Should-Retry"] == "false"
    assert response.headers["Retry-After"] == "9"
    assert runs.started[0].closed.is_set()


def test_a_stream_that_fails_later_says_so_in_band() -> None:
    failed = Failed(ErrorCode.BACKEND_FAILED, "it broke", 3)
    client, _ = client_of([[Message("a")], [failed]])
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"})
    assert response.status_code == 200
    last = lines_of(response)[-1]
    assert last["type"] == "error"
    assert last["content"]["code"] == "backend_failed"
    assert last["content"]["message"] == "it broke"
    assert last["content"]["exit_code"] == 3


def test_headers_do_not_wait_for_a_silent_cli() -> None:
    client, _ = client_of([[Init()], [], [Failed(ErrorCode.TIMEOUT, "too late", -1)]])
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"})
    assert response.status_code == 200
    assert [event["type"] for event in lines_of(response)] == ["init", "error"]


def test_a_client_that_leaves_ends_the_run() -> None:
    client, runs = client_of([[Message("a")], [Message("b")], [Done()]])
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"}, buffered=False)
    assert not runs.started[0].closed.is_set()
    response.close()
    assert runs.started[0].closed.is_set()


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (ClinvkError(ErrorCode.OVERLOADED, "busy", retry_after_s=3), 503, "3"),
        (ClinvkError(ErrorCode.OVERLOADED, "busy"), 503, "10"),
        (ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, "claude is not installed: install it"), 503, None),
        (ClinvkError(ErrorCode.TIMEOUT, "too late"), 504, None),
    ],
)
def test_what_cannot_be_started_is_an_http_error(error: ClinvkError, status: int, retry_after: str | None) -> None:
    client, _ = client_of(error)
    for output_format in ("json", "stream-json"):
        response = client.post("/api/v1/prompt", json=HELLO | {"output_format": output_format})
        assert response.status_code == status
        assert response.headers.get("Retry-After") == retry_after
        in_vain = error.code is ErrorCode.BACKEND_UNAVAILABLE
        assert response.headers.get("X-Should-Retry") == ("false" if in_vain else None)
        assert response.json is not None
        assert response.json["detail"] == error.message


def test_a_session_is_not_ignored() -> None:
    client, runs = client_of(saying("x"))
    response = client.post("/api/v1/prompt", json=HELLO | {"session_id": "abc"})
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["error"] == "session_not_found"
    assert response.json["errors"][0]["location"] == "session_id"
    assert runs.started == []


def test_the_configuration_can_make_every_run_dry() -> None:
    runs = FakeRuns({"claude": saying("x")}, defaults=UnifiedFlags(dry_run=True))
    response = fake_app(runs).test_client().post("/api/v1/prompt", json=HELLO)
    assert response.json is not None
    assert "<stdin>" in response.json["output"]
    assert runs.started == []


def test_a_stream_of_a_dry_run_says_the_command_line() -> None:
    client, runs = client_of(saying("x"))
    response = client.post("/api/v1/prompt", json=HELLO | {"dry_run": True, "output_format": "stream-json"})
    events = lines_of(response)
    assert [event["type"] for event in events] == ["message", "done"]
    assert "<stdin>" in events[0]["content"]["text"]
    assert "X-Clinvk-Run" not in response.headers
    assert runs.started == []


def test_a_stream_that_breaks_still_says_that_it_failed() -> None:
    def burst(_: FakeRun) -> Batch:
        raise ZeroDivisionError

    client, runs = client_of([[Message("a")], burst])
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"})
    assert [event["type"] for event in lines_of(response)] == ["message", "error"]
    assert runs.started[0].closed.is_set()


def test_a_stream_that_breaks_at_once_is_a_500_and_ends_the_run() -> None:
    def burst(_: FakeRun) -> Batch:
        raise ZeroDivisionError

    client, runs = client_of([burst])
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"})
    assert response.status_code == 500
    assert runs.started[0].closed.is_set()


def test_the_request_has_a_deadline() -> None:
    client, runs = client_of(saying("x"))
    client.post("/api/v1/prompt", json=HELLO)
    deadline = runs.deadlines[0]
    assert deadline is not None
    assert 290 < deadline.remaining_s <= 300
