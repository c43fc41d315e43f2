"""The CLIs: found where, in which version, logged in or not, and how they would be run."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from app.doctor.findings import BackendReport, Finding, Level
from app.doctor.places import nearest
from services.availability import Availability, BackendStatus, Capture
from services.backends import create_backends
from services.backends.base import Backend
from services.backends.login import Login
from services.environment import mask, secrets_of
from services.errors import ClinvkError
from services.login import look
from services.planning import Planner, command_line
from services.process import Engine
from services.prompts import Prompt
from services.settings import Config

PROMPT = "Hello!"
NPM = "npm install -g "


def look_at_backends(config: Config, environ: Mapping[str, str]) -> tuple[BackendReport, ...]:
    """A report of each backend, in the order of the configuration.  All are looked at at once: each takes its time."""
    with _engine(config.home) as engine, ThreadPoolExecutor(max_workers=len(config.backends)) as threads:
        return tuple(threads.map(Examination(config, environ, engine.capture).report, config.backends))


@contextmanager
def _engine(home: Path) -> Iterator[Engine]:
    """An engine with a folder of its own, in the home folder or where that would be made, which goes away with it.

    The CLIs look for instructions in the folders above the one that they run in: in the shared temporary folder
    somebody could have put some there.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=".doctor-", dir=nearest(home)))
    except OSError:  # which is told as a fault of its own
        folder = Path(tempfile.mkdtemp(prefix=".doctor-"))
    engine = Engine(folder)
    try:
        yield engine
    finally:
        engine.close()
        shutil.rmtree(folder, ignore_errors=True)


class Examination:
    """Looks at one backend after the other, or at several in as many threads."""

    def __init__(self, config: Config, environ: Mapping[str, str], capture: Capture) -> None:
        self._config = config
        self._capture = capture
        self._backends = create_backends(config.backends)
        self._availability = Availability(
            self._backends, config.backends, capture=capture, environment=environ, pass_env=config.server.pass_env
        )
        self._planner = Planner(self._backends, config.backends, config.unified_flags, config.server, config.home)

    def report(self, name: str) -> BackendReport:
        """What is to be seen of a backend.  A disabled one is left alone."""
        backend, settings = self._backends[name], self._config.backends[name]
        if not settings.enabled:
            note = Finding(Level.NOTE, f"switched off (backends.{name}.enabled)")
            return BackendReport(name, enabled=False, findings=(note,))
        program = self._availability.program(name) or ""
        if not program:
            return BackendReport(name, enabled=True, findings=(_missing(backend, settings.executable),))
        environment = self._availability.environment(name)
        status = self._availability.look(name)
        login = look(backend.login_check, program, environment, self._capture) if status.available else Login(None)
        command, refusals = self._command(name)
        secrets = secrets_of(environment)
        return BackendReport(
            name,
            enabled=True,
            program=program,
            version=status.version,
            tested=status.tested,
            tested_version=backend.tested_version,
            logged_in=login.good,
            login=login.how,
            command=mask(command, secrets),
            findings=(*_of_version(backend, status, secrets), *_of_login(backend, login), *refusals),
        )

    def _command(self, name: str) -> tuple[str, tuple[Finding, ...]]:
        try:
            return command_line(self._planner.plan(Prompt(name, PROMPT)).spawn), ()
        except ClinvkError as error:
            text = f"a plain prompt would be refused: {error.message}"
            return "", (Finding(Level.FAULT, text, "mend the configuration: a default must be one that is allowed"),)


def _missing(backend: Backend, executable: str) -> Finding:
    if executable:
        text = f"there is no program {executable} that can be run (backends.{backend.name}.executable)"
        return Finding(Level.FAULT, text, "mend the path, or take it out")
    return Finding(Level.FAULT, f"{backend.executable} is not in PATH", backend.install_hint)


def _of_version(backend: Backend, status: BackendStatus, secrets: tuple[str, ...]) -> Iterator[Finding]:
    if status.problem:
        fix = f"run `{' '.join((backend.executable, *backend.version_args))}` and mend what it complains of"
        yield Finding(Level.FAULT, mask(status.problem, secrets), fix)
    elif status.tested is False:
        seen = f"version {status.version}" if status.version else "a version that it does not tell"
        text = f"{seen} is not the tested one, {backend.tested_version}; most often it works as well"
        yield Finding(Level.NOTE, text, _install(backend))


def _install(backend: Backend) -> str:
    """How to get the tested version."""
    return f"{backend.install_hint}@{backend.tested_version}" if backend.install_hint.startswith(NPM) else ""


def _of_login(backend: Backend, login: Login) -> Iterator[Finding]:
    if login.good is False:
        yield Finding(Level.FAULT, f"not logged in: {login.how}", login.fix or backend.login_hint)
