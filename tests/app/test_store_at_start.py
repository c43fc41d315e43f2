"""A session database that cannot be used, at the start of a server."""

from collections.abc import Callable
from pathlib import Path

from tests.support.server import Server


def spoil(folder: Path) -> None:
    """Put something else where the database is to be."""
    home = folder / "home" / ".clinvk"
    home.mkdir(parents=True)
    (home / "sessions.db").write_bytes(b"no database, " * 100)


def test_a_file_that_is_no_database_stops_the_start(start_server: Callable[..., Server]) -> None:
    server = start_server(prepare=spoil, wait=False)
    assert server.process.wait(20) == 2
    assert "is not a SQLite database: move the file away" in server.log
    assert "Traceback" not in server.log


def test_run_folders_of_dead_workers_are_removed(start_server: Callable[..., Server]) -> None:
    def litter(folder: Path) -> None:
        (folder / "home" / ".clinvk" / "runs" / "1-1.2" / "abc").mkdir(parents=True)

    server = start_server(prepare=litter)
    runs = server.home / ".clinvk" / "runs"
    assert [path.name for path in runs.iterdir() if path.name == "1-1.2"] == []
    server.stop()
    assert list(runs.iterdir()) == []
