"""The programs in C: a CLI and a client that cost next to nothing."""

import subprocess
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / ".build" / "bin"


def compiled(source: str, program: str) -> Path:
    """A program, compiled when its source is newer."""
    target, path = BUILD / program, HERE / source
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.stat().st_mtime < path.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(target), str(path)], check=True)
    return target


@cache
def fake_claude() -> Path:
    """The fake ``claude``, which takes a millisecond; see fake_claude.c."""
    return compiled("fake_claude.c", "claude")


@cache
def load_client() -> Path:
    """The client for many connections; see load.c."""
    return compiled("load.c", "load")
