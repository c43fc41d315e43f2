"""Whether what a process read at its start is what it would read now: its program, its login, its settings."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from services.backends.login import LoginCheck

Stamp = tuple[tuple[int, int, int, int] | None, ...]
"""For each file, or what it leads to: device, inode, size in bytes and time of the last change in nanoseconds."""


def stamp(paths: Iterable[str]) -> Stamp:
    """What tells that a file is another one, or was written to; None for one that is not there."""
    return tuple(map(_stamp, paths))


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - for every prompt
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def watched_files(program: str, check: LoginCheck | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The program, and the files of the user's own that say how it is logged in and set up."""
    if check is None:
        return (program,)
    home = environment.get(check.home_variable)
    folder = Path(home) if home else Path(environment.get("HOME") or "/nonexistent") / check.usual_home
    return (program, *(str(folder / name) for name in (*check.files, *check.read_at_start)))
