"""Whatever is posted: the documented error that names the field, never a 5xx, never a run."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprints.fields import LARGEST_NUMBER
from tests.support.bodies import JSON, NO_OBJECTS, changed, places, written
from tests.support.fake_runs import FakeRuns, fake_app, saying

RUNS = FakeRuns({"claude": saying("x"), "codex": saying("y"), "gemini": saying("z")})
CLIENT = fake_app(RUNS).test_client()

PROMPT = {
    "backend": "claude",
    "prompt": "x",
    "model": "m",
    "ephemeral": True,
    "approval_mode": "auto",
    "sandbox_mode": "read-only",
    "output_format": "json",
    "max_tokens": 1,
    "max_turns": 1,
    "system_prompt": "s",
    "append_system_prompt": "a",
    "verbose": True,
    "dry_run": False,
    "extra": ["--effort", "high"],
    "metadata": {"a": "b"},
}
STEP = {**PROMPT, "name": "n"}
VALID: dict[str, dict[str, Any]] = {
    "/api/v1/prompt": PROMPT,
    "/api/v1/parallel": {
        "tasks": [PROMPT, copy.deepcopy(PROMPT)],
        "max_parallel": 2,
        "fail_fast": True,
        "dry_run": False,
    },
    "/api/v1/chain": {
        "steps": [STEP, copy.deepcopy(STEP)],
        "stop_on_failure": True,
        "pass_working_dir": True,
        "pass_session_id": False,
        "persist_sessions": False,
    },
    "/api/v1/compare": {
        "prompt": "x",
        "backends": ["claude", "codex"],
        "model": "m",
        "models": {"codex": "n"},
        "sequential": True,
        "output_format": "text",
    },
}
PATHS = sorted(VALID)


def refused(path: str, body: Any) -> list[str]:
    """The locations that the refusal of a body names."""
    before = len(RUNS.started)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = CLIENT.post(path, data=data, content_type="application/json")
    assert response.status_code == 400, response.text
    assert response.content_type == "application/problem+json"
    assert response.json is not None
    assert response.json["error"] in {"invalid_request", "unknown_backend", "flag_not_allowed", "workdir_not_allowed"}
    assert len(RUNS.started) == before
    return [problem["location"] for problem in response.json["errors"]]


@pytest.mark.parametrize("path", PATHS)
def test_the_valid_bodies_are_valid(path: str) -> None:
    assert CLIENT.post(path, json=VALID[path]).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@given(data=st.data())
def test_any_body_is_answered_or_refused(path: str, data: st.DataObject) -> None:
    body = data.draw(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
    assert refused(path, body)


@pytest.mark.parametrize("path", PATHS)
@given(data=st.data())
def test_any_value_in_any_place_is_answered_or_refused_by_name(path: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([place for place in places(VALID[path]) if place]))
    body = changed(VALID[path], place, data.draw(JSON))
    before = len(RUNS.started)
    response = CLIENT.post(path, data=json.dumps(body), content_type="application/json")
    assert response.status_code in {200, 400}
    if response.status_code == 400:
        assert response.json is not None
        assert response.json["errors"]
        assert len(RUNS.started) == before


WRONG: dict[str, list[Any]] = {
    "backend": [None, "", 1, [], {}, True, "nobody"],
    "prompt": [None, "", " \n", 1, [], {}, False, "a\0b", "\ud800"],
    "model": [None, 1, [], {}],
    "workdir": [None, 1, "relative", "/does/not/exist", "/", "/etc", "a\0b"],
    "ephemeral": [None, 1, 0, "true", [], {}],
    "approval_mode": [None, "", "yolo", 1, []],
    "sandbox_mode": [None, "", "off", 1, {}],
    "output_format": [None, "", "xml", 1],
    "max_tokens": [None, -1, 1.5, 1.0, "1", True, LARGEST_NUMBER + 1, 10**30],
    "max_turns": [None, -1, 0.5, "1", False, [], {}],
    "system_prompt": [None, 1, []],
    "append_system_prompt": [None, 1, {}],
    "verbose": [None, 1, "yes"],
    "dry_run": [None, 1, "no"],
    "extra": [None, "x", {}, ["--yolo"], ["--effort"], [1], ["-c", "x"], ["x"] * 65],
    "metadata": [None, [], "x", {"a": 1}, {"a": None}, {str(i): "" for i in range(65)}],
    "session_id": [None, 1, []],
    "unknown": [None, 1, "x"],
    "Prompt": ["x"],
}


@pytest.mark.parametrize(("prefix", "path"), [((), "prompt"), (("tasks", 1), "parallel"), (("steps", 1), "chain")])
@pytest.mark.parametrize("field", sorted(WRONG))
def test_each_field_of_a_prompt_is_refused_by_its_name(prefix: tuple[str | int, ...], path: str, field: str) -> None:
    path = f"/api/v1/{path}"
    for value in WRONG[field]:
        locations = refused(path, changed(VALID[path], (*prefix, field), value))
        expected = written((*prefix, field))
        assert locations
        assert all(location.startswith(expected) for location in locations), (value, locations)


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        ("parallel", "tasks", [None, [], {}, "x", [1], [PROMPT] * 101]),
        ("parallel", "max_parallel", [None, -1, 101, 1.5, "3", True]),
        ("parallel", "fail_fast", [1, "true", []]),
        ("chain", "steps", [None, [], {}, "x", [[]], [STEP] * 101]),
        ("chain", "stop_on_failure", [None, 1]),
        ("chain", "pass_working_dir", [None, "x"]),
        ("chain", "pass_session_id", [True, None, 1]),
        ("chain", "persist_sessions", [True, None, "x"]),
        ("compare", "prompt", [None, "", " ", 1]),
        ("compare", "backends", [None, [], "claude", [""], [1], ["claude", "claude"], ["claude", "nobody"]]),
        ("compare", "models", [None, [], {"codex": 1}, {"nobody": "m"}]),
        ("compare", "workdir", ["relative", "/", 1]),
        ("compare", "sequential", [None, 1]),
        ("compare", "unknown", [1]),
        ("compare", "session_id", ["x"]),
    ],
)
def test_each_field_of_several_runs_is_refused_by_its_name(path: str, field: str, values: list[Any]) -> None:
    path = f"/api/v1/{path}"
    for value in values:
        body = {**VALID[path], **({"models": {}} if field == "backends" else {}), field: value}
        locations = refused(path, body)
        assert locations
        assert all(location.startswith(field) for location in locations), (value, locations)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_required_is_missed_by_name(path: str) -> None:
    required = {"/api/v1/parallel": ["tasks"], "/api/v1/chain": ["steps"], "/api/v1/compare": ["backends", "prompt"]}
    assert sorted(refused(path, {})) == required.get(path, ["backend", "prompt"])


@pytest.mark.parametrize("body", NO_OBJECTS)
@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_object_is_refused(path: str, body: bytes) -> None:
    assert refused(path, body)


def test_a_crowd_of_errors_is_cut_short() -> None:
    response = CLIENT.post("/api/v1/prompt", json={str(i): 1 for i in range(50_000)})
    assert response.status_code == 400
    assert len(response.data) < 10_000


def test_a_crowd_of_tasks_is_not_looked_at() -> None:
    assert refused("/api/v1/parallel", {"tasks": [1] * 90_000}) == ["tasks"]
