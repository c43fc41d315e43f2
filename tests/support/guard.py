"""Tests reach no real CLI, no key, no home folder and no network by accident."""

import ipaddress
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REAL_HOME = Path("~").expanduser().resolve()
REAL_PATH = os.environ.get("PATH", os.defpath)

KEPT_VARIABLES = ("LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED")
KEPT_PREFIXES = ("PYTEST_", "COVERAGE_", "COV_CORE_", "HYPOTHESIS_")
TOOLS = ("sh", "bash", "env", "cat", "sleep", "echo", "true", "false", "ls", "ps", "id", "uname", "git")
PRIVATE = (".anthropic", ".claude", ".claude.json", ".clinvk", ".codex", ".config", ".gemini", ".ssh")
REAL_CLIS = ("claude", "codex", "gemini", "gopass")

_here: list[Path] = []
"""Folders whose programs tests may start under a CLI's name."""


def minimal_bin(folder: Path, extra: Iterable[str] = ()) -> Path:
    """Fill a folder with links to the few tools that tests need, to serve as PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*TOOLS, *extra):
        found = shutil.which(name, path=REAL_PATH)
        if found and not (folder / name).exists():
            (folder / name).symlink_to(found)
    return folder


def clean_environment(home: Path, path: str) -> dict[str, str]:
    """The whole environment of a test or of a server under test."""
    kept = {
        name: value for name, value in os.environ.items() if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }
    return {"LANG": "C.UTF-8", **kept, "HOME": str(home), "CLINVK_HOME": str(home / ".clinvk"), "PATH": path}


def replace_environment(environment: Mapping[str, str]) -> None:
    """Make this the environment of the process, and nothing else."""
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


class LeftTheBoxError(AssertionError):
    """A test tried to leave its box."""


def allow_programs_in(folder: Path) -> None:
    """Let tests start programs of this folder that bear a CLI's name."""
    _here.append(folder.resolve())


def install() -> None:
    """Watch this process for good: every connection, every program started, every file opened."""
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    match event:
        case "open":
            _check_file(arguments[0])
        case "socket.connect" | "socket.sendto" | "socket.bind":
            _check_address(arguments[1])
        case "socket.getaddrinfo" | "socket.gethostbyname":
            _check_host(arguments[0])
        case "subprocess.Popen" | "os.exec" | "os.posix_spawn":
            environment = arguments[3] if event == "subprocess.Popen" else None
            _check_program(arguments[0], (environment or os.environ).get("PATH"))


_private = tuple(str(REAL_HOME / name) for name in PRIVATE)


def _check_file(path: object) -> None:
    if isinstance(path, str) and path.startswith(_private):
        raise LeftTheBoxError(f"a test opened {path} in the real home folder")


def _check_address(address: object) -> None:
    if isinstance(address, tuple):
        _check_host(address[0])


def _check_host(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        inside = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        raise LeftTheBoxError(f"a test asked for the address of {name}") from None
    if not (inside.is_loopback or inside.is_unspecified):
        raise LeftTheBoxError(f"a test tried to reach {name}")


def _check_program(program: object, search: str | None) -> None:
    path = Path(os.fsdecode(program)) if isinstance(program, str | bytes | os.PathLike) else Path()
    if path.name not in REAL_CLIS:
        return
    found = Path(shutil.which(path, path=search) or path).absolute()
    if not any(found.is_relative_to(folder) for folder in _here):
        raise LeftTheBoxError(f"a test started {found}")
