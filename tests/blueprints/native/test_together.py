"""POST /api/v1/parallel, chain and compare: the shapes of their answers and streams."""

import json
from typing import Any

import pytest

from services.errors import ClinvkError, ErrorCode
from services.events import Done, Failed, Message
from tests.support.fake_runs import FakeRuns, fake_app, saying

TOKENS = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2}
TWICE = {name: 2 * count for name, count in TOKENS.items()}
NOTHING = dict.fromkeys(TOKENS, 0)
BROKE = Failed(ErrorCode.BACKEND_FAILED, "it broke", 3)
MISSING = ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, "gemini is not installed: install it")


def runs() -> FakeRuns:
    return FakeRuns({"claude": saying("one"), "codex": [[Message("bad")], [BROKE]], "gemini": MISSING})


def post(path: str, body: dict[str, Any], using: FakeRuns | None = None) -> dict[str, Any]:
    response = fake_app(using or runs()).test_client().post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = json.loads(response.text)
    assert answer.pop("total_duration_ms") >= 0
    return answer


def good(**more: Any) -> dict[str, Any]:
    return {
        "backend": "claude",
        "model": "model-1",
        "exit_code": 0,
        "duration_ms": 7,
        "output": "one",
        "token_usage": TOKENS,
        "cost_usd": 0.25,
        "warnings": [],
        **more,
    }


def without_run_ids(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in result.items() if key != "run_id"} for result in results]


def test_parallel() -> None:
    tasks = [{"backend": name, "prompt": "x"} for name in ("claude", "codex", "gemini", "claude")]
    answer = post("/api/v1/parallel", {"tasks": tasks})
    results = without_run_ids(answer.pop("results"))
    assert answer == {
        "total_tasks": 4,
        "completed": 2,
        "failed": 2,
        "canceled": 0,
        "token_usage": TWICE,
        "cost_usd": 0.5,
    }
    assert results[0] == results[3] == good()
    assert results[1]["output"] == "bad"
    assert (results[1]["exit_code"], results[1]["error"], results[1]["error_code"]) == (3, "it broke", "backend_failed")
    assert results[2] == {
        "backend": "gemini",
        "model": "",
        "exit_code": 1,
        "duration_ms": 0,
        "output": "",
        "error": MISSING.message,
        "error_code": "backend_unavailable",
        "token_usage": NOTHING,
        "warnings": [],
    }


def test_parallel_counts_what_fail_fast_canceled() -> None:
    tasks = [{"backend": name, "prompt": "x"} for name in ("codex", "claude")]
    answer = post("/api/v1/parallel", {"tasks": tasks, "max_parallel": 1, "fail_fast": True})
    assert (answer["completed"], answer["failed"], answer["canceled"]) == (0, 1, 1)
    assert answer["results"][1]["exit_code"] == -1
    assert answer["results"][1]["error"] == "canceled"


def test_chain() -> None:
    chain = [
        {"name": "first", "backend": "claude", "prompt": "x"},
        {"backend": "codex", "prompt": "fix {{previous}}"},
        {"backend": "claude", "prompt": "and {{previous}}"},
    ]
    using = runs()
    answer = post("/api/v1/chain", {"steps": chain, "pass_session_id": False}, using)
    results = without_run_ids(answer.pop("results"))
    assert answer == {
        "total_steps": 3,
        "completed_steps": 2,
        "failed_step": 2,
        "token_usage": TWICE,
        "cost_usd": 0.5,
    }
    assert results[0] == good(step=1, name="first")
    assert results[2] == good(step=3, name="")
    assert [run.plan.prompt.text for run in using.started] == ["x", "fix one", "and one"]


def test_chain_without_a_failure() -> None:
    answer = post("/api/v1/chain", {"steps": [{"backend": "claude", "prompt": "x"}]})
    assert answer["failed_step"] == 0


def test_compare() -> None:
    answer = post("/api/v1/compare", {"prompt": "x", "backends": ["gemini", "claude"]})
    results = without_run_ids(answer.pop("results"))
    assert answer == {"prompt": "x", "backends": ["gemini", "claude"], "token_usage": TOKENS, "cost_usd": 0.25}
    assert results[1] == good()
    assert results[0]["error_code"] == "backend_unavailable"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("parallel", {"tasks": [{"backend": "claude", "prompt": "x"}, {"backend": "codex", "prompt": "x"}]}),
        ("chain", {"steps": [{"backend": "claude", "prompt": "x"}, {"backend": "codex", "prompt": "x"}]}),
        ("compare", {"prompt": "x", "backends": ["claude", "codex"]}),
    ],
)
@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
def test_streamed(path: str, body: dict[str, Any], accept: str) -> None:
    plain = post(f"/api/v1/{path}", body)
    streamed = body | {"output_format": "stream-json"}
    response = fake_app(runs()).test_client().post(f"/api/v1/{path}", json=streamed, headers={"Accept": accept})
    assert response.content_type == accept
    assert response.headers["X-Accel-Buffering"] == "no"
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    events = [json.loads(line) for line in lines]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    for task, expected in ((0, ["init", "message", "done"]), (1, ["message", "error"])):
        assert [event["type"] for event in events if event.get("task") == task] == expected
    last = events[-1]
    assert last["type"] == "done"
    assert "task" not in last
    whole = last["content"]
    assert whole.pop("total_duration_ms") >= 0
    assert without_run_ids(whole.pop("results")) == without_run_ids(plain.pop("results"))
    assert whole == plain


def test_a_streamed_client_that_leaves_ends_the_runs() -> None:
    using = FakeRuns({"claude": [[Message("a")], [Message("b")], [Done()]]})
    body = {"tasks": [{"backend": "claude", "prompt": "x"}] * 3, "output_format": "stream-json", "max_parallel": 1}
    response = fake_app(using).test_client().post("/api/v1/parallel", json=body, buffered=False)
    response.close()
    assert all(run.closed.is_set() for run in using.started)
