"""The native API of a real server: what only sockets and processes can show."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

JSON = {"Content-Type": "application/json"}
GONE_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers({"server": {"max_concurrent_runs": 3, "heartbeat_secs": 0.3, "headers_after_secs": 0.3}})


@pytest.fixture(autouse=True)
def _idle_after(server: Server) -> Iterator[None]:
    yield
    server.wait_until_idle()


def task(words: str, backend: str = "claude") -> dict[str, Any]:
    return {"backend": backend, "prompt": words}


HANG = task("FAKE:hang")
REQUESTS: dict[str, dict[str, Any]] = {
    "parallel": {"tasks": [HANG, HANG, HANG], "max_parallel": 2},
    "chain": {"steps": [HANG, HANG]},
    "compare": {"prompt": "FAKE:hang", "backends": ["claude", "codex", "gemini"]},
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("path", sorted(REQUESTS))
def test_a_client_that_leaves_ends_all_runs(server: Server, path: str, streamed: bool) -> None:
    body = REQUESTS[path] | ({"output_format": "stream-json"} if streamed else {})
    with server.client.send("POST", f"/api/v1/{path}", body) as exchange:
        wait_until(lambda: bool(server.of_runs()), 10)
        gone_s = exchange.vanish()
    server.wait_until_idle(GONE_WITHIN_S)
    assert time.monotonic() - gone_s < GONE_WITHIN_S
    wait_until(lambda: server.client.get("/health").json()["runs"]["active"] == 0, GONE_WITHIN_S)


def test_a_client_that_leaves_is_noticed_while_its_tasks_wait_for_a_slot(server: Server) -> None:
    others = [server.client.stream("FAKE:hang") for _ in range(3)]
    try:
        wait_until(lambda: server.client.get("/health").json()["runs"]["active"] == 3, 10)
        with server.client.send("POST", "/api/v1/parallel", {"tasks": [HANG, HANG]}) as exchange:
            wait_until(lambda: server.client.get("/health").json()["runs"]["queued"] >= 1, 10)
            exchange.vanish()
        wait_until(lambda: server.client.get("/health").json()["runs"]["queued"] == 0, GONE_WITHIN_S)
    finally:
        for other in others:
            other.vanish()


def test_parallel_tasks_arrive_as_they_come(server: Server) -> None:
    body = {"tasks": [task("FAKE:n=5 FAKE:delay=0.1")] * 2, "output_format": "stream-json"}
    with server.client.send("POST", "/api/v1/parallel", body) as exchange:
        events = list(exchange.events())
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    tasks = [event["task"] for event in events if event["type"] == "message"]
    assert tasks != sorted(tasks)
    whole = events[-1]["content"]
    assert whole["completed"] == 2
    for index, result in enumerate(whole["results"]):
        texts = [e["content"]["text"] for e in events if e["type"] == "message" and e["task"] == index]
        assert "".join(texts) == result["output"]
        assert {e["run_id"] for e in events if e.get("task") == index} == {result["run_id"]}


def test_a_silence_of_several_runs_is_filled(server: Server) -> None:
    body = {"tasks": [task("FAKE:first=1.2 FAKE:n=1")], "output_format": "stream-json"}
    with server.client.send("POST", "/api/v1/parallel", body) as exchange:
        kinds = [event["type"] for event in exchange.events()]
    assert kinds.count("progress") >= 2
    assert kinds[-1] == "done"


def test_a_chain_hands_on_more_than_a_pipe_holds(server: Server) -> None:
    chain = [task("FAKE:bigline=1000000"), task("{{previous}}", "codex")]
    answer = server.client.post("/api/v1/chain", {"steps": chain}).json()
    first, second = answer["results"]
    assert (first["exit_code"], second["exit_code"]) == (0, 0), answer
    assert len(first["output"]) >= 1_000_000
    assert f"chars={len(first['output'])} " in second["output"]


def test_a_timeout_keeps_the_finished_steps(servers: ServerFactory) -> None:
    server = servers({"server": {"request_timeout_secs": 2}})
    chain = [task("FAKE:n=1"), HANG, task("FAKE:n=1")]
    answer = server.client.post("/api/v1/chain", {"steps": chain}).json()
    assert answer["total_steps"] == 3
    assert answer["completed_steps"] == 1
    assert answer["failed_step"] == 2
    assert [result.get("error_code") for result in answer["results"]] == [None, "timeout"]
    assert answer["results"][1]["exit_code"] == -1


def test_fail_fast_ends_what_waits_for_a_slot(servers: ServerFactory) -> None:
    server = servers({"server": {"max_concurrent_runs": 2}})
    tasks = [HANG, task("FAKE:first=0.3 FAKE:500", "codex"), HANG, HANG]
    began_s = time.monotonic()
    answer = server.client.post("/api/v1/parallel", {"tasks": tasks, "max_parallel": 4, "fail_fast": True}).json()
    assert time.monotonic() - began_s < 10
    assert (answer["failed"], answer["canceled"]) == (1, 3)
    assert [result["error"] for result in answer["results"] if result["error_code"] == "canceled"] == ["canceled"] * 3


def test_who_waits_while_the_server_stops_is_asked_to_come_again(servers: ServerFactory) -> None:
    server = servers({"server": {"max_concurrent_runs": 1, "graceful_timeout_secs": 0.3}})
    with server.client.send("POST", "/api/v1/prompt", HANG) as running:
        wait_until(lambda: server.client.get("/health").json()["runs"]["active"] == 1, 10)
        with server.client.send("POST", "/api/v1/prompt", task("wait")) as waiting:
            wait_until(lambda: server.client.get("/health").json()["runs"]["queued"] == 1, 10)
            server.process.terminate()
            told = waiting.response()
        ended = running.response()
    assert (told.status, told.json()["error"], told.json()["detail"]) == (503, "overloaded", "the server is stopping")
    assert int(told.headers["Retry-After"]) > 0
    assert "X-Should-Retry" not in told.headers
    assert (ended.status, ended.headers["X-Should-Retry"]) == (200, "false")
    assert (ended.json()["error_code"], ended.json()["error"]) == ("canceled", "the server is stopping")
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_told_so(servers: ServerFactory, chunked: bool) -> None:
    server = servers({"server": {"max_request_body_bytes": 1000}})
    body = json.dumps(task("x" * 1_000_000)).encode()
    headers = JSON | ({"Transfer-Encoding": "chunked"} if chunked else {})
    data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    response = server.client.request("POST", "/api/v1/prompt", data, headers=headers)
    assert response.status == 413
    assert response.json()["error"] == "payload_too_large"


def test_health_answers_while_every_slot_is_taken(server: Server) -> None:
    streams = [server.client.stream("FAKE:hang") for _ in range(5)]
    try:
        wait_until(lambda: server.client.get("/health").json()["runs"] == {"active": 3, "queued": 2, "limit": 3}, 10)
    finally:
        for stream in streams:
            stream.vanish()


def test_versions_are_found_in_the_background(server: Server) -> None:
    wait_until(lambda: all(b["version"] for b in server.client.get("/api/v1/backends").json()["backends"]), 20)


def test_many_parallel_requests_at_once_leave_nothing(server: Server, tmp_path: Path) -> None:
    answers: list[Any] = []

    def ask() -> None:
        tasks = [task("FAKE:n=2"), task("FAKE:n=2", "codex"), task("FAKE:n=2", "gemini")]
        answers.append(server.client.post("/api/v1/parallel", {"tasks": tasks}).json())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer["completed"] for answer in answers] == [3] * 4, answers
