"""Servers to measure."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.build import fake_claude
from bench.client import Connection

START_S = 30.0
HITS = re.compile(rb"^clinvk_warm_runs_total\{.*\} ([\d.]+)$", re.MULTILINE)


@dataclass(slots=True)
class Server:
    """A running server: ``process`` is the arbiter, with its workers as children, and the CLIs as theirs."""

    port: int
    process: psutil.Process

    def workers(self) -> list[psutil.Process]:
        """The processes that serve: forked from the arbiter, they have its command line."""
        command = self.process.cmdline()
        return [child for child in self.process.children() if child.cmdline() == command]

    def own(self) -> list[psutil.Process]:
        """The arbiter and its workers, without the CLIs."""
        return [self.process, *self.workers()]

    def memory_mb(self) -> float:
        """Proportional memory of the arbiter and its workers together."""
        return sum(process.memory_full_info().pss for process in self.own()) / 1e6

    def peak_mb(self) -> float:
        """The highest resident memory that any of them has had (VmHWM)."""
        peaks = []
        for process in self.own():
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            peaks.append(int(found[1]) * 1024 / 1e6 if found else 0.0)
        return max(peaks)

    def warm_runs(self) -> int:
        """How many runs have found a process that was started in advance.  Needs ``metrics_enabled``."""
        with Connection(self.port) as connection:
            return int(sum(float(count) for count in HITS.findall(connection.get("/metrics"))))

    def wait_for_versions(self, backend: str) -> None:
        """Wait until the server has asked this CLI for its version, which it does in its own time, once."""
        give_up_s = time.monotonic() + START_S
        with Connection(self.port) as connection:
            while time.monotonic() < give_up_s:
                backends = json.loads(connection.get("/api/v1/backends"))["backends"]
                if any(entry["name"] == backend and entry["version"] for entry in backends):
                    return
                time.sleep(0.05)
        raise TimeoutError(f"no version of {backend}")


@contextmanager
def running_server(
    server: Mapping[str, Any],
    prepare: Callable[[Path], None] = lambda _: None,
    *,
    backends: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    path: str = "",
) -> Iterator[Server]:
    """A server on a free port with these settings, in a home folder of its own that ``prepare`` gets.

    Its only CLI is the fake one, unless ``path`` leads to others.
    """
    with tempfile.TemporaryDirectory(prefix="clinvk-bench-") as name:
        home = Path(name)
        port = free_port()
        config = home / "config.yaml"
        whole = {"server": {"host": "127.0.0.1", "port": port, **server}, "backends": dict(backends or {})}
        config.write_text(yaml.safe_dump(whole))
        (home / ".clinvk").mkdir(mode=0o700)
        prepare(home)
        search = path or f"{fake_claude().parent}{os.pathsep}{os.defpath}"
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("clinvk")), "serve", "--config", str(config)],
                env={"PATH": search, "HOME": name, "LANG": "C.UTF-8", **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_healthy(port, process, home / "log")
            yield Server(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the first answer of ``/health``; SystemExit with the log when there is none."""
    give_up_s = time.monotonic() + START_S
    while time.monotonic() < give_up_s and process.poll() is None:
        try:
            with Connection(port) as connection:
                connection.get("/health")
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")
