"""A real server whose session database cannot be used: prompts run, with a warning, and what was recorded stays."""

import os
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from services.sessions.records import NewSession
from services.sessions.store import SessionStore
from tests.support import guard
from tests.support.client import Response
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

QUICKLY_S = 2.0
LOCK_TIMEOUT_S = 5.0


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers()


def database(server: Server) -> Path:
    return server.home / ".clinvk" / "sessions.db"


def ask(server: Server, **fields: Any) -> dict[str, Any]:
    response = server.client.prompt("hello FAKE:n=1", **fields)
    assert response.status == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer["exit_code"] == 0, answer
    return answer


def assert_runs_unrecorded(server: Server, words: str) -> None:
    answer = ask(server)
    (warning,) = answer["warnings"]
    assert warning.startswith("this turn was not recorded: the session database")
    assert words in warning
    assert "session_id" not in answer
    assert ask(server, ephemeral=True)["warnings"] == []


def assert_unhealthy(server: Server, words: str) -> None:
    health = quickly(lambda: server.client.get("/health"))
    assert health.status == 503
    assert health.json()["status"] == "unhealthy"
    assert words in health.json()["session_store"]["error"]


def assert_told_to_come_again(refused: Response, words: str) -> None:
    assert (refused.status, refused.json()["error"]) == (503, "overloaded")
    assert words in refused.json()["message"]
    assert int(refused.headers["Retry-After"]) > 0
    assert "X-Should-Retry" not in refused.headers


def assert_well(server: Server) -> None:
    wait_until(lambda: server.client.get("/health").status == 200)
    answer = ask(server)
    assert answer["warnings"] == []
    assert session(server, answer["session_id"])["turn_count"] == 1


def session(server: Server, ident: str) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get(f"/api/v1/sessions/{ident}").json()
    return found


def quickly(do: Callable[[], Response]) -> Response:
    began_s = time.monotonic()
    response = do()
    assert time.monotonic() - began_s < QUICKLY_S
    return response


# ---------------------------------------------------------------------- locked


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Another process, as SQLite sees it, that has the right to write and keeps it."""
    with closing(sqlite3.connect(database(server), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_a_locked_database_stops_no_prompt(server: Server) -> None:
    ident = ask(server)["session_id"]
    answers: list[tuple[Response, float]] = []

    def talk() -> None:
        began_s = time.monotonic()
        answers.append((server.client.prompt("hello FAKE:n=1"), time.monotonic() - began_s))

    with server.client.send("POST", "/api/v1/prompt", {"backend": "claude", "prompt": "FAKE:hang"}) as going_on:
        (run,) = wait_until(lambda: server.client.get("/api/v1/runs").json()["runs"])
        wait_until(lambda: active(server))
        with locked(server):
            threads = [threading.Thread(target=talk) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [answer.status for answer, _ in answers] == [200] * 4
            assert all("not recorded" in answer.json()["warnings"][0] for answer, _ in answers)
            assert max(took_s for _, took_s in answers) < LOCK_TIMEOUT_S + QUICKLY_S
            quickly(lambda: server.client.prompt("hello FAKE:n=1"))
            assert_runs_unrecorded(server, "is locked by another process")
            assert_unhealthy(server, "is locked by another process")
            assert session(server, ident)["status"] == "completed"
            refused = quickly(lambda: server.client.prompt("hello FAKE:n=1", session_id=ident))
            assert_told_to_come_again(refused, "is locked by another process")
            server.client.request("DELETE", f"/api/v1/runs/{run['run_id']}")
            assert going_on.response().json()["error_code"] == "canceled"
            (left,) = active(server)
    wait_until(lambda: not active(server), 10, "the ending that could not be written is made up for")
    assert session(server, left)["error_message"] == "the run was canceled"
    assert session(server, ident)["turn_count"] == 1
    assert_well(server)


def active(server: Server) -> list[str]:
    """The sessions that are at work, read without asking the server."""
    with closing(sqlite3.connect(database(server))) as connection:
        return [ident for (ident,) in connection.execute("SELECT id FROM sessions WHERE status = 'active'")]


# ---------------------------------------------------------------------- full, read-only


def test_a_database_that_cannot_grow_stops_no_prompt(server: Server) -> None:
    ident = ask(server)["session_id"]
    (worker,) = server.workers()
    largest = max(file.stat().st_size for file in database(server).parent.glob("sessions.db*"))
    before = worker.rlimit(resource.RLIMIT_FSIZE)
    worker.rlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        acknowledged = [ident]
        while "session_id" in (answer := server.client.prompt("FAKE:n=1 " + "x" * 50_000).json()):
            acknowledged.append(answer["session_id"])
            assert len(acknowledged) < 100
        assert_runs_unrecorded(server, "full")
        assert_unhealthy(server, "full")
        assert all(session(server, one)["status"] == "completed" for one in acknowledged)
    finally:
        worker.rlimit(resource.RLIMIT_FSIZE, before)
    assert_well(server)
    assert all(session(server, one)["turn_count"] == 1 for one in acknowledged)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount, umount = (str(shutil.which(name, path=guard.REAL_PATH)) for name in ("mount", "umount"))
    command = [mount, "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only a user who may mount can have a disk of its own")
    yield folder
    subprocess.run([umount, str(folder)], check=True)


def test_a_full_disk_stops_no_prompt(small_disk: Path, start_server: ServerFactory) -> None:
    server = start_server(environment={"CLINVK_HOME": str(small_disk)})
    ident = ask(server)["session_id"]
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 512):
            pass
    assert_runs_unrecorded(server, "full")
    assert_unhealthy(server, "full")
    assert session(server, ident)["status"] == "completed"
    refused = server.client.prompt("hello FAKE:n=1", "gemini")  # which must have a home of its own
    assert (refused.status, refused.json()["error"]) == (503, "backend_unavailable")
    assert "gemini cannot be started: No space left on device" in refused.json()["message"]
    (small_disk / "filler").unlink()
    assert_well(server)
    assert session(server, ident)["turn_count"] == 1
    server.stop()


def test_a_read_only_database_stops_no_prompt(start_server: ServerFactory) -> None:
    kept: list[str] = []

    def prepare(folder: Path) -> None:
        path = folder / "home" / ".clinvk" / "sessions.db"
        with SessionStore.open(path) as store:
            kept.append(store.create(NewSession("claude")).id)
        mark_read_only(path)

    server = start_server(prepare=prepare)
    assert "is read-only: the user of the server must be able to write" in server.log
    assert_runs_unrecorded(server, "is read-only")
    assert_unhealthy(server, "is read-only")
    refused = server.client.prompt("hello FAKE:n=1", session_id=kept[0])
    assert_told_to_come_again(refused, "is read-only")
    with closing(sqlite3.connect(database(server))) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [(kept[0],)]


def mark_read_only(path: Path) -> None:
    """A format that SQLite can read and not write (its documentation of the file's format, 1.3.3): also for root."""
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\3")


# ---------------------------------------------------------------------- folders


def test_a_folder_that_cannot_be_made_is_told(server: Server) -> None:
    work = server.home / ".clinvk" / "work"
    ask(server)
    work.rename(work.with_suffix(".away"))
    work.touch()
    try:
        refused = server.client.prompt("hello FAKE:n=1")
        assert (refused.status, refused.json()["error"]) == (503, "backend_unavailable")
        assert "the folder of the session cannot be made" in refused.json()["message"]
        assert ask(server, ephemeral=True)["warnings"] == []
    finally:
        work.unlink()
        work.with_suffix(".away").rename(work)
    assert_well(server)


# ---------------------------------------------------------------------- taken away


def test_a_turn_whose_session_was_taken_away_says_so(server: Server) -> None:
    ident = ask(server)["session_id"]
    body = {"backend": "claude", "prompt": "FAKE:n=1 FAKE:first=0.5", "session_id": ident}
    with server.client.send("POST", "/api/v1/prompt", body) as exchange:
        wait_until(lambda: active(server))
        with SessionStore.open(database(server)) as store:  # as a successor of this server would
            store.interrupt_dead(lambda _: False)
        answer = exchange.response().json()
    assert answer["exit_code"] == 0
    assert answer["warnings"] == [
        f"this turn was not recorded: session {ident} was marked as interrupted while the run was going on"
    ]
    assert session(server, ident)["turn_count"] == 1
