"""A client that asks ``/health`` again and again, in a process of its own: ``python -m tests.starvation.probe PORT``.

It stops when its stdin ends, and prints how often it was answered, how long the slowest answer took, and how often it
was answered anything else but 200.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.client import Client
from tests.support.guard import ROOT

PAUSE_S = 0.05


@dataclass(slots=True)
class Health:
    """What was seen of ``/health``; an answer that never came counts with the time that it was waited for."""

    asked: int = 0
    slowest_s: float = 0.0
    wrong: int = 0


@contextmanager
def watched(port: int) -> Iterator[Health]:
    """Ask all the time; what was seen is there at the end."""
    health = Health()
    command = [sys.executable, "-m", "tests.starvation.probe", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has asked once
        try:
            yield health
        finally:
            told, _ = process.communicate(timeout=60)
            health.asked, health.slowest_s, health.wrong = json.loads(told)


def main() -> None:
    """Ask until stdin ends."""
    client = Client(int(sys.argv[1]))
    seen = Health()
    while True:
        began_s = time.monotonic()
        try:
            status = client.request("GET", "/health", timeout_s=30).status
        except OSError:
            status = 0
        seen.asked += 1
        seen.slowest_s = max(seen.slowest_s, time.monotonic() - began_s)
        seen.wrong += status != 200
        if seen.asked == 1:
            print("ready", flush=True)
        if select.select([sys.stdin], [], [], PAUSE_S)[0]:
            break
    print(json.dumps([seen.asked, seen.slowest_s, seen.wrong]))


if __name__ == "__main__":
    main()
