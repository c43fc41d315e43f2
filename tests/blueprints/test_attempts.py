"""Attempts to get around what the server asks of a request, on every route: what they get, and that nothing runs.

``docs/attempts.md`` says where every other one is tried.
"""

import gzip
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services.descendants import worker_id
from services.registry import Registry, RunRecord
from services.settings import ServerSettings
from tests.support.fake_runs import FakeRuns, fake_app, saying

MINE, YOURS = "key-of-mine-7215", "key-of-yours-3394"
USER = [{"role": "user", "content": "hello"}]
PROMPT = {"backend": "claude", "prompt": "hello"}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/prompt": PROMPT,
    "/api/v1/parallel": {"tasks": [PROMPT]},
    "/api/v1/chain": {"steps": [PROMPT]},
    "/api/v1/compare": {"backends": ["claude"], "prompt": "hello"},
    "/openai/v1/chat/completions": {"model": "claude", "messages": USER},
    "/anthropic/v1/messages": {"model": "claude", "max_tokens": 9, "messages": USER},
}
CHATS = [path for path in BODIES if "/api/" not in path]


class House:
    """An application with fake runs, and what is tried on it."""

    def __init__(self, home: Path, server: ServerSettings | None = None, keys: tuple[str, ...] = (MINE, YOURS)) -> None:
        self.runs = FakeRuns({"claude": saying("Hi")}, server=server or ServerSettings())
        self.runs.backends["claude"].can_resume = True
        self.app: Flask = fake_app(self.runs, home, keys)
        self.client: FlaskClient = self.app.test_client()

    def ask(self, method: str, path: str, key: str = MINE, **options: Any) -> Any:
        """The response; ``environ`` is laid over what the server would make of the request."""
        headers = {"X-Api-Key": key, **options.pop("headers", {})}
        return self.client.open(
            path, method=method, headers=headers, environ_overrides=options.pop("environ", {}), **options
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# ---------------------------------------------------------------------- keys and owners


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Api-Key": f"{MINE},{YOURS}"},
        {"X-Api-Key": f"Bearer {MINE}"},
        {"X-Api-Key": "*"},
        {"X-Api-Key": "", "Authorization": f"Bearer {MINE}"},
        {"X-Api-Key": "\0", "Authorization": f"Bearer {MINE}"},
        {"Authorization": f"Bearer {MINE}, Bearer {YOURS}"},
        {"Authorization": f"Bearer {MINE}\tx"},
        {"Api-Key": MINE},
        {"Cookie": f"X-Api-Key={MINE}"},
        {"Proxy-Authorization": f"Bearer {MINE}"},
    ],
)
@pytest.mark.parametrize("path", BODIES)
def test_nothing_but_a_key_in_its_place_opens(house: House, path: str, headers: dict[str, str]) -> None:
    query = {"api_key": MINE, "key": MINE, "x-api-key": MINE}
    response = house.client.post(path, json=BODIES[path], headers=headers, query_string=query)
    assert response.status_code == 401
    assert not house.runs.started


@pytest.mark.parametrize(
    "path",
    ["/health/", "/HEALTH", "/health;x", "/docs/../api/v1/sessions", "/docs/%2e%2e/api/v1/sessions", "/health%00", "/.",
     "/openapi.json/../api/v1/runs", "/%2fapi/v1/sessions", "/metrics/../", "/health/../api/v1/prompt", "/health/x"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_path_that_resembles_an_open_one_is_closed(house: House, path: str, method: str) -> None:
    assert house.client.open(path, method=method, json=PROMPT).status_code in {401, 405}
    assert not house.runs.started


@pytest.mark.parametrize("path", BODIES)
def test_what_needs_no_key_starts_nothing(house: House, path: str) -> None:
    tricks = {"X-Http-Method-Override": "POST", "X-Http-Method": "POST", "X-Method-Override": "POST"}
    for method in ("OPTIONS", "HEAD", "GET", "TRACE"):
        house.client.open(path, method=method, json=BODIES[path], headers=tricks, query_string={"_method": "POST"})
    assert house.client.options(path, json=BODIES[path]).status_code == 200
    assert house.client.head("/", json=BODIES[path], headers=tricks).status_code == 200
    assert not house.runs.started


def test_a_session_of_another_key_is_not_there(house: House) -> None:
    ident = house.ask("POST", "/api/v1/prompt", json=PROMPT).json["session_id"]
    started = len(house.runs.started)
    for given in (ident, ident[:8], ident[:12]):
        there = f"/api/v1/sessions/{given}"
        for path, body in BODIES.items():
            named = body | {"session_id": given} if path == "/api/v1/prompt" else body
            if path in {"/api/v1/prompt", *CHATS}:
                headers = {"X-Clinvk-Session": given} if path in CHATS else {}
                assert house.ask("POST", path, YOURS, json=named, headers=headers).status_code == 404, path
        for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/turns"), ("POST", "/fork")):
            body = {"json": {}} if method == "POST" else {}
            assert house.ask(method, there + below, YOURS, **body).status_code == 404
    assert len(house.runs.started) == started
    assert house.ask("GET", f"/api/v1/sessions/{ident}").status_code == 200


def test_what_is_said_of_a_session_of_another_is_what_is_said_of_none(house: House) -> None:
    ident = house.ask("POST", "/api/v1/prompt", json=PROMPT).json["session_id"]
    nobodys = ident[::-1]
    told = []
    for given in (ident, nobodys):
        response = house.ask("GET", f"/api/v1/sessions/{given}", YOURS, headers={"X-Request-Id": "r"})
        told.append(response.text.replace(given, "ID"))
    assert told[0] == told[1]


@pytest.fixture
def running(house: House, tmp_path: Path) -> Iterator[House]:
    """A house in which a run of mine is going on."""
    (tmp_path / "runs" / worker_id()).mkdir(parents=True)
    registry = Registry(tmp_path / "runs", worker_id())
    house.app.extensions["clinvk"] = replace(house.app.extensions["clinvk"], registry=registry)
    assert house.ask("POST", "/api/v1/prompt", json=PROMPT).status_code == 200
    owner = house.runs.started[0].plan.prompt.owner
    registry.put(RunRecord("a1b2c3", "claude", "", "", owner, 1.0))
    yield house
    registry.close()


def test_a_run_of_another_key_is_not_there(running: House) -> None:
    assert running.ask("GET", "/api/v1/runs", YOURS).json == {"runs": []}
    for method in ("GET", "DELETE"):
        for ident in ("a1b2c3", "a1b2c*", "*", "../nobody/a1b2c3", "%2e%2e%2fa1b2c3"):
            assert running.ask(method, f"/api/v1/runs/{ident}", YOURS).status_code == 404
    assert running.ask("GET", "/api/v1/runs/a1b2c3").status_code == 200
    assert [run["run_id"] for run in running.ask("GET", "/api/v1/runs").json["runs"]] == ["a1b2c3"]


# ---------------------------------------------------------------------- values that would like to be more

FLAGS = ["-p", "--yolo", "--model=x", "--dangerously-skip-permissions", "-"]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_model_is_no_flag_on_any_route(house: House, flag: str) -> None:
    for path, body in BODIES.items():
        named = {
            "/api/v1/parallel": {"tasks": [PROMPT | {"model": flag}]},
            "/api/v1/chain": {"steps": [PROMPT | {"model": flag}]},
        }.get(path, body | {"model": f"claude/{flag}" if path in CHATS else flag})
        response = house.ask("POST", path, json=named)
        assert response.status_code == 400, path
        assert "model" in response.text
    by_backend = BODIES["/api/v1/compare"] | {"models": {"claude": flag}}
    assert house.ask("POST", "/api/v1/compare", json=by_backend).status_code == 400
    assert not house.runs.started


@pytest.mark.parametrize(
    "ident", ["--resume", "-c", "../../etc/passwd", "/etc/passwd", "*", "%", "_", "' OR 1=1 --", "a b"]
)
def test_a_session_id_names_nothing_else(house: House, ident: str) -> None:
    house.ask("POST", "/api/v1/prompt", json=PROMPT)
    started = len(house.runs.started)
    assert house.ask("POST", "/api/v1/prompt", json=PROMPT | {"session_id": ident}).status_code == 404
    for path in CHATS:
        response = house.ask("POST", path, json=BODIES[path], headers={"X-Clinvk-Session": ident})
        assert response.status_code == 404
    assert len(house.runs.started) == started


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("X-Clinvk-Tools", ["cli,none", "cli --yolo", "all", "true"]),
        ("X-Clinvk-Approval-Mode", ["bypassPermissions", "yolo", "--yolo", "none, default", "default\tnone"]),
        ("X-Clinvk-Sandbox-Mode", ["danger-full-access", "full,read-only", "off"]),
        (
            "X-Clinvk-Workdir",
            ["/", "//", "/etc", "/tmp/../etc", "/proc/self/cwd/../etc", "~", ".", "file:///tmp", "/tmp/\t"],
        ),
    ],
)
def test_a_header_asks_for_nothing_but_what_it_may(house: House, path: str, header: str, values: list[str]) -> None:
    for value in values:
        response = house.ask("POST", path, json=BODIES[path], headers={"X-Clinvk-Tools": "cli", header: value})
        assert response.status_code == 400, value
        assert header in response.text
    assert not house.runs.started


@pytest.mark.parametrize("path", CHATS)
def test_a_header_obeys_the_caps(tmp_path: Path, path: str) -> None:
    capped = ServerSettings(allowed_approval_modes=("default",), allowed_sandbox_modes=("default", "read-only"))
    house = House(tmp_path, capped)
    for header, value in (("X-Clinvk-Approval-Mode", "none"), ("X-Clinvk-Sandbox-Mode", "full")):
        response = house.ask("POST", path, json=BODIES[path], headers={"X-Clinvk-Tools": "cli", header: value})
        assert response.status_code == 403
    assert not house.runs.started


SPLIT = "x\r\nX-Evil: 1\r\n\r\n<script>"


@pytest.mark.parametrize("path", BODIES)
def test_no_value_becomes_a_header(house: House, path: str) -> None:
    """Neither what a body says nor what a header does, even if it had got past the HTTP parser."""
    names = ("REQUEST_ID", "CLINVK_SESSION", "CLINVK_TOOLS", "CLINVK_WORKDIR", "CLINVK_SANDBOX_MODE", "FORWARDED_FOR")
    chat = {"user": SPLIT, "metadata": {"user_id": SPLIT}, "stop": [SPLIT], "seed": 1, SPLIT: SPLIT}
    native = {"model": SPLIT, "metadata": {SPLIT: SPLIT}, "session_id": SPLIT, SPLIT: SPLIT}
    attempts: list[tuple[dict[str, Any], dict[str, str]]] = [
        *((BODIES[path], {f"HTTP_X_{name}": SPLIT}) for name in names),
        *((BODIES[path], {f"HTTP_{name}": SPLIT}) for name in ("ORIGIN", "ACCEPT", "ANTHROPIC_VERSION")),
        *((BODIES[path] | {key: value}, {}) for key, value in (chat if path in CHATS else native).items()),
    ]
    for body, environ in attempts:
        response = house.ask("POST", path, json=body, environ=environ)
        assert response.status_code < 500, (body, environ, response.text)
        assert "X-Evil" not in response.headers
        assert not any({"\r", "\n"} & set(value) for _, value in response.headers)


@pytest.mark.parametrize("path", BODIES)
def test_a_body_is_not_unpacked(house: House, path: str) -> None:
    """So that a few bytes cannot become a great many."""
    for encoding in ("gzip", "deflate", "identity, gzip"):
        response = house.ask(
            "POST", path, data=gzip.compress(json.dumps(BODIES[path]).encode()), content_type="application/json",
            headers={"Content-Encoding": encoding},
        )  # fmt: skip
        assert response.status_code == 400
    assert not house.runs.started


# ---------------------------------------------------------------------- secrets


LOOKED_AT = ("/health", "/", "/api/v1/sessions", "/nowhere", "/openapi.json")


def test_no_key_is_ever_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "a-key-that-is-not-good"
    with caplog.at_level(logging.DEBUG):
        told = [
            *(house.ask("POST", path, key, json={}) for key in (MINE, wrong) for path in BODIES),
            *(house.ask("GET", path, key) for key in (MINE, wrong) for path in LOOKED_AT),
        ]
    for text in (*(response.text + str(response.headers) for response in told), caplog.text):
        assert MINE not in text
        assert YOURS not in text
        assert wrong not in text
