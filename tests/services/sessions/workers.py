"""What other processes do to the same store."""

import random
from dataclasses import dataclass, field
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


def open_and_create(url: str | Path) -> bool:
    """Open a database that may be new, and use it."""
    with SessionStore.open(url, lock_timeout_s=30) as store:
        return store.create(NewSession(backend="claude")).backend == "claude"
