"""Real gunicorns around the stand-in application."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest
import yaml

from tests.support.client import Client
from tests.support.guard import ROOT, clean_environment
from tests.support.waiting import free_port, wait_until

GUNICORN = Path(sys.executable).with_name("gunicorn")


@dataclass(slots=True)
class Running:
    """A gunicorn with the stand-in application; ``file`` is its configuration."""

    process: subprocess.Popen[bytes]
    file: Path
    log_file: Path
    port: int

    @property
    def client(self) -> Client:
        return Client(self.port)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def configure(self, **server: Any) -> None:
        """Change the file; the port stays."""
        self.file.write_text(yaml.safe_dump({"server": {"port": self.port, **server}}))

    def worker(self) -> int:
        """The process id of the worker that answers."""
        return int(self.client.get("/health").json()["worker"])

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def times(self, what: str) -> list[float]:
        """When the services were told something (monotonic seconds)."""
        lines = [line.split() for line in self.log.splitlines() if line.startswith("services: ")]
        return [float(line[2]) for line in lines if line[1] == what]


class Start(Protocol):
    """Starts a server with these settings below ``server``, and waits until it answers."""

    def __call__(
        self, *arguments: str, environ: Mapping[str, str] | None = None, wait: bool = True, **server: Any
    ) -> Running: ...


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[Running] = []

    def run(*arguments: str, environ: Mapping[str, str] | None = None, wait: bool = True, **server: Any) -> Running:
        folder = tmp_path_factory.mktemp("standin")
        port = server.pop("port", None) or free_port()
        command = [str(GUNICORN), "tests.app.standin:app"]
        clean = clean_environment(folder, os.environ["PATH"]) | {"CLINVK_CONFIG": str(folder / "config.yaml")}
        running = Running(None, folder / "config.yaml", folder / "log", port)  # type: ignore[arg-type]
        running.configure(**server)
        with running.log_file.open("wb") as log:
            running.process = subprocess.Popen(
                [*command, *arguments], cwd=ROOT, env=clean | dict(environ or {}), stdout=log, stderr=log
            )
        started.append(running)
        if wait:
            wait_until(lambda: answers(running), 20, "the stand-in does not answer")
        return running

    yield run
    for running in started:
        workers = psutil.Process(running.process.pid).children() if running.process.poll() is None else []
        running.tell(signal.SIGQUIT)
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(10)
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        running.process.kill()
        running.process.wait()


def answers(running: Running) -> bool:
    assert running.process.poll() is None, running.log
    with suppress(OSError):
        return running.client.get("/health").status == 200
    return False
