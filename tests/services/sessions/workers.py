"""What other processes do to the same store; as a program it prints a report as JSON.

A module of the standard library that starts processes would keep a child of its own in the tests' process, and the
engine under test ends children there that it has not started.
"""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from services.errors import ClinvkError, ErrorCode
from services.events import TokenUsage
from services.sessions.records import Claim, Ending, NewSession
from services.sessions.store import SessionStore

SESSIONS = 40


@dataclass
class Report:
    created: list[str] = field(default_factory=list)
    wins: list[str] = field(default_factory=list)


def all_at_once(commands: Sequence[Sequence[object]]) -> list[Report]:
    """Start this program once with each of these arguments; their reports in the same order."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(_start, commands))


def _start(arguments: Sequence[object]) -> Report:
    command = [sys.executable, "-m", __spec__.name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return Report(**json.loads(done.stdout))


def write(url: str | Path, number: int, shared: list[str]) -> Report:
    """Create and finish sessions, and between them fight with the others over the shared ones."""
    report = Report()
    chance = random.Random(number)
    with SessionStore.open(url, lock_timeout_s=30) as store:
        for round_number in range(SESSIONS):
            claim = Claim(f"run-{number}-{round_number}", f"worker-{number}")
            made = store.create(NewSession(backend="claude", owner="alice"), claim)
            assert store.finish(made.id, claim.run_id, Ending()) is not None
            report.created.append(made.id)
            contested = chance.choice(shared)
            try:
                store.resume(contested, "alice", claim)
            except ClinvkError as error:
                assert error.code is ErrorCode.SESSION_BUSY, error  # noqa: PT017
            else:
                assert store.finish(contested, claim.run_id, Ending(usage=TokenUsage(1))) is not None
                report.wins.append(contested)
    return report


def create(url: str | Path) -> Report:
    """Open a database that may be new, and use it."""
    with SessionStore.open(url, lock_timeout_s=30) as store:
        return Report([store.create(NewSession(backend="claude")).id])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", where, number, *shared]:
            report = write(where, int(number), shared)
        case ["create", where]:
            report = create(where)
    print(json.dumps(asdict(report)))
