"""What the log says while the server is reloaded and stopped, and what happens to a run meanwhile."""

import re
import signal
from pathlib import Path

import pytest
import yaml

from tests.support.documents import Block, each_block
from tests.support.guard import ROOT
from tests.support.server import Server, ServerFactory, merged
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "deployment.md").read_text()
GRACE_S = 20


@pytest.fixture
def server(servers: ServerFactory) -> Server:
    return servers({"server": {"graceful_timeout_secs": GRACE_S}})


def waiting_for(gate: Path) -> str:
    return f'FAKE:think FAKE:tool FAKE:cmd="until [ -e {gate} ]; do sleep 0.02; done" FAKE:n=2'


def shape(line: str) -> str:
    return re.sub(r"\d+", "N", line)


def says(server: Server, line: str) -> bool:
    """Whether a line of the page, with these figures, is in the log."""
    assert shape(line) in {shape(told) for told in PAGE.splitlines()}
    return line in server.log


def test_a_reload_says_what_is_in_force_and_a_run_goes_on(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    before = set(server.workers())
    file = server.folder / "config.yaml"
    with server.client.stream(waiting_for(gate)) as exchange:
        events = exchange.events()
        assert any(event["type"] == "thinking" for event in events)
        good = yaml.safe_load(file.read_text())
        file.write_text("server: {port: x}")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the last good configuration stays" in server.log)
        assert set(server.workers()) == before
        file.write_text(yaml.safe_dump(merged(good, {"server": {"max_concurrent_runs": 5}})))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: says(server, "reloading; in force now: claude, codex, gemini; 5 runs at once"))
        wait_until(lambda: says(server, f"stopping: runs have {GRACE_S} s; 1 running, 0 waiting"))
        wait_until(lambda: server.client.get("/health").json()["runs"]["limit"] == 5)
        gate.touch()
        assert [event["type"] for event in events][-1] == "done"
    assert "the time is up" not in server.log


@each_block()
def test_a_stop_says_how_many_runs_it_waits_for_and_when_it_ends_them(servers: ServerFactory, block: Block) -> None:
    """After a reload, so that all that the page shows is said."""
    server = servers({"server": {"graceful_timeout_secs": 0.5}})
    before = set(server.workers())
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: (now := set(server.workers())) and not before & now, 30)
    with server.client.stream("FAKE:hang") as exchange:
        events = exchange.events()
        assert any(event["type"] == "message" for event in events)
        server.process.send_signal(signal.SIGTERM)
        last = list(events)[-1]
    assert (last["type"], last["content"]["code"]) == ("error", "canceled")
    assert server.stop() == 0
    assert "stopping: runs have 0.5 s; 1 running, 0 waiting" in server.log
    assert says(server, "stopping: the time is up, ending the runs: 1 running, 0 waiting")
    told = shape(server.log.replace("runs have 0.5 s", "runs have 0 s"))
    assert [line for line in block.text.splitlines() if shape(line) not in told] == []
