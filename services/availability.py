"""Which backends are there, and in which version: looked up in the background, read at no cost."""

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """What is known of a backend.  ``version`` is "" until it is, and when the program does not tell it."""

    name: str
    enabled: bool
    default_model: str
    available: bool = False
    version: str = ""


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
        self._status = {
            name: BackendStatus(name, settings[name].enabled, settings[name].model, self._find(name) is not None)
            for name in backends
        }
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="availability", daemon=True)

    def statuses(self) -> list[BackendStatus]:
        """Every backend as it was seen last."""
        return list(self._status.values())

    def start(self) -> None:
        """Begin to look in the background."""
        self._thread.start()

    def refresh(self) -> None:
        """Look at every backend now.  Takes as long as the programs need to tell their version."""
        for name in self._backends:
            stamp = self._find(name)
            if stamp is None:
                self._status[name] = replace(self._status[name], available=False, version="")
            elif stamp != self._stamps.get(name):
                self._ask(name)
            self._stamps[name] = stamp

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

    def _find(self, name: str) -> Stamp | None:
        """The program of a backend; None when it is not there or not executable."""
        program = self._settings[name].executable or self._backends[name].executable
        path = find_program(program, self._environments[name])
        if path is None:
            return None
        real = Path(path).resolve()
        found = real.stat()
        return str(real), found.st_size, found.st_mtime_ns

    def _ask(self, name: str) -> None:
        # not by its real path: what a program is may depend on the name it is called by
        program = self._settings[name].executable or self._backends[name].executable
        backend = self._backends[name]
        argv = [program, *backend.version_args]
        environment = {**self._environments[name], **backend.version_environment}
        try:
            exit_code, stdout, _ = self._capture(argv, environment, VERSION_TIMEOUT_S)
        except ClinvkError as error:
            log.warning("%s is there but cannot be started: %s", name, error.message)
            self._status[name] = replace(self._status[name], available=False, version="")
            return
        found = VERSION.search(stdout) if exit_code == 0 else None
        version = found.group() if found else ""
        self._status[name] = replace(self._status[name], available=True, version=version)
