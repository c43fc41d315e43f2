"""Sessions and runs of a real server, with one worker and with two."""

import http.client
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from tests.fake_cli.install import seen, told
from tests.support.client import Exchange
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

PROMPT = "/api/v1/prompt"
SLOTS = 2
"""Run slots of each worker."""
SOON_S = 2.0
TALKS_AND_HANGS = "FAKE:n=4 FAKE:hang"


@pytest.fixture(scope="module", params=[1, 2], ids=["one-worker", "two-workers"])
def server(servers: ServerFactory, request: pytest.FixtureRequest) -> Server:
    server = servers({"server": {"workers": request.param, "max_concurrent_runs": SLOTS * request.param}})
    wait_until_ready(server, request.param)
    return server


@pytest.fixture(autouse=True)
def _idle_after(server: Server) -> Iterator[None]:
    yield
    server.wait_until_idle()
    assert runs(server) == []


def wait_until_ready(server: Server, workers: int) -> None:
    """Wait until so many workers can be told of a cancelation."""
    folder = server.home / ".clinvk" / "runs"
    wait_until(lambda: len(list(folder.glob("*/control"))) == workers, 20)


def ask(server: Server, words: str = "hello FAKE:n=1", backend: str = "claude", **fields: Any) -> dict[str, Any]:
    response = server.client.prompt(words, backend, **fields)
    assert response.status == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer["exit_code"] == 0, answer
    return answer


def session(server: Server, session_id: str) -> dict[str, Any]:
    response = server.client.get(f"/api/v1/sessions/{session_id}")
    assert response.status == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def newest(server: Server) -> str:
    """The id of the session that was begun last; "" when there is none."""
    page = server.client.get("/api/v1/sessions?limit=1").json()["sessions"]
    return page[0]["id"] if page else ""


def runs(server: Server, state: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.get("/api/v1/runs").json()["runs"]
    return [run for run in found if state in ("", run["state"])]


@contextmanager
def alone(server: Server, worker: psutil.Process) -> Iterator[None]:
    """Let one worker get all requests: the others stand still."""
    with ExitStack() as stack:
        for other in server.workers():
            if other.pid != worker.pid:
                other.suspend()
                stack.callback(other.resume)
        yield


def begin(
    server: Server, words: str = TALKS_AND_HANGS, backend: str = "claude", *, streamed: bool = False, **fields: Any
) -> Exchange:
    """Send a prompt whose answer will be looked at later."""
    body = {"backend": backend, "prompt": words, **fields}
    return server.client.send("POST", PROMPT, body | ({"output_format": "stream-json"} if streamed else {}))


def failure(exchange: Exchange, *, streamed: bool) -> dict[str, str]:
    """The error of a run that had begun."""
    assert exchange.status == 200
    if streamed:
        *_, last = exchange.events()
        assert last["type"] == "error"
        return {"code": last["content"]["code"], "message": last["content"]["message"]}
    answer = exchange.response().json()
    assert answer["exit_code"] == -1
    return {"code": answer["error_code"], "message": answer["error"]}


# ---------------------------------------------------------------------- continuing


def test_a_conversation_goes_on_in_every_worker(server: Server) -> None:
    first = ask(server, "one FAKE:n=1 FAKE:cwd")
    ident, folder = first["session_id"], told(first["output"], "cwd")
    began = session(server, ident)
    for turn in range(2, 6):
        workers = server.workers()
        with alone(server, workers[turn % len(workers)]):
            answer = ask(server, f"turn {turn} FAKE:n=1 FAKE:cwd", session_id=ident[:12])
        assert seen(answer["output"])["turn"] == str(turn)
        assert told(answer["output"], "cwd") == folder
        assert answer["session_id"] == ident
    now = session(server, ident)
    assert now["turn_count"] == 5
    assert now["token_usage"] == {name: 5 * count for name, count in first["token_usage"].items()}
    assert now["cost_usd"] == pytest.approx(5 * first["cost_usd"])
    assert now["last_used"] > began["last_used"]
    assert (now["created_at"], now["initial_prompt"]) == (began["created_at"], "one FAKE:n=1 FAKE:cwd")
    assert now["status"] == "completed"


def test_of_several_at_once_exactly_one_runs(server: Server) -> None:
    ident = ask(server)["session_id"]
    started = len(server.clis.starts())
    at_once = threading.Barrier(6)
    answers: list[Any] = []

    def go_on() -> None:
        at_once.wait()
        answers.append(server.client.prompt("more FAKE:n=1 FAKE:first=0.5", session_id=ident))

    threads = [threading.Thread(target=go_on) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5
    assert {answer.json()["error"] for answer in answers if answer.status == 409} == {"session_busy"}
    assert len(server.clis.starts()) == started + 1
    assert session(server, ident)["turn_count"] == 2
    assert seen(ask(server, session_id=ident)["output"])["turn"] == "3"


def test_a_restart_between_turns_changes_nothing(server: Server) -> None:
    ident = ask(server)["session_id"]
    before, workers = session(server, ident), len(server.workers())
    assert server.stop() == 0
    server.restart()
    wait_until_ready(server, workers)
    assert session(server, ident) == before
    answer = ask(server, session_id=ident)
    assert seen(answer["output"])["turn"] == "2"
    assert session(server, ident)["turn_count"] == 2


def test_a_client_that_goes_away_leaves_an_idle_session(server: Server) -> None:
    for streamed in (False, True):
        ident = ask(server)["session_id"]
        with begin(server, session_id=ident, streamed=streamed) as exchange:
            wait_until(lambda: runs(server, "running"))
            assert session(server, ident)["status"] == "active"
            exchange.vanish()
        wait_until(lambda ident=ident: session(server, ident)["status"] == "error", SOON_S)  # type: ignore[misc]
        assert session(server, ident)["error_message"] == "the client went away"
        assert session(server, ident)["turn_count"] == 2
        ask(server, session_id=ident)
        assert session(server, ident)["status"] == "completed"


def test_an_answer_that_reaches_its_limit_is_kept_and_goes_on(server: Server) -> None:
    """A CLI that would ask the model to go on is told to stop, and not killed: the conversation has the answer."""
    cut = ask(server, "hello FAKE:n=9", max_tokens=2)
    assert cut["output"].endswith("w0 ")

    again = ask(server, "again FAKE:n=1", session_id=cut["session_id"])
    assert seen(again["output"])["turn"] == "2"


@pytest.mark.parametrize("backend", ["claude", "codex", "gemini"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("how", ["client gone", "canceled"])
def test_a_session_that_is_interrupted_in_its_first_turn_goes_on(
    server: Server, how: str, streamed: bool, backend: str
) -> None:
    begun, known = len(server.clis.entries("begun")), newest(server)
    with begin(server, backend=backend, streamed=streamed) as exchange:
        (run,) = wait_until(lambda: runs(server, "running"))
        wait_until(lambda: len(server.clis.entries("begun")) == begun + 1)  # it has said its own id
        if how == "client gone":
            exchange.vanish()
        else:
            server.client.request("DELETE", f"/api/v1/runs/{run['run_id']}")
            failure(exchange, streamed=streamed)
    wait_until(lambda: newest(server) != known)
    ident = newest(server)
    wait_until(lambda: session(server, ident)["status"] == "error", SOON_S)
    assert seen(ask(server, session_id=ident, backend=backend)["output"])["turn"] == "2"


# ---------------------------------------------------------------------- runs


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_every_worker_sees_and_ends_the_runs_of_all(server: Server, streamed: bool) -> None:
    at = server.workers()[0]
    for observer in server.workers():
        with alone(server, at):
            exchange = begin(server, streamed=streamed)
            (run,) = wait_until(lambda: runs(server, "running"))
            assert (run["backend"], run["session_id"]) == ("claude", "")
        with exchange:
            if streamed:
                events = exchange.events()
                assert next(event for event in events if event["type"] == "message")["run_id"] == run["run_id"]
            with alone(server, observer):
                assert runs(server) == [run]
                path = f"/api/v1/runs/{run['run_id']}"
                assert server.client.get(path).json() == run
                assert server.client.request("DELETE", path).json() == {"canceled": True, "run_id": run["run_id"]}
            told_s = time.monotonic()
            assert failure(exchange, streamed=streamed) == {"code": "canceled", "message": "the run was canceled"}
            assert time.monotonic() - told_s < SOON_S
            assert exchange.headers["X-Clinvk-Run"] == run["run_id"]
        server.wait_until_idle(SOON_S)
        assert server.client.get(path).status == 404
        assert server.client.request("DELETE", path).status == 404


def test_a_canceled_run_leaves_an_idle_session(server: Server) -> None:
    ident = ask(server)["session_id"]
    with begin(server, session_id=ident) as exchange:
        (run,) = wait_until(lambda: runs(server, "running"))
        assert run["session_id"] == ident
        server.client.request("DELETE", f"/api/v1/runs/{run['run_id']}")
        failure(exchange, streamed=False)
    after = session(server, ident)
    assert (after["status"], after["error_message"], after["turn_count"]) == ("error", "the run was canceled", 2)
    ask(server, session_id=ident)


def test_waiting_runs_are_listed_and_can_be_canceled(server: Server) -> None:
    ident = ask(server)["session_id"]
    started = len(server.clis.starts())
    total = server.client.get("/api/v1/sessions").json()["total"]
    worker = server.workers()[0]
    with ExitStack() as stack, alone(server, worker):
        busy = [stack.enter_context(begin(server)) for _ in range(SLOTS)]
        wait_until(lambda: len(server.clis.starts()) == started + SLOTS)
        waiting = [
            stack.enter_context(begin(server, session_id=ident)),
            stack.enter_context(begin(server, streamed=True)),
        ]
        queued = wait_until(lambda: runs(server, "queued")[1:] and runs(server, "queued"))
        assert {run["session_id"] for run in queued} == {ident, ""}
        assert session(server, ident)["status"] == "active"
        for run in queued:
            assert server.client.get(f"/api/v1/runs/{run['run_id']}").json()["state"] == "queued"
            server.client.request("DELETE", f"/api/v1/runs/{run['run_id']}")
        told_s = time.monotonic()
        for exchange in waiting:
            response = exchange.response()
            assert (response.status, response.json()["error"]) == (409, "canceled")
        assert time.monotonic() - told_s < SOON_S
        assert session(server, ident)["status"] == "completed"
        assert len(runs(server)) == SLOTS
        for run in runs(server):
            server.client.request("DELETE", f"/api/v1/runs/{run['run_id']}")
        for exchange in busy:
            failure(exchange, streamed=False)
    assert len(server.clis.starts()) == started + SLOTS
    assert server.client.get("/api/v1/sessions").json()["total"] == total + SLOTS
    assert seen(ask(server, session_id=ident)["output"])["turn"] == "2"


# ---------------------------------------------------------------------- a worker dies


def test_what_a_killed_worker_did_is_told_and_ended(server: Server) -> None:
    ident = ask(server)["session_id"]
    victim, *others = server.workers()
    with ExitStack() as stack:
        with alone(server, victim):
            lost = stack.enter_context(begin(server, session_id=ident))
            (run,) = wait_until(lambda: runs(server, "running"))
        for other in others:
            with alone(server, other):
                kept = stack.enter_context(begin(server, "FAKE:n=1 FAKE:first=2"))
                wait_until(lambda: len(runs(server, "running")) == 2)
        victim.kill()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            assert lost.status
        wait_until(lambda: run["run_id"] not in {one["run_id"] for one in runs(server)}, SOON_S)
        wait_until(lambda: session(server, ident)["status"] == "error", 20)
        assert session(server, ident)["error_message"].startswith("interrupted")
        assert session(server, ident)["turn_count"] == 1
        for _ in others:
            assert kept.response().json()["exit_code"] == 0
    server.wait_until_idle(SOON_S)
    wait_until_ready(server, len(others) + 1)
    ask(server, session_id=ident)
    assert session(server, ident)["turn_count"] == 2


# ---------------------------------------------------------------------- ids and folders

ODD = ["\0", "../../etc/passwd", "..", ".", "*", "%", "_", "?", "[a-z]", "😀", "é" * 9, "' OR 1=1 --", "x" * 7000, "²"]


def test_an_odd_id_is_nobodys(server: Server) -> None:
    kept = ask(server)["session_id"]
    with begin(server) as exchange:
        wait_until(lambda: runs(server, "running"))
        for method, kind, ident in itertools.product(("GET", "DELETE"), ("sessions", "runs"), ODD):
            response = server.client.request(method, f"/api/v1/{kind}/{quote(ident, safe='')}")
            too_short = (method, kind) == ("DELETE", "sessions") and len(ident) < 8
            assert response.status in ({400, 404, 405} if too_short else {404, 405}), (ident, response.text)
            assert response.json()["error"], ident
        assert len(runs(server)) == 1
        exchange.vanish()
    for ident in ODD:
        response = server.client.prompt("hello FAKE:n=1", session_id=ident)
        assert response.status == (400 if ident == "\0" else 404), (ident, response.text)
        assert response.json()["errors"][0]["location"] == "session_id"
    assert session(server, kept)["turn_count"] == 1
    wait_until(lambda: not runs(server))


def test_an_id_of_10_kb_is_nobodys(server: Server) -> None:
    assert server.client.prompt("hello", session_id="a" * 10_000).json()["error"] == "session_not_found"
    assert server.client.get(f"/api/v1/sessions/{'a' * 10_000}").status in {404, 414}
    assert server.client.get(f"/api/v1/runs/{'a' * 10_000}").status in {404, 414}


def test_a_deleted_session_leaves_nothing(server: Server, tmp_path: Path) -> None:
    answer = ask(server, "FAKE:n=1 FAKE:cwd")
    folder = Path(told(answer["output"], "cwd"))
    assert folder.is_dir()
    copies = set((server.home / ".claude" / "projects").rglob("*.jsonl"))
    own = ask(server, "FAKE:n=1", workdir=str(tmp_path))
    for made in (answer, own):
        path = f"/api/v1/sessions/{made['session_id']}"
        gone = server.client.request("DELETE", path)
        assert gone.json() == {"deleted": True, "id": made["session_id"], "cli_deleted": True}
        assert server.client.get(path).status == 404
        assert server.client.prompt("hello", session_id=made["session_id"]).status == 404
    assert not folder.exists()
    assert tmp_path.is_dir()
    left = set((server.home / ".claude" / "projects").rglob("*.jsonl"))
    assert len(left) == len(copies) - 1


def test_a_session_at_work_is_not_deleted(server: Server) -> None:
    ident = ask(server)["session_id"]
    with begin(server, session_id=ident) as exchange:
        wait_until(lambda: runs(server, "running"))
        response = server.client.request("DELETE", f"/api/v1/sessions/{ident}")
        assert (response.status, response.json()["error"]) == (409, "session_busy")
        exchange.vanish()
    wait_until(lambda: session(server, ident)["status"] == "error", SOON_S)
    assert server.client.request("DELETE", f"/api/v1/sessions/{ident}").status == 200
