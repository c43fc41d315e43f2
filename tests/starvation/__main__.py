"""Print what clients that try to starve a server do to it: ``python -m tests.starvation``.

For each kind: what it was answered, the slowest answer of ``/health`` meanwhile (it must be below a second), the memory
of the server before, at most and after, and the most CLIs that worked at once.  The exit code is 1 when a bound is
broken.  Everything is on loopback, with the fake CLIs; it takes some minutes and a core.
"""

import argparse
import resource
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from tests.starvation.attempts import KEY, Attempt, attempts
from tests.starvation.probe import watched
from tests.support import processes
from tests.support.server import Server, ServerFactory

SLOTS = 4
CONFIG = {
    "server": {
        "max_concurrent_runs": SLOTS,
        "read_timeout_secs": 4,
        "write_timeout_secs": 4,
        "idle_timeout_secs": 10,
        "rate_limit_enabled": True,
        "rate_limit_rps": 5000,
        "rate_limit_burst": 5000,
    }
}
SLOWEST_S = 1.0
MOST_MIB = 400
"""More than this no crowd may take: a dozen bodies of 10 MiB that are being read, and as many that are looked at."""
SAMPLE_S = 0.1
FIRST_CHARACTERS = 4000
"""So much is printed of the server's log from the first traceback on."""


class Sampler:
    """Looks at the server's processes all the time, in a thread."""

    def __init__(self, server: Server) -> None:
        self.most_clis = 0
        self._server = server
        self.before_mib = self.most_mib = self._memory_mib()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self.most_mib = max(self.most_mib, self._memory_mib())
            found = processes.descendants(self._server.process.pid)
            self.most_clis = max(self.most_clis, sum(map(_is_cli, found)))

    def _memory_mib(self) -> float:
        bytes_ = 0
        for process in self._server.workers():
            with suppress(psutil.NoSuchProcess):
                bytes_ += process.memory_info().rss
        return bytes_ / 2**20

    def stop(self) -> float:
        """Look no more; the memory at the end."""
        self._stopped.set()
        self._thread.join()
        return self._memory_mib()


def _is_cli(process: psutil.Process) -> bool:
    """Whether it is a CLI, and not one that is asked for its version."""
    command = processes.command(process)
    return "clis/bin" in command and "--version" not in command


def tried(attempt: Attempt, server: Server) -> bool:
    """Try one, and print its row; whether every bound was kept."""
    sampler = Sampler(server)
    starts = len(server.clis.starts())
    with watched(server.port) as health:
        answers = attempt.press(server.port)
    server.wait_until_idle(30)
    after_mib = sampler.stop()
    started = len(server.clis.starts()) - starts
    good = (
        health.slowest_s < SLOWEST_S
        and not health.wrong
        and sampler.most_mib - sampler.before_mib < MOST_MIB
        and sampler.most_clis <= attempt.runs
        and bool(attempt.runs) == bool(started)
    )
    told = ", ".join(f"{answer} ×{count}" for answer, count in answers.most_common(4))
    memory = f"{sampler.before_mib:5.0f} {sampler.most_mib:5.0f} {after_mib:5.0f}"
    print(
        f"{attempt.name:30}{health.slowest_s:8.3f}{health.asked:6}  {memory}{sampler.most_clis:6}{started:6}"
        f"  {told}{'' if good else '   <- TOO MUCH'}",
        flush=True,
    )
    return good


def main() -> None:
    """Try all of them on one server, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="words of the name")
    only = parser.parse_args().only
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    found: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory() as folder, ServerFactory(lambda name: _made(Path(folder) / name)) as start:
        server = start(CONFIG, environment={"CLINVK_API_KEYS": KEY["X-Api-Key"]}, headers=KEY)
        print(f"{'':30}{'/health: s':>8}{'asked':>6}  {'MiB: before most after':>17}{'CLIs':>5}{'starts':>7}  answers")
        for attempt in attempts(SLOTS):
            if only in attempt.name:
                found[tried(attempt, server)] += 1
        log = server.log
    tracebacks = log.count("Traceback")
    print(f"{'tracebacks':30}{tracebacks}\n{'bounds broken':30}{found[False]}")
    if tracebacks:
        print(log[log.find("Traceback") :][:FIRST_CHARACTERS])
    raise SystemExit(1 if tracebacks or found[False] else 0)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
