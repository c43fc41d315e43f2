"""Whatever is posted to the SDKs' routes: the documented error in the dialect's shape, never a 5xx, never a run."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from blueprints.fields import LARGEST_NUMBER
from services.settings import ServerSettings
from tests.support.bodies import JSON, NO_OBJECTS, Place, changed, places, written
from tests.support.fake_runs import FakeRuns, fake_app, saying

RUNS = FakeRuns({"claude": saying("x"), "codex": saying("y"), "gemini": saying("z")})
CLIENT = fake_app(RUNS).test_client()
JSON_TYPE = "application/json"

TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
    {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "text", "text": "four"}]},
]


@dataclass(frozen=True, slots=True)
class Route:
    """A route and a valid body for it.  ``dialect`` is the first part of the path."""

    path: str
    valid: dict[str, Any]

    @property
    def dialect(self) -> str:
        return self.path.split("/")[1]


CHAT = Route(
    "/openai/v1/chat/completions",
    {
        "model": "claude",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "developer", "content": [{"type": "text", "text": "d"}]},
            *TURNS,
        ],
        "stream": False,
        "max_tokens": 5,
        "max_completion_tokens": 5,
        "stop": ["a", "b"],
        "n": 1,
        "temperature": 0.5,
        "top_p": 0.5,
        "reasoning_effort": "low",
        "response_format": {"type": "text"},
        "tools": [],
        "tool_choice": "auto",
        "user": "u",
        "seed": 1,
        "logit_bias": {},
        "logprobs": False,
        "metadata": {"a": "b"},
        "unknown": {"a": 1},
    },
)
MESSAGES: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 2048,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "messages": TURNS,
    "stream": False,
    "stop_sequences": ["a", "b"],
    "temperature": 1,
    "top_p": 0.5,
    "top_k": 5,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "metadata": {"user_id": "u"},
    "tools": [],
    "unknown": {"a": 1},
}
COUNT = {name: MESSAGES[name] for name in ("model", "system", "messages", "tools", "unknown")}
PREFIXES = ("/anthropic/v1", "/anthropic/v1/v1", "/anthropic")
ROUTES = {
    route.path: route
    for route in (
        CHAT,
        *(Route(f"{prefix}/messages", MESSAGES) for prefix in PREFIXES),
        *(Route(f"{prefix}/messages/count_tokens", COUNT) for prefix in PREFIXES),
    )
}
every_route = pytest.mark.parametrize("route", ROUTES.values(), ids=list(ROUTES))
one_of_each = pytest.mark.parametrize(
    "route",
    [CHAT, ROUTES["/anthropic/v1/messages"], ROUTES["/anthropic/v1/messages/count_tokens"]],
    ids=lambda r: r.path,
)


def posted(route: Route, body: Any, client: Any = CLIENT) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response: TestResponse = client.post(route.path, data=data, content_type=JSON_TYPE)
    return response


def described(route: Route, response: TestResponse) -> tuple[str, str]:
    """The error's message, and the place in the request that it names; in the dialect's shape and nothing else."""
    assert response.content_type == JSON_TYPE
    assert response.json is not None
    error = response.json["error"]
    if route.dialect == "openai":
        assert set(response.json) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        return error["message"], error["param"] or ""
    assert set(response.json) == {"type", "error", "request_id"}
    assert response.json["type"] == "error"
    assert response.json["request_id"] == response.headers["request-id"]
    assert set(error) == {"type", "message"}
    return error["message"], error["message"].partition(": ")[0]


def refused(route: Route, body: Any) -> str:
    """The place that the refusal of a body names."""
    before = len(RUNS.started)
    response = posted(route, body)
    assert response.status_code == 400, response.text
    message, place = described(route, response)
    assert message
    assert len(RUNS.started) == before
    return place


@every_route
def test_the_valid_bodies_are_valid(route: Route) -> None:
    response = posted(route, route.valid)
    assert response.status_code == 200, response.text


@one_of_each
@given(data=st.data())
def test_any_body_is_refused(route: Route, data: st.DataObject) -> None:
    assert refused(route, data.draw(st.binary() | JSON.map(lambda value: json.dumps(value).encode())))


@every_route
@given(data=st.data())
def test_any_value_in_any_place_is_answered_or_refused_by_name(route: Route, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([place for place in places(route.valid) if place]))
    before = len(RUNS.started)
    response = posted(route, changed(route.valid, place, data.draw(JSON)))
    assert response.status_code in {200, 400}, response.text
    if response.status_code == 400:
        _, named = described(route, response)
        assert named
        assert len(RUNS.started) == before


MESSAGE: dict[Place, list[Any]] = {
    ("messages",): [None, [], {}, "x", 1, True, [1], [None], [[]]],
    ("messages", 0): [None, 1, "x", [], {}],
    ("messages", 0, "role"): [None, 1, "", "nobody", [], {}, "User"],
    ("messages", 0, "content"): [None, 1, {}, [], "", " \n", [1], [{}], "a\0b", "\ud800"],
    ("messages", 0, "content", 0): [
        None,
        1,
        "x",
        [],
        {},
        {"type": 1},
        {"type": "text"},
        {"type": "nothing", "text": "x"},
    ],
    ("messages", 0, "content", 0, "text"): [None, 1, [], {}, "a\0b"],
    ("model",): [None, 1, "", [], {}, True, "a\0b"],
}
NUMBERS: list[Any] = [-1, "1", [], {}, True, 10**30]
OPENAI: dict[Place, list[Any]] = {
    ("stream",): [1, "true", [], {}],
    ("stream_options",): [1, "x", [], {"include_usage": 1}],
    ("max_tokens",): [*NUMBERS, 1.5, LARGEST_NUMBER + 1],
    ("max_completion_tokens",): [*NUMBERS, 1.5, LARGEST_NUMBER + 1],
    ("temperature",): [*NUMBERS, 2.1],
    ("top_p",): [*NUMBERS, 1.1],
    ("n",): [0, 2, -1, "1", 1.5, [], True],
    ("stop",): [1, {}, [1], [None], True, [[]]],
    ("response_format",): [1, "text", [], {}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {}}],
    ("tools",): [1, "x", {}, [{"type": "function", "function": {"name": "f"}}]],
    ("reasoning_effort",): [1, [], {}],
}
ANTHROPIC: dict[Place, list[Any]] = {
    ("max_tokens",): [None, 0, *NUMBERS, 1.5, LARGEST_NUMBER + 1],
    ("stream",): [1, "true", [], {}],
    ("stop_sequences",): [1, "x", {}, [1], [None], [[]], [" "]],
    ("temperature",): [*NUMBERS, 1.1],
    ("top_p",): [*NUMBERS, 1.1],
    ("top_k",): [*NUMBERS, 1.5],
    ("thinking",): [1, "x", [], {}, {"type": "enabled"}, {"type": "enabled", "budget_tokens": 1}, {"type": "x"}],
    ("metadata",): [1, "x", []],
    ("system",): [1, {}, [1], [{}], [{"type": "image"}]],
    ("tools",): [1, "x", {}, [{"name": "f", "input_schema": {"type": "object"}}]],
}


def with_blocks(route: Route, place: Place) -> dict[str, Any]:
    """The valid body; with blocks where the place is in them."""
    body = changed(route.valid, ("messages",), TURNS)
    blocks = [{"type": "text", "text": "x"}]
    whole: dict[str, Any] = changed(body, ("messages", 0, "content"), blocks) if "content" in place[:-1] else body
    return whole


@pytest.mark.parametrize(
    ("route", "place"),
    [
        pytest.param(route, place, id=f"{route.path}-{written(place)}")
        for route in ROUTES.values()
        for place in MESSAGE | ({} if route.valid is COUNT else OPENAI if route is CHAT else ANTHROPIC)
    ],
)
def test_each_field_is_refused_by_its_name(route: Route, place: Place) -> None:
    values = (MESSAGE | (OPENAI if route is CHAT else ANTHROPIC))[place]
    for value in values:
        named = refused(route, changed(with_blocks(route, place), place, value))
        assert named.startswith(written(place)), (value, named)


@every_route
def test_what_is_required_is_missed_by_name(route: Route) -> None:
    required = ["max_tokens", "messages", "model"] if route.valid is MESSAGES else ["messages", "model"]
    for name in required:
        body = {key: value for key, value in route.valid.items() if key != name}
        assert refused(route, body) == name
    assert refused(route, {}) in required


@pytest.mark.parametrize("body", NO_OBJECTS)
@every_route
def test_what_is_no_object_is_refused(route: Route, body: bytes) -> None:
    assert refused(route, body)


@every_route
def test_what_is_unknown_is_ignored(route: Route) -> None:
    deep = changed(route.valid, ("messages", -1, "content", 0, "unknown"), [1])
    assert posted(route, deep | {"another": None, "Model": 1}).status_code == 200


@every_route
def test_a_crowd_of_errors_is_cut_short(route: Route) -> None:
    response = posted(route, route.valid | {"messages": [{"role": 1, "content": 1}] * 20_000})
    assert response.status_code == 400
    assert len(response.data) < 10_000


@every_route
@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "json", "a/json"]
)
def test_only_json_is_taken(route: Route, content_type: str | None) -> None:
    before = len(RUNS.started)
    response = CLIENT.post(route.path, data=json.dumps(route.valid), content_type=content_type)
    assert response.status_code == 415
    assert "application/json" in described(route, response)[0]
    assert len(RUNS.started) == before


@every_route
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/x+json"])
def test_json_by_any_name_is_taken(route: Route, content_type: str) -> None:
    assert CLIENT.post(route.path, data=json.dumps(route.valid), content_type=content_type).status_code == 200


@every_route
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_a_limit(route: Route, chunked: bool) -> None:
    limit = 5000
    runs = FakeRuns({"claude": saying("x")}, server=ServerSettings(max_request_body_bytes=limit))
    client = fake_app(runs).test_client()
    unannounced = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True} if chunked else {}
    body = json.dumps(route.valid).encode()

    def post(length: int) -> TestResponse:
        data = body.ljust(length)
        return client.post(route.path, data=data, content_type=JSON_TYPE, environ_overrides=unannounced)

    assert post(limit).status_code == 200
    runs.started.clear()
    response = post(limit + 1)
    assert response.status_code == 413
    assert str(limit) in described(route, response)[0]
    assert runs.started == []


@every_route
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_wrong_methods_are_told_the_right_ones(route: Route, method: str) -> None:
    response = CLIENT.open(route.path, method=method, json=route.valid)
    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"
    assert (response.data == b"") == (method == "HEAD")
    if method != "HEAD":
        assert method in described(route, response)[0]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("route", ROUTES.values(), ids=list(ROUTES))
@pytest.mark.parametrize("end", ["/", "/x", "x"])
def test_unknown_routes(route: Route, end: str, method: str) -> None:
    response = CLIENT.open(route.path + end, method=method, content_type="text/plain")
    assert response.status_code == 404
    assert route.path + end in described(route, response)[0]


@pytest.mark.parametrize(
    "path",
    ["/openai/v1/models", "/openai/v1/models/claude"]
    + [f"{prefix}/models{end}" for prefix in PREFIXES for end in ("", "/claude")],
)
def test_head_works_where_get_does(path: str) -> None:
    assert CLIENT.get(path).status_code == 200
    response = CLIENT.head(path)
    assert response.status_code == 200
    assert response.data == b""
    refused_ = CLIENT.post(path, json={})
    assert refused_.status_code == 405
    assert refused_.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/", "/anthropic", "/openai"])
def test_clients_may_probe(path: str) -> None:
    assert CLIENT.head(path).status_code == 200
