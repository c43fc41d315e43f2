"""What runs, seen without the server's own means."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def is_running(process: psutil.Process) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def alive(pid: int) -> bool:
    """Whether a process with this pid lives; a zombie does not."""
    try:
        return is_running(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def command(process: psutil.Process) -> str:
    """The command line; "" when the process is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def descendants(pid: int) -> set[psutil.Process]:
    """All living descendants of a process."""
    try:
        return {child for child in psutil.Process(pid).children(recursive=True) if is_running(child)}
    except psutil.NoSuchProcess:
        return set()


def touching(folder: Path) -> set[psutil.Process]:
    """Living processes, but this one, that have the folder in their environment, arguments or working folder."""
    needle = os.fsencode(folder)
    found = set()
    for process in psutil.process_iter():
        if process.pid != os.getpid() and needle in _about(process.pid) and is_running(process):
            found.add(process)
    return found


def running_command(words: str) -> set[psutil.Process]:
    """Living processes whose command line contains these words."""
    found = set()
    for process in psutil.process_iter():
        if process.pid != os.getpid() and words in command(process) and is_running(process):
            found.add(process)
    return found


def _about(pid: int) -> bytes:
    """Environment, arguments and working folder of a process, as far as they can be read."""
    place = Path(f"/proc/{pid}")
    parts = []
    for name in ("environ", "cmdline"):
        with suppress(OSError):
            parts.append((place / name).read_bytes())
    with suppress(OSError):
        parts.append(os.fsencode((place / "cwd").readlink()))
    return b"\0".join(parts)


def describe(processes: Iterable[psutil.Process]) -> str:
    """One line for each, for a failure's message."""
    lines = []
    for process in processes:
        with suppress(psutil.Error):
            lines.append(f"{process.pid} (parent {process.ppid()}): {command(process)[:200]}")
    return "\n".join(lines)
