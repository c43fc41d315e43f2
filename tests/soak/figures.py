"""What a server holds at a moment."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from tests.support.files import run_folders
from tests.support.server import Server

MEMORY_LEEWAY = 1.10
"""How much the memory of an idle worker may have grown between the middle and the end."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All of the server's workers together.  ``memory_mib`` is proportional (PSS), the arbiter's included."""

    when: str
    cli_processes: int
    threads: int
    open_files: int
    run_folders: int
    lost_folders: int
    sessions: int
    active_sessions: int
    memory_mib: float

    @classmethod
    def now(cls, when: str, server: Server) -> Self:
        """The figures of this moment."""
        own = [psutil.Process(server.process.pid), *server.workers()]
        threads = files = 0
        memory_bytes = 0
        for process in own:
            with suppress(psutil.NoSuchProcess):
                threads += process.num_threads()
                files += process.num_fds()
                memory_bytes += process.memory_full_info().pss
        home = server.home / ".clinvk"
        folders, sessions, active = _recorded(home)
        return cls(
            when=when,
            cli_processes=len(server.of_runs()),
            threads=threads,
            open_files=files,
            run_folders=len(run_folders(home / "runs")),
            lost_folders=sum(path.name not in folders for path in (home / "work").glob("*")),
            sessions=sessions,
            active_sessions=active,
            memory_mib=memory_bytes / 2**20,
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing of any run is left."""
        return not (self.cli_processes or self.run_folders or self.lost_folders or self.active_sessions)

    def leaks(self, figures: Sequence[Self], clients: int) -> bool:
        """Whether more is left than there should be, or than there was in the middle.

        A worker keeps the threads that its clients once needed at the same time, which may be more than in the middle.
        """
        middle = next(one for one in figures if one.when == "middle")
        grown = self.threads > middle.threads + clients or self.open_files > middle.open_files
        return not self.is_empty or grown or self.memory_mib > middle.memory_mib * MEMORY_LEEWAY


def _recorded(home: Path) -> tuple[set[str], int, int]:
    """The names of the sessions' folders, how many sessions there are, and how many of them are active."""
    with closing(sqlite3.connect(home / "sessions.db", timeout=10)) as connection:
        rows = connection.execute("SELECT working_dir, status FROM sessions").fetchall()
    return {Path(folder).name for folder, _ in rows}, len(rows), sum(status == "active" for _, status in rows)


def table(figures: Sequence[Figures]) -> str:
    """The figures as columns."""
    names = [name for name in Figures.__slots__ if name != "when"]
    lines = [f"{'':18}" + "".join(f"{one.when:>10}" for one in figures)]
    for name in names:
        values = [getattr(one, name) for one in figures]
        lines.append(f"{name.replace('_', ' '):18}" + "".join(f"{value:>10.0f}" for value in values))
    return "\n".join(lines)
