"""Errors: the right status, the right envelope, and what every response carries."""

from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.test import Client

from app.connection import telling_timeouts
from blueprints.errors import ErrorResponses
from services.errors import STATUS, ClinvkError, ErrorCode
from services.events import Done, Message
from services.settings import ServerSettings
from services.tracing import request_id
from tests.support.fake_runs import Batch, FakeRun, FakeRuns, fake_app, saying

PROMPT = {"backend": "claude", "prompt": "hello"}


@pytest.fixture
def app() -> Flask:
    return fake_app(FakeRuns({"claude": saying("x")}))


def test_a_problem_is_complete(app: Flask) -> None:
    response = app.test_client().post("/api/v1/prompt", json={"backend": "claude"}, headers={"X-Request-Id": "r-1"})
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    message = "prompt: Missing data for required field."
    assert response.json == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": message,
        "errors": [{"location": "prompt", "message": "Missing data for required field."}],
        "error": "invalid_request",
        "message": message,
        "request_id": "r-1",
    }


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", "/api/v1/prompt/", "/api//v1/prompt", "/docs/../x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_routes(app: Flask, path: str, method: str) -> None:
    response = app.test_client().open(path, method=method, content_type="text/plain")
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["error"] == "not_found"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/models", "/chat/completions"])
def test_a_base_url_without_its_dialect_is_told_the_right_ones(app: Flask, path: str) -> None:
    response = app.test_client().post(path, json={})
    assert response.status_code == 404
    assert response.json is not None
    right = "a client's base URL ends in /openai/v1 or /anthropic here"
    assert response.json["message"] == f"there is nothing at {path}: {right}"


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/openai/chat/completions", "ends in /openai/v1 or"),
        ("/openai/v1/responses", "(POST /openai/v1/chat/completions)"),
        ("/v1/responses", "(POST /openai/v1/chat/completions)"),
    ],
)
def test_what_openais_clients_ask_for_elsewhere_is_told_where_it_is(app: Flask, path: str, right: str) -> None:
    response = app.test_client().post(path, json={})
    assert response.status_code == 404
    assert right in response.text


@pytest.mark.parametrize("path", ["/api/v1/prompt", "/api/v1/parallel", "/api/v1/chain", "/api/v1/compare"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_wrong_methods_are_told_the_right_ones(app: Flask, path: str, method: str) -> None:
    response = app.test_client().open(path, method=method, json={})
    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"
    if method != "HEAD":
        assert response.json is not None
        assert response.json["error"] == "method_not_allowed"
        assert response.json["message"] == f"{path} does not take {method}: it takes POST"


@pytest.mark.parametrize("path", ["/", "/health", "/openapi.json", "/api/v1/backends"])
def test_head_works_where_get_does(app: Flask, path: str) -> None:
    client = app.test_client()
    assert client.get(path).status_code == 200
    response = client.head(path)
    assert response.status_code == 200
    assert response.data == b""


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "json", "a/json"]
)
@pytest.mark.parametrize("path", ["prompt", "parallel", "chain", "compare"])
def test_only_json_is_taken(app: Flask, path: str, content_type: str | None) -> None:
    response = app.test_client().post(f"/api/v1/{path}", data=b"{}", content_type=content_type)
    assert response.status_code == 415
    assert response.json is not None
    assert response.json["error"] == "unsupported_media_type"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/x+json"])
def test_json_by_any_name_is_taken(app: Flask, content_type: str) -> None:
    data = b'{"backend": "claude", "prompt": "x"}'
    assert app.test_client().post("/api/v1/prompt", data=data, content_type=content_type).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_a_limit(chunked: bool) -> None:
    client = fake_app(
        FakeRuns({"claude": saying("x")}, server=ServerSettings(max_request_body_bytes=200))
    ).test_client()

    def post(body: bytes) -> Any:
        if not chunked:
            return client.post("/api/v1/prompt", data=body, content_type="application/json")
        unannounced = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        return client.post("/api/v1/prompt", data=body, content_type="application/json", environ_overrides=unannounced)

    body = b'{"backend": "claude", "prompt": "x"}'
    assert post(body.ljust(200)).status_code == 200
    response = post(body.ljust(201))
    assert response.status_code == 413
    assert response.json["error"] == "payload_too_large"
    assert "200 bytes" in response.json["detail"]


def test_a_body_that_comes_too_slowly_is_told_apart_from_a_wrong_one(app: Flask) -> None:
    class Slow:
        def read(self, *_: int) -> bytes:
            raise TimeoutError

    client = Client(telling_timeouts(app))
    response = client.post("/api/v1/prompt", json=PROMPT, environ_overrides={"wsgi.input": Slow()})
    assert response.status_code == 408
    assert response.json is not None
    assert (response.json["status"], response.json["error"]) == (408, "request_timeout")
    assert "server.read_timeout_secs" in response.json["detail"]
    assert "X-Should-Retry" not in response.headers


@pytest.mark.parametrize("given", ["abc", "A-b_c.9", "x" * 128])
def test_a_sane_request_id_is_kept(app: Flask, given: str) -> None:
    response = app.test_client().get("/nowhere", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] == given
    assert response.json is not None
    assert response.json["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä", "a/b"])
def test_any_other_request_id_is_replaced(app: Flask, given: str) -> None:
    client = app.test_client()
    ids = {client.get("/", headers={"X-Request-Id": given}).headers["X-Request-Id"] for _ in range(2)}
    assert len(ids) == 2
    assert given not in ids


def test_a_fault_of_ours_says_nothing_of_the_inside() -> None:
    class Broken(FakeRuns):
        def check(self, prompt: Any, kept: Any = None) -> Any:
            raise KeyError("secret")

    response = fake_app(Broken({})).test_client().post("/api/v1/prompt", json=PROMPT)
    assert response.status_code == 500
    assert response.json is not None
    assert response.json["error"] == "internal"
    assert "secret" not in response.text
    assert response.headers["X-Request-Id"] == response.json["request_id"]


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(ErrorCode)


def test_each_path_has_its_envelope(app: Flask) -> None:
    # a dialect brings its own envelope; its paths, and only they, are answered with it

    responses = ErrorResponses({"/openai": lambda error: Response(f"openai {error.code}", error.status)})
    error = ClinvkError(ErrorCode.UNAUTHORIZED, "who are you?")
    for path, is_theirs in (("/openai", True), ("/openai/v1/x", True), ("/openai2", False), ("/", False)):
        with app.test_request_context(path):
            response = responses.respond(error)
        assert (response.get_data(as_text=True) == "openai unauthorized") is is_theirs
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_the_id_is_known_until_all_is_sent_and_no_longer() -> None:
    seen = []

    def look(_: FakeRun) -> Batch:
        seen.append(request_id.get())
        return [Message("x")]

    client = fake_app(FakeRuns({"claude": [[Message("a")], look, [Done()]]})).test_client()
    body = PROMPT | {"output_format": "stream-json"}
    with client.post("/api/v1/prompt", json=body, headers={"X-Request-Id": "r-2"}) as response:
        assert response.headers["X-Request-Id"] == "r-2"
        assert response.get_data(as_text=True).count("message") == 2
    assert seen == ["r-2"]
    assert request_id.get() == ""


def test_tasks_work_under_the_id_of_their_request() -> None:
    seen = []

    def look(_: FakeRun) -> Batch:
        seen.append(request_id.get())
        return [Done()]

    client = fake_app(FakeRuns({"claude": [look]})).test_client()
    client.post("/api/v1/parallel", json={"tasks": [PROMPT, PROMPT]}, headers={"X-Request-Id": "r-3"})
    assert seen == ["r-3", "r-3"]
