"""Whatever the OpenAI routes answer is as OpenAI publishes it."""

import json
from itertools import product
from typing import Any

import pytest
from werkzeug.test import TestResponse

from services.errors import ErrorCode
from services.events import Message
from services.settings import BackendSettings, ServerSettings
from tests.conformance import scripts
from tests.conformance.published import faults
from tests.conformance.scripts import client_of, texts_of
from tests.conformance.streams import events_of
from tests.support.fake_runs import FakeRuns, fake_app, saying

CHAT = "/openai/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "claude", "messages": [{"role": "user", "content": "hello"}]}
AGENT = {"X-Clinvk-Tools": "cli"}
REQUESTS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "a limit": {"max_tokens": 5},
    "a stop": {"stop": ["lo"]},
    "a stop that nobody says": {"stop": "never"},
    "much that is ignored": {"user": "u", "seed": 1, "logit_bias": {}, "n": 1, "temperature": 0.5, "store": False},
}
WAYS = list(product(REQUESTS, ({}, AGENT)))


def error_of(response: TestResponse) -> Any:
    """The error of a response, which is as published."""
    assert response.content_type == "application/json"
    assert faults("ErrorResponse", response.json) == []
    assert response.json is not None
    assert response.json["error"]["message"]
    return response.json["error"]


@pytest.mark.parametrize("kind", list(scripts.ANSWERS))
def test_every_answer(kind: str) -> None:
    for request_, tools in WAYS:
        check_answer(kind, request_, tools)


def check_answer(kind: str, request_: str, tools: dict[str, str]) -> None:
    script = scripts.ANSWERS[kind]
    response = client_of(script).post(CHAT, json=HELLO | REQUESTS[request_], headers=tools)
    assert response.status_code == 200, response.text
    assert faults("CreateChatCompletionResponse", response.json) == []
    assert response.json is not None
    message = response.json["choices"][0]["message"]
    usage = response.json["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    whole = texts_of(script)
    assert whole.startswith(message["content"] or message["refusal"] or "")
    assert request_ == "a stop" or whole == (message["content"] or message["refusal"] or "")


@pytest.mark.parametrize("kind", list(scripts.ANSWERS))
def test_every_stream(kind: str) -> None:
    for (request_, tools), usage in product(WAYS, (None, False, True)):
        check_stream(kind, request_, tools, usage)


def check_stream(kind: str, request_: str, tools: dict[str, str], usage: bool | None) -> None:
    script = scripts.ANSWERS[kind]
    options = {} if usage is None else {"stream_options": {"include_usage": usage}}
    body = HELLO | REQUESTS[request_] | {"stream": True} | options
    response = client_of(script).post(CHAT, json=body, headers=tools)
    assert response.status_code == 200
    assert response.mimetype == "text/event-stream"
    *events, last = events_of(response.data)
    assert (last.event, last.data) == ("", "[DONE]")
    chunks = [json.loads(event.data) for event in events]
    assert [fault for chunk in chunks for fault in faults("CreateChatCompletionStreamResponse", chunk)] == []
    assert {event.event for event in events} == {""}
    assert len({(chunk["id"], chunk["created"], chunk["object"]) for chunk in chunks}) == 1

    with_choice = [chunk for chunk in chunks if chunk["choices"]]
    assert chunks[: len(with_choice)] == with_choice
    assert [chunk["choices"] for chunk in chunks[len(with_choice) :]] == ([[]] if usage else [])
    assert bool(usage) == bool(chunks[-1].get("usage"))
    assert not any(chunk.get("usage") for chunk in with_choice)
    choices = [chunk["choices"][0] for chunk in with_choice]
    assert choices[0]["delta"]["role"] == "assistant"
    assert [bool(choice["finish_reason"]) for choice in choices] == [*[False] * (len(choices) - 1), True]
    said = "".join(choice["delta"].get("content") or choice["delta"].get("refusal") or "" for choice in choices)
    assert texts_of(script).startswith(said)
    assert request_ == "a stop" or said == texts_of(script)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_failure_before_the_answer(code: ErrorCode) -> None:
    for way, stream in product(scripts.FAILURES, (False, True)):
        check_failure(code, way, stream)


def check_failure(code: ErrorCode, way: str, stream: bool) -> None:
    response = client_of(scripts.FAILURES[way](code)).post(CHAT, json=HELLO | {"stream": stream})
    assert response.status_code >= 400
    assert code.value in error_of(response)["message"]
    assert way == "not started" or response.headers["X-Should-Retry"] == "false"


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_failure_in_the_answer(code: ErrorCode) -> None:
    client = client_of(scripts.failing_later(code))
    plain = client.post(CHAT, json=HELLO)
    assert plain.status_code >= 400
    expected = error_of(plain)

    streamed = client.post(CHAT, json=HELLO | {"stream": True})
    assert streamed.status_code == 200
    *events, last = events_of(streamed.data)
    error = json.loads(last.data)
    assert faults("ErrorResponse", error) == []
    assert error["error"] == expected
    assert all(not faults("CreateChatCompletionStreamResponse", json.loads(event.data)) for event in events)
    assert not any(choice["finish_reason"] for e in events for choice in json.loads(e.data)["choices"])


def test_a_fault_of_ours_in_the_answer() -> None:
    def broken(_: object) -> Any:
        raise KeyError("secret")

    response = client_of([[Message("Hello")], broken]).post(CHAT, json=HELLO | {"stream": True})
    error = json.loads(events_of(response.data)[-1].data)
    assert faults("ErrorResponse", error) == []
    assert b"secret" not in response.data


def test_models() -> None:
    runs = FakeRuns({})
    runs.settings["claude"] = BackendSettings(model="opus")
    client = fake_app(runs).test_client()
    listed = client.get("/openai/v1/models")
    assert listed.status_code == 200
    assert faults("ListModelsResponse", listed.json) == []
    assert listed.json is not None
    models = {model["id"]: model for model in listed.json["data"]}
    assert {"claude", "codex", "gemini"} < set(models)
    for name, model in models.items():
        one = client.get(f"/openai/v1/models/{name}")
        assert one.status_code == 200
        assert one.json == model
        assert faults("Model", one.json) == []
    assert len({model["created"] for model in models.values()}) == 1
    assert client.get("/openai/v1/models").json == listed.json


@pytest.mark.parametrize(
    ("method", "path", "status", "options"),
    [
        ("GET", "/openai/v1/models/nobody", 404, {}),
        ("GET", "/openai/v1/models/nobody/nothing", 404, {}),
        ("GET", "/openai/v1/nowhere", 404, {}),
        ("POST", "/openai/v1/embeddings", 404, {"json": HELLO}),
        ("POST", "/openai/chat/completions", 404, {"json": HELLO}),
        ("GET", CHAT, 405, {}),
        ("DELETE", "/openai/v1/models", 405, {}),
        ("POST", CHAT, 415, {"data": json.dumps(HELLO), "content_type": "text/plain"}),
        ("POST", CHAT, 415, {"data": json.dumps(HELLO)}),
        ("POST", CHAT, 413, {"data": json.dumps(HELLO).ljust(1001), "content_type": "application/json"}),
        ("POST", CHAT, 400, {"json": {}}),
        ("POST", CHAT, 400, {"data": b"", "content_type": "application/json"}),
        ("POST", CHAT, 400, {"json": HELLO | {"tools": [{"type": "function", "function": {"name": "f"}}]}}),
    ],
)
def test_every_refusal(method: str, path: str, status: int, options: dict[str, Any]) -> None:
    runs = FakeRuns({"claude": saying("x")}, server=ServerSettings(max_request_body_bytes=1000))
    response = fake_app(runs).test_client().open(path, method=method, **options)
    assert response.status_code == status
    assert error_of(response)["type"] == "invalid_request_error"
    assert ("Allow" in response.headers) == (status == 405)
    assert response.headers["X-Request-Id"]
    assert runs.started == []


def test_a_wrong_key() -> None:
    client = fake_app(FakeRuns({"claude": saying("x")}), keys=["right-key-of-some-length"]).test_client()
    for path, method in ((CHAT, "POST"), ("/openai/v1/models", "GET"), ("/openai/v1/nowhere", "GET")):
        response = client.open(path, method=method, json=HELLO, headers={"Authorization": "Bearer wrong"})
        assert response.status_code == 401
        assert error_of(response)["type"] == "authentication_error"
        assert error_of(response)["code"] == "invalid_api_key"
