"""How many CLIs live, which wait for a prompt, and what a server says of itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.support import processes
from tests.support.server import Server

SAMPLE_S = 0.01


@dataclass(slots=True)
class Census:
    """The most CLIs that were alive at any one time."""

    most: int = 0
    samples: int = 0


def clis(server: Server) -> set[psutil.Process]:
    """The living CLIs of a server, but those that are asked for their version."""
    found = processes.descendants(server.process.pid)
    commands = {process: processes.command(process) for process in found}
    return {process for process, command in commands.items() if "clis/bin" in command and "--version" not in command}


@contextmanager
def counted(server: Server) -> Iterator[Census]:
    """Count the CLIs all the time."""
    census, stopped = Census(), threading.Event()

    def count() -> None:
        while not stopped.wait(SAMPLE_S):
            census.most = max(census.most, len(clis(server)))
            census.samples += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield census
    finally:
        stopped.set()
        thread.join()


def figure(server: Server, name: str, backend: str = "") -> int:
    """A metric of a backend; without one, the sum over all."""
    lines = server.client.get("/metrics").text.splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith(f'{name}{{backend="{backend}')))


def waiting(server: Server, backend: str = "") -> int:
    """How many CLIs wait for a prompt."""
    return figure(server, "clinvk_warm_processes", backend)


def hits(server: Server) -> int:
    """How many runs have found their CLI there."""
    return figure(server, "clinvk_warm_runs_total")


def queued(server: Server) -> int:
    """How many runs wait for a slot, in all workers."""
    runs: list[dict[str, str]] = server.client.get("/api/v1/runs").json()["runs"]
    return sum(run["state"] == "queued" for run in runs)
