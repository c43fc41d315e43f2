"""Which backends are there, and in which version: looked up in the background, read at no cost."""

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.backends.base import Backend
from services.environment import child_environment, find_program
from services.errors import ClinvkError
from services.settings import BackendSettings

REFRESH_S = 30.0
VERSION_TIMEOUT_S = 20.0
VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")

Capture = Callable[[list[str], Mapping[str, str], float], tuple[int, str, str]]
"""Runs a command to its end: argv, environment and seconds → exit code, stdout, stderr."""

Stamp = tuple[str, int, int]
"""A program as it lies on the disk: its real path, size and time of change."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What is known of a backend.

    ``version`` is "" until it is, and when the program does not tell it.  ``tested`` says whether the project is tested
    with that version; None where it is tested with none, as with a command of the configuration.  ``problem`` is what
    kept a program that is there from telling its version.
    """

    name: str
    enabled: bool
    default_model: str
    available: bool = False
    version: str = ""
    tested: bool | None = None
    problem: str = field(default="", compare=False)


class Availability:
    """The state of every backend, in the order of the configuration.

    A thread looks again every :data:`REFRESH_S`; a program is asked for its version only when it has changed.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        settings: Mapping[str, BackendSettings],
        *,
        capture: Capture,
        environment: Mapping[str, str],
        pass_env: Sequence[str] = (),
    ) -> None:
        self._backends = backends
        self._settings = settings
        self._capture = capture
        self._environments = {
            name: child_environment(environment, (*backend.environment, *pass_env))
            for name, backend in backends.items()
        }
        self._stamps: dict[str, Stamp | None] = {}
        self._status = {name: self._first_status(name) for name in backends}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="availability", daemon=True)

    def statuses(self) -> list[BackendStatus]:
        """Every backend as it was seen last."""
        return list(self._status.values())

    def status(self, name: str) -> BackendStatus:
        """One backend as it was seen last."""
        return self._status[name]

    def program(self, name: str) -> str | None:
        """Where the program of a backend is now; None when it is not there or not executable."""
        return find_program(self._program(name), self._environments[name])

    def environment(self, name: str) -> Mapping[str, str]:
        """What the program of a backend gets of the server's environment."""
        return self._environments[name]

    def start(self) -> None:
        """Begin to look in the background."""
        self._thread.start()

    def refresh(self) -> None:
        """Look at every backend now.  Takes as long as the programs need to tell their version."""
        for name in self._backends:
            self.look(name)

    def look(self, name: str) -> BackendStatus:
        """Look at one backend now."""
        stamp = self._find(name)
        if stamp is None:
            self._note(name, available=False)
        elif stamp != self._stamps.get(name):
            self._ask(name)
        self._stamps[name] = stamp
        return self._status[name]

    def close(self) -> None:
        """Look no more.  Idempotent."""
        self._ended.set()

    def _watch(self) -> None:
        while True:
            try:
                self.refresh()
            except Exception:  # one bad look must not be the last
                log.exception("cannot look at the backends")
            if self._ended.wait(REFRESH_S):
                return

    def _first_status(self, name: str) -> BackendStatus:
        settings = self._settings[name]
        available = self._find(name) is not None
        return BackendStatus(name, settings.enabled, settings.model, available, tested=self._tested(name, ""))

    def _tested(self, name: str, version: str) -> bool | None:
        tested_version = self._backends[name].tested_version
        return version == tested_version if tested_version else None

    def _program(self, name: str) -> str:
        return self._settings[name].executable or self._backends[name].executable

    def _find(self, name: str) -> Stamp | None:
        path = self.program(name)
        if path is None:
            return None
        real = Path(path).resolve()
        found = real.stat()
        return str(real), found.st_size, found.st_mtime_ns

    def _ask(self, name: str) -> None:
        # not by its real path: what a program is may depend on the name it is called by
        backend = self._backends[name]
        argv = [self._program(name), *backend.version_args]
        environment = {**self._environments[name], **backend.version_environment}
        try:
            exit_code, stdout, errors = self._capture(argv, environment, VERSION_TIMEOUT_S)
        except ClinvkError as error:
            log.warning("%s is there but cannot be started: %s", name, error.message)
            self._note(name, available=False, problem=error.message)
            return
        if exit_code != 0:
            self._note(name, available=True, problem=_unanswered(backend, exit_code, errors or stdout))
            return
        found = VERSION.search(stdout)
        self._note(name, available=True, version=found.group() if found else "")

    def _note(self, name: str, *, available: bool, version: str = "", problem: str = "") -> None:
        self._status[name] = replace(
            self._status[name],
            available=available,
            version=version,
            tested=self._tested(name, version),
            problem=problem,
        )


def _unanswered(backend: Backend, exit_code: int, said: str) -> str:
    """Why a program did not tell its version."""
    asked = " ".join((backend.name, *backend.version_args))
    if exit_code < 0:
        return f"`{asked}` did not answer within {VERSION_TIMEOUT_S:.0f} s"
    return f"`{asked}` ended with exit code {exit_code} {said.strip()[:300]}".rstrip()
