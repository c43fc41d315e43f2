"""Whatever the Anthropic routes answer loads into the models of the official SDK, strictly."""

import json
import re
from itertools import product
from typing import Any

import pytest
from werkzeug.test import TestResponse

from services.errors import ErrorCode
from services.events import Message
from services.settings import BackendSettings, ServerSettings
from tests.conformance import scripts
from tests.conformance.scripts import client_of, texts_of
from tests.conformance.sdk_models import faults
from tests.conformance.streams import Sent, events_of
from tests.support.fake_runs import FakeRuns, fake_app, saying

PREFIXES = ("/anthropic/v1", "/anthropic/v1/v1", "/anthropic")
MESSAGES = "/anthropic/v1/messages"
HELLO: dict[str, Any] = {"model": "claude", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
AGENT = {"X-Clinvk-Tools": "cli"}
REQUESTS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "a stop": {"stop_sequences": ["lo"]},
    "a stop that nobody says": {"stop_sequences": ["never"]},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048},
    "much that is ignored": {"metadata": {"user_id": "u"}, "temperature": 0.5, "service_tier": "auto", "top_k": 5},
}
PING = Sent("ping", '{"type":"ping"}')
GRAMMAR = re.compile(
    r"message_start (content_block_start (content_block_delta )*content_block_stop )*message_delta message_stop"
)
WAYS = list(product(REQUESTS, ({}, AGENT)))


def faults_of_error(body: str) -> list[str]:
    """What an error has against the SDK's model, which does not know the documented type of a 413."""
    return faults("ErrorResponse", body.replace('"request_too_large"', '"invalid_request_error"'))


def error_of(response: TestResponse) -> Any:
    """The error of a response, which the SDK knows."""
    assert response.content_type == "application/json"
    assert faults_of_error(response.text) == []
    assert response.json is not None
    assert response.json["request_id"] == response.headers["request-id"] == response.headers["X-Request-Id"]
    assert response.json["error"]["message"]
    return response.json["error"]


@pytest.mark.parametrize("kind", list(scripts.ANSWERS))
def test_every_answer(kind: str) -> None:
    for request_, tools in WAYS:
        check_answer(kind, request_, tools)


def check_answer(kind: str, request_: str, tools: dict[str, str]) -> None:
    script = scripts.ANSWERS[kind]
    response = client_of(script).post(MESSAGES, json=HELLO | REQUESTS[request_], headers=tools)
    assert response.status_code == 200, response.text
    assert faults("Message", response.data) == []
    assert response.headers["request-id"] == response.headers["X-Request-Id"]
    answer = response.json
    assert answer is not None
    assert answer["stop_reason"]
    assert (answer["stop_reason"] == "stop_sequence") == (answer["stop_sequence"] is not None)
    said = "".join(block["text"] for block in answer["content"] if block["type"] == "text")
    assert texts_of(script).startswith(said)
    assert request_ == "a stop" or said == texts_of(script)


@pytest.mark.parametrize("kind", list(scripts.ANSWERS))
def test_every_stream(kind: str) -> None:
    for request_, tools in WAYS:
        check_stream(kind, request_, tools)


def check_stream(kind: str, request_: str, tools: dict[str, str]) -> None:
    script = scripts.ANSWERS[kind]
    response = client_of(script).post(MESSAGES, json=HELLO | REQUESTS[request_] | {"stream": True}, headers=tools)
    assert response.status_code == 200
    assert response.mimetype == "text/event-stream"
    events = [event for event in events_of(response.data) if event != PING]
    assert [fault for event in events for fault in faults("RawMessageStreamEvent", event.data)] == []
    assert GRAMMAR.fullmatch(" ".join(event.event for event in events))
    bodies = [json.loads(event.data) for event in events]
    assert [body["type"] for body in bodies] == [event.event for event in events]

    start, end = bodies[0]["message"], bodies[-2]
    assert start["usage"]["input_tokens"] > 0
    assert start["content"] == []
    assert (start["stop_reason"], start["stop_sequence"]) == (None, None)
    assert end["delta"]["stop_reason"]
    assert (end["delta"]["stop_reason"] == "stop_sequence") == (end["delta"]["stop_sequence"] is not None)
    said = "".join(body["delta"].get("text", "") for body in bodies if body["type"] == "content_block_delta")
    assert texts_of(script).startswith(said)
    assert request_ == "a stop" or said == texts_of(script)
    blocks = [
        (body["index"], body["content_block"]["type"]) for body in bodies if body["type"] == "content_block_start"
    ]
    assert [index for index, _ in blocks] == list(range(len(blocks)))
    kinds = dict(blocks)
    for body in bodies:
        if body["type"] == "content_block_delta":
            allowed = {"text": {"text_delta"}, "thinking": {"thinking_delta", "signature_delta"}}
            assert body["delta"]["type"] in allowed[kinds[body["index"]]]


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_failure_before_the_answer(code: ErrorCode) -> None:
    for way, stream in product(scripts.FAILURES, (False, True)):
        check_failure(code, way, stream)


def check_failure(code: ErrorCode, way: str, stream: bool) -> None:
    response = client_of(scripts.FAILURES[way](code)).post(MESSAGES, json=HELLO | {"stream": stream})
    assert response.status_code >= 400
    assert code.value in error_of(response)["message"]
    assert way == "not started" or response.headers["X-Should-Retry"] == "false"


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_failure_in_the_answer(code: ErrorCode) -> None:
    client = client_of(scripts.failing_later(code))
    plain = client.post(MESSAGES, json=HELLO)
    assert plain.status_code >= 400
    expected = error_of(plain)

    streamed = client.post(MESSAGES, json=HELLO | {"stream": True})
    assert streamed.status_code == 200
    *events, last = (event for event in events_of(streamed.data) if event != PING)
    assert last.event == "error"
    assert faults_of_error(last.data) == []
    assert json.loads(last.data)["error"] == expected
    assert [fault for event in events for fault in faults("RawMessageStreamEvent", event.data)] == []
    assert not {"message_delta", "message_stop"} & {event.event for event in events}


def test_a_fault_of_ours_in_the_answer() -> None:
    def broken(_: object) -> Any:
        raise KeyError("secret")

    response = client_of([[Message("Hello")], broken]).post(MESSAGES, json=HELLO | {"stream": True})
    last = events_of(response.data)[-1]
    assert last.event == "error"
    assert faults_of_error(last.data) == []
    assert b"secret" not in response.data


@pytest.mark.parametrize("prefix", PREFIXES)
def test_counts(prefix: str) -> None:
    body = {name: HELLO[name] for name in ("model", "messages")} | {"system": "Be short."}
    response = client_of(saying()).post(f"{prefix}/messages/count_tokens", json=body)
    assert response.status_code == 200
    assert faults("MessageTokensCount", response.data) == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_models(prefix: str) -> None:
    runs = FakeRuns({})
    runs.settings["claude"] = BackendSettings(model="opus")
    client = fake_app(runs).test_client()
    listed = client.get(f"{prefix}/models")
    assert listed.status_code == 200
    assert faults("ModelInfo", listed.data, paged=True) == []
    assert listed.json is not None
    models = {model["id"]: model for model in listed.json["data"]}
    assert {"claude", "codex", "gemini"} < set(models)
    assert (listed.json["first_id"], listed.json["last_id"]) == (next(iter(models)), list(models)[-1])
    assert listed.json["has_more"] is False
    for name, model in models.items():
        one = client.get(f"{prefix}/models/{name}")
        assert one.status_code == 200
        assert one.json == model
        assert faults("ModelInfo", one.data) == []


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("method", "path", "status", "options"),
    [
        ("GET", "/models/nobody", 404, {}),
        ("GET", "/models/nobody/nothing", 404, {}),
        ("GET", "/nowhere", 404, {}),
        ("POST", "/complete", 404, {"json": HELLO}),
        ("GET", "/messages", 405, {}),
        ("GET", "/messages/count_tokens", 405, {}),
        ("DELETE", "/models", 405, {}),
        ("POST", "/messages", 415, {"data": json.dumps(HELLO), "content_type": "text/plain"}),
        ("POST", "/messages/count_tokens", 415, {"data": json.dumps(HELLO)}),
        ("POST", "/messages", 413, {"data": json.dumps(HELLO).ljust(1001), "content_type": "application/json"}),
        ("POST", "/messages", 400, {"json": {}}),
        ("POST", "/messages/count_tokens", 400, {"json": {}}),
        ("POST", "/messages", 400, {"data": b"", "content_type": "application/json"}),
        ("POST", "/messages", 400, {"json": HELLO | {"tools": [{"name": "f", "input_schema": {"type": "object"}}]}}),
    ],
)
def test_every_refusal(prefix: str, method: str, path: str, status: int, options: dict[str, Any]) -> None:
    runs = FakeRuns({"claude": saying("x")}, server=ServerSettings(max_request_body_bytes=1000))
    response = fake_app(runs).test_client().open(prefix + path, method=method, **options)
    assert response.status_code == status
    types = {404: "not_found_error", 413: "request_too_large"}
    assert error_of(response)["type"] == types.get(status, "invalid_request_error")
    assert ("Allow" in response.headers) == (status == 405)
    assert runs.started == []


def test_a_wrong_key() -> None:
    client = fake_app(FakeRuns({"claude": saying("x")}), keys=["right-key-of-some-length"]).test_client()
    for path, method in ((MESSAGES, "POST"), ("/anthropic/v1/models", "GET"), ("/anthropic/nowhere", "GET")):
        response = client.open(path, method=method, json=HELLO, headers={"X-Api-Key": "wrong"})
        assert response.status_code == 401
        assert error_of(response)["type"] == "authentication_error"
