"""API keys: who may ask, and who sees what."""

import pytest
from flask.testing import FlaskClient

from tests.support.fake_runs import FakeRuns, fake_app, saying

HELLO = {"backend": "claude", "prompt": "hello"}


@pytest.fixture
def runs() -> FakeRuns:
    return FakeRuns({"claude": saying("Hi")})


@pytest.fixture
def client(runs: FakeRuns) -> FlaskClient:
    return fake_app(runs, keys=["key-one", "key-two"]).test_client()


GOOD = ({"X-Api-Key": "key-one"}, {"Authorization": "Bearer key-two"}, {"Authorization": "bearer  key-one "})
BAD: tuple[dict[str, str], ...] = (
    {},
    {"X-Api-Key": ""},
    {"X-Api-Key": "key-on"},
    {"X-Api-Key": "key-one\u00e9"},
    {"Authorization": "Bearer"},
    {"Authorization": "Basic key-one"},
    {"Authorization": "key-one"},
    {"X-Api-Key": "wrong", "Authorization": "Bearer key-one"},
)


@pytest.mark.parametrize("headers", GOOD)
def test_a_good_key_opens(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/api/v1/prompt", json=HELLO, headers=headers).status_code == 200


@pytest.mark.parametrize("headers", BAD)
@pytest.mark.parametrize("path", ["/api/v1/prompt", "/api/v1/parallel", "/no/such/route"])
def test_anything_else_does_not(client: FlaskClient, runs: FakeRuns, headers: dict[str, str], path: str) -> None:
    response = client.post(path, json=HELLO, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["X-Should-Retry"] == "false"
    assert response.json is not None
    assert response.json["error"] == "unauthorized"
    assert runs.started == []


def test_with_both_headers_the_first_decides(client: FlaskClient) -> None:
    both = {"X-Api-Key": "key-one", "Authorization": "Bearer wrong"}
    assert client.get("/api/v1/backends", headers=both).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/openapi.json"])
def test_what_is_open(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200
    assert client.head("/").status_code == 200
    assert client.get("/").status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("parallel", {"tasks": [HELLO]}),
        ("chain", {"steps": [HELLO]}),
        ("compare", {"backends": ["claude"], "prompt": "hello"}),
        ("prompt", HELLO),
    ],
)
def test_runs_belong_to_their_key(client: FlaskClient, runs: FakeRuns, path: str, body: dict[str, object]) -> None:
    for headers in GOOD[:2]:
        assert client.post(f"/api/v1/{path}", json=body, headers=headers).status_code == 200
    owners = [run.plan.prompt.owner for run in runs.started]
    assert len(set(owners)) == 2
    assert all(len(owner) == 16 for owner in owners)


def test_sessions_belong_to_their_key(client: FlaskClient) -> None:
    one, two = GOOD[0], GOOD[1]
    made = client.post("/api/v1/prompt", json=HELLO, headers=one).json
    assert made is not None
    path = f"/api/v1/sessions/{made['session_id']}"
    assert client.get(path, headers=one).status_code == 200
    for response in (
        client.get(path, headers=two),
        client.delete(path, headers=two),
        client.get(f"{path}/turns", headers=two),
        client.post(f"{path}/fork", json={}, headers=two),
        client.post("/api/v1/prompt", json=HELLO | {"session_id": made["session_id"]}, headers=two),
    ):
        assert response.status_code == 404
    listed = client.get("/api/v1/sessions", headers=two).json
    assert listed is not None
    assert listed["total"] == 0
