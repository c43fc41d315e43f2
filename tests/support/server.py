"""Real servers for tests: started on a free port, with fake CLIs, and seen to leave nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil
import yaml

from tests.fake_cli.install import FakeClis
from tests.support import guard, processes
from tests.support.client import Client
from tests.support.nursery import Nursling, nursery
from tests.support.waiting import free_port, wait_until

Entry = Literal["serve", "clinvk", "gunicorn"]
Config = Mapping[str, Any]
Process = subprocess.Popen[bytes] | Nursling

DEFAULTS: Config = {"server": {"graceful_timeout_secs": 1, "max_concurrent_runs": 8, "warm_processes": 0}}
"""How a test's server differs from one that people start: nothing is started behind the back of a test that counts."""
CLIS = ("claude", "codex", "gemini")


def merged(base: Config, over: Config) -> dict[str, Any]:
    """``base`` with the values of ``over``, folder by folder."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


@dataclass(slots=True)
class Server:
    """A running server.  ``folder`` holds everything of it: ``home``, ``clis``, ``config.yaml`` and ``log``."""

    folder: Path
    port: int
    process: Process
    clis: FakeClis
    headers: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def client(self) -> Client:
        return Client(self.port, self.headers)

    @property
    def home(self) -> Path:
        """The home folder of the server and of the CLIs."""
        return self.folder / "home"

    @property
    def log(self) -> str:
        """All that the server has printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The processes that serve: forked from the first one, they have its command line."""
        return [child for child in psutil.Process(self.process.pid).children() if self.is_own(child)]

    def is_own(self, process: psutil.Process) -> bool:
        """Whether a process is the server or one of its workers, and not of a run."""
        return process.pid == self.process.pid or processes.command(process) == self.command

    def of_runs(self) -> set[psutil.Process]:
        """The living processes that belong to the server but are not its own: the CLIs and what they started."""
        found = processes.touching(self.folder) | processes.descendants(self.process.pid)
        return {process for process in found if not self.is_own(process)}

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_until_idle(self, timeout_s: float = 5.0) -> None:
        """Wait until no process of a run lives; AssertionError when one still does."""
        try:
            wait_until(lambda: not self.of_runs(), timeout_s)
        except AssertionError:
            raise AssertionError(f"still running:\n{processes.describe(self.of_runs())}\n{self.log[-2000:]}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send the signal and wait for the end; the exit code."""
        if self.running:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def restart(self) -> None:
        """Start it again, when it has ended, as it was (but for an ``environment`` or a ``path``)."""
        assert not self.running
        search = f"{self.clis.bin}{os.pathsep}{self.folder / 'tools'}"
        self.process = launch(self.folder, "clinvk", search, {}, ())
        wait_until_healthy(self)
        self.command = processes.command(psutil.Process(self.process.pid))

    def close(self) -> None:
        """Stop the server; AssertionError when it leaves a process or takes too long."""
        found = self.of_runs()
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            found |= processes.descendants(self.process.pid)
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop\n{self.log[-4000:]}") from None
        finally:
            left = {process for process in found | processes.touching(self.folder) if processes.is_running(process)}
            about = processes.describe(left)
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        assert not left, f"left behind by the server:\n{about}\n{self.log[-4000:]}"


class ServerFactory:
    """Starts servers and closes them all at the end."""

    def __init__(self, new_folder: Callable[[str], Path], usual_entry: Entry = "clinvk") -> None:
        self._new_folder = new_folder
        self._usual_entry = usual_entry
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures = []
        for server in reversed(self._servers):
            try:
                server.close()
            except AssertionError as failure:
                failures.append(failure)
        if failures:
            raise AssertionError("\n".join(map(str, failures)))

    def __call__(
        self,
        config: Config | None = None,
        *,
        entry: Entry | None = None,
        environment: Mapping[str, str] | None = None,
        clis: FakeClis | None = None,
        path: Callable[[Path], str] | None = None,
        prepare: Callable[[Path], None] | None = None,
        arguments: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> Server:
        """Start a server and wait until it answers ``/health``.

        ``config`` is laid over the defaults for tests; ``environment`` is added to a clean one; ``path`` gives what
        takes the place of the fake CLIs in PATH, and ``prepare`` adds files, both from the server's folder;
        ``headers`` go with each request of ``server.client``.
        """
        folder = self._new_folder("server")
        (folder / "home").mkdir(exist_ok=True)
        clis = clis or fakes(folder / "clis")
        port = free_port()
        whole = merged(merged(DEFAULTS, {"server": {"host": "127.0.0.1", "port": port}}), config or {})
        (folder / "config.yaml").write_text(yaml.safe_dump(whole))
        tools = guard.minimal_bin(folder / "tools")
        if prepare:
            prepare(folder)
        search = f"{path(folder) if path else clis.bin}{os.pathsep}{tools}"
        entry = entry or self._usual_entry
        if whole["server"].get("metrics_enabled") and entry == "serve":
            entry = "clinvk"  # the library looks at the environment when it is imported
        process = launch(folder, entry, search, environment or {}, arguments)
        server = Server(folder, port, process, clis, headers or {})
        self._servers.append(server)
        if wait:
            wait_until_healthy(server)
            server.command = processes.command(psutil.Process(process.pid))
        return server


def fakes(folder: Path) -> FakeClis:
    """The three CLIs, faked, in a folder of their own."""
    clis = FakeClis(folder)
    for name in CLIS:
        clis.install(name)
    return clis


def launch(
    folder: Path, entry: Entry, path: str, environment: Mapping[str, str], arguments: tuple[str, ...]
) -> Process:
    """Start the server's process with a clean environment; ``serve`` is ``clinvk`` from the nursery."""
    config = folder / "config.yaml"
    commands = {
        "clinvk": [str(Path(sys.executable).with_name("clinvk")), "serve", "--config", str(config)],
        "gunicorn": [sys.executable, "-m", "gunicorn", "-c", str(guard.ROOT / "gunicorn.conf.py"), "wsgi:app"],
    }
    clean = guard.clean_environment(folder / "home", path)
    more = {"CLINVK_CONFIG": str(config), "PYTHONUNBUFFERED": "1", **environment}
    if entry == "serve":
        return nursery().start(["serve", "--config", str(config), *arguments], clean | more, folder, folder / "log")
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*commands[entry], *arguments],
            cwd=guard.ROOT if entry == "gunicorn" else folder,
            env=clean | more,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_until_healthy(server: Server, timeout_s: float = 30.0) -> None:
    """Wait for the first answer of ``/health``; AssertionError with the log when the server ends before."""

    def answers() -> bool:
        assert server.running, f"the server ended with {server.process.returncode}:\n{server.log}"
        with suppress(OSError):
            return server.client.get("/health").status in (200, 503)
        return False

    wait_until(answers, timeout_s, f"no answer from /health\n{server.log}")
