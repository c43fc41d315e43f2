"""The servers that tests start are real, and are seen to leave nothing behind."""

from pathlib import Path

import psutil
import pytest

from tests.support import processes
from tests.support.server import Entry, Server, ServerFactory
from tests.support.waiting import wait_until


@pytest.mark.parametrize("entry", ["clinvk", "gunicorn"])
def test_starts_answers_and_stops(start_server: ServerFactory, entry: Entry) -> None:
    server = start_server(entry=entry)

    health = server.client.get("/health").json()
    assert health["status"] == "ok"
    assert {backend["name"]: backend["available"] for backend in health["backends"]}["codex"]
    assert len(server.workers()) == 1
    assert server.stop() == 0


@pytest.mark.parametrize("backend", ["claude", "codex", "gemini"])
def test_its_backends_are_the_fake_clis(server: Server, backend: str) -> None:
    answer = server.client.prompt("hello FAKE:n=2", backend).json()

    assert answer["exit_code"] == 0, answer
    assert answer["output"].startswith(f"fake-cli name={backend} ")
    (start,) = [start for start in server.clis.starts() if start["name"] == backend]
    assert start["run_id"]


def test_streams_arrive_in_pieces(server: Server) -> None:
    with server.client.stream("hello FAKE:n=10 FAKE:delay=0.05") as answer:
        pieces = list(answer.pieces())

    assert len(pieces) >= 10
    assert pieces[-1].at_s - pieces[0].at_s >= 0.4


def test_sees_what_a_run_starts_and_leaves(server: Server, tmp_path: Path) -> None:
    server.wait_until_idle()
    file = tmp_path / "pid"
    with server.client.stream(f"x FAKE:hang FAKE:orphan={file} FAKE:emptyenv") as answer:
        wait_until(file.exists, 5, "the orphan's pid")
        orphan = psutil.Process(int(file.read_text()))
        cli = psutil.Process(server.clis.starts()[-1]["pid"])
        assert {orphan, cli} <= server.of_runs()
        answer.vanish()
    server.wait_until_idle()

    assert not processes.is_running(orphan)


def test_a_process_left_behind_is_a_failure(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server()
    lost = psutil.Popen(["sleep", "60"], cwd=server.home)
    with pytest.raises(AssertionError, match="sleep 60"):
        server.close()

    assert lost.wait(5) == -9


def test_a_server_that_ends_at_once_shows_its_log(start_server: ServerFactory) -> None:
    with pytest.raises(AssertionError, match="no_such_key"):
        start_server({"server": {"no_such_key": 1}})
