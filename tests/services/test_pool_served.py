"""Warm processes of a whole server: there for the next request on every route, and gone with the worker."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import psutil
import pytest

from tests.fake_cli.install import seen
from tests.support.processes import is_running
from tests.support.server import Server, ServerFactory, merged
from tests.support.waiting import wait_until

CONFIG = {"server": {"warm_processes": 3, "metrics_enabled": True}}


@pytest.fixture
def server(start_server: ServerFactory) -> Server:
    return start_server(CONFIG)


KEEPING = {**CONFIG, "session": {"keep_warm_secs": 60}}


@contextmanager
def standing_still(workers: Iterable[psutil.Process]) -> Iterator[None]:
    """Let the others get all requests."""
    stopped = list(workers)
    for worker in stopped:
        worker.suspend()
    try:
        yield
    finally:
        for worker in stopped:
            worker.resume()


def warmed(server: Server) -> set[psutil.Process]:
    """The processes that wait once each CLI has answered."""
    for backend in ("claude", "codex", "gemini"):
        assert server.client.prompt("hello", backend=backend).status == 200
    wait_until(lambda: len(markers(server)) == 3)
    return server.of_runs()


def markers(server: Server) -> set[str]:
    """Of the processes that belong to runs, or wait for one."""
    found = set()
    for process in server.of_runs():
        try:
            found.add(process.environ()["CLINVK_RUN_ID"])
        except (psutil.Error, KeyError):
            continue
    return found


def figures(server: Server, name: str) -> float:
    """The sum of a metric over all backends."""
    lines = server.client.get("/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))


def hits(server: Server) -> float:
    return figures(server, "clinvk_warm_runs_total")


def test_the_next_request_on_every_route_finds_a_process(server: Server) -> None:
    client = server.client
    asked: list[Callable[[str], str]] = [
        lambda text: client.prompt(text, backend="codex").json()["output"],
        lambda text: client.prompt(text, backend="codex", ephemeral=True).json()["output"],
        lambda text: client.post(
            "/openai/v1/chat/completions", {"model": "claude", "messages": [{"role": "user", "content": text}]}
        ).json()["choices"][0]["message"]["content"],
        lambda text: client.post(
            "/anthropic/v1/messages",
            {"model": "gemini", "max_tokens": 100, "messages": [{"role": "user", "content": text}]},
        ).json()["content"][0]["text"],
    ]
    for ask in asked:
        assert "turn=1 chars=3 " in ask("one")
        before = hits(server)

        def is_warm(ask: Callable[[str], str] = ask, before: float = before) -> bool:
            """Whether the CLI was there, which may be a moment after the answer before."""
            assert "turn=1 chars=5 " in ask("three")
            return hits(server) > before

        wait_until(is_warm)


@pytest.mark.parametrize("keys", ["", "one,two"])
def test_what_is_listed_is_there_for_the_first_prompt_and_again_after_a_reload(
    start_server: ServerFactory, keys: str
) -> None:
    listed = [{"backend": "codex"}, {"backend": "claude", "api": "anthropic", "max_tokens": 7}]
    environment = {"CLINVK_API_KEYS": keys} if keys else {}
    server = start_server(merged(CONFIG, {"server": {"warm_at_start": listed}}), environment=environment)
    for number, key in enumerate(("one", "two"), 1):
        wait_until(lambda: len(markers(server)) == 2, 15)
        server.headers = {"Authorization": f"Bearer {key}"}
        assert server.client.prompt("hello", backend="codex").json()["exit_code"] == 0
        message = {"role": "user", "content": "hello"}
        body = {"model": "claude", "max_tokens": 7, "messages": [message]}
        assert server.client.post("/anthropic/v1/messages", body).status == 200
        assert hits(server) == 2 * number
        workers = server.workers()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda workers=workers: server.workers() and not {*workers} & {*server.workers()}, 15)  # type: ignore[misc]


def waits_on_a_session(server: Server) -> bool:
    """Whether a process waits for the next turn of a conversation of claude's."""
    return any("--resume" in " ".join(map(str, one.cmdline())) for one in map(psutil.Process, pids(server)))


def pids(server: Server) -> list[int]:
    return [process.pid for process in server.of_runs() if is_running(process)]


def turn(server: Server, session_id: str) -> str:
    answer = server.client.prompt("again", session_id=session_id).json()
    assert answer["exit_code"] == 0, answer
    return str(seen(answer["output"])["turn"])


def test_the_next_turn_of_a_session_finds_its_cli_there(start_server: ServerFactory) -> None:
    server = start_server(KEEPING)
    session_id = server.client.prompt("hello").json()["session_id"]
    for number in ("2", "3", "4"):
        wait_until(lambda: waits_on_a_session(server))
        before = hits(server)
        assert turn(server, session_id) == number
        assert hits(server) == before + 1
    wait_until(lambda: waits_on_a_session(server))
    assert server.client.request("DELETE", f"/api/v1/sessions/{session_id}").json()["cli_deleted"]
    wait_until(lambda: not waits_on_a_session(server))
    assert not list((server.home / ".claude" / "projects").rglob("*.jsonl"))


def test_a_turn_in_another_worker_is_not_forgotten(start_server: ServerFactory) -> None:
    server = start_server(merged(KEEPING, {"server": {"workers": 2, "warm_processes": 8}}))
    session_id = server.client.prompt("hello").json()["session_id"]
    for number in range(2, 10):
        with standing_still([server.workers()[number % 2]]):
            assert turn(server, session_id) == str(number)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_none_survives_its_worker(server: Server, how: signal.Signals) -> None:
    waiting = warmed(server)
    assert figures(server, "clinvk_warm_processes") == 3
    (worker,) = server.workers()
    if how is signal.SIGKILL:
        worker.kill()
    else:
        server.process.send_signal(how)
    wait_until(lambda: not any(map(is_running, waiting)), 15)
    wait_until(lambda: [one.pid for one in server.workers()] not in ([], [worker.pid]), 15)
    assert figures(server, "clinvk_warm_processes") == 0
    assert server.client.prompt("hello").status == 200
    wait_until(lambda: figures(server, "clinvk_warm_processes") == 1)


def test_what_waits_and_what_found_its_process_is_told_by_every_worker(start_server: ServerFactory) -> None:
    settings = {"workers": 2, "warm_processes": 2, "max_concurrent_runs": 2, "warm_at_start": [{"backend": "codex"}]}
    server = start_server(merged(CONFIG, {"server": settings}))
    wait_until(lambda: figures(server, "clinvk_warm_processes") == 2, 15)
    hanging = {"backend": "codex", "prompt": "FAKE:hang"}
    with ExitStack() as stack:

        def states() -> list[tuple[str, bool | None]]:
            found = server.client.get("/api/v1/runs").json()["runs"]
            assert all(run["queued_ms"] >= 0 for run in found)
            return sorted((run["state"], run["warm"]) for run in found)

        def alone(worker: psutil.Process) -> AbstractContextManager[None]:
            return standing_still(one for one in server.workers() if one.pid != worker.pid)

        for number, worker in enumerate(server.workers(), 1):
            with alone(worker):
                for _ in range(3):
                    stack.enter_context(server.client.send("POST", "/api/v1/prompt", hanging))
                wanted = [("queued", None)] * 2 * number + [("running", True)] * number
                wait_until(lambda wanted=wanted: states() == wanted, 15)  # type: ignore[misc]
        for worker in server.workers():
            with alone(worker):
                assert states() == wanted
                assert figures(server, "clinvk_warm_processes") == 0
        waited = [run["queued_ms"] for run in server.client.get("/api/v1/runs").json()["runs"] if not run["warm"]]
        assert min(waited) > 0
