"""No process of a run outlives it, however it ends."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e import lifetimes
from tests.e2e.fake_upstream import ModelServer
from tests.support import processes
from tests.support.server import Server, ServerFactory


@pytest.fixture(scope="module")
def lasting_server(real_clis: Path, servers: ServerFactory, module_model_server: ModelServer) -> Server:
    """The server for those endings that it survives."""
    return lifetimes.start_server(servers, module_model_server)


@pytest.fixture
def place(
    cell: lifetimes.Cell, start_server: ServerFactory, module_model_server: ModelServer, request: pytest.FixtureRequest
) -> Server:
    """A server for a cell."""
    if cell.ending in lifetimes.DEADLY:
        return lifetimes.start_server(start_server, module_model_server, [cell.cli])
    shared: Server = request.getfixturevalue("lasting_server")
    return shared


@pytest.mark.parametrize("cell", lifetimes.CELLS, ids=lambda cell: f"{cell.cli}-{cell.phase}-{cell.ending}")
def test_nothing_outlives_a_run(
    cell: lifetimes.Cell, real_clis: Path, place: Server, module_model_server: ModelServer
) -> None:
    took_s = lifetimes.measure(cell, place, module_model_server)

    assert cell.allows(took_s), f"{took_s:.2f} s"


def test_the_witness_sees_who_stays(tmp_path: Path) -> None:
    shell = ["/bin/sh", "-c", "sleep 6123457; true"]
    with subprocess.Popen(shell, cwd=tmp_path, start_new_session=True) as left_behind:
        by_tool = lifetimes.Witness(set, "sleep 6123457")
        by_folder = lifetimes.Witness(lambda: processes.touching(tmp_path))
        try:
            assert left_behind.pid in {process.pid for process in by_tool.left()}
            assert left_behind.pid in {process.pid for process in by_folder.left()}
            assert by_folder.gone_s(time.monotonic() + 0.1) == float("inf")
        finally:
            for process in by_tool.left() | by_folder.left():
                process.kill()
        assert by_tool.gone_s(time.monotonic() + 20) < float("inf")
        assert by_folder.gone_s(time.monotonic() + 20) < float("inf")


def test_the_table_has_a_place_for_every_cell() -> None:
    text = lifetimes.table(dict.fromkeys(lifetimes.CELLS, 0.25))

    assert text.count("0.25") == len(lifetimes.CELLS) == 30
    assert "codex, mid-tool" in text
