"""Databases with many sessions.  To fill one takes half a minute, so each is made once and copied."""

import atexit
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from services.sessions.records import Session, Status
from services.sessions.store import SessionStore
from services.store_access import DATABASE

MANY = 100_000
BACKENDS = ("claude", "codex", "gemini")
OWNERS = ("", "f00dfeed")
PROMPT = "Write a function that adds two numbers, and its tests. " * 4


@cache
def filled(number: int) -> Path:
    """A database with so many sessions, closed; it is gone when this program ends."""
    folder = tempfile.mkdtemp(prefix="clinvk-bench-")
    atexit.register(shutil.rmtree, folder)
    path = Path(folder) / DATABASE
    with SessionStore.open(path) as store:
        store.adopt(sessions(number))
    return path


def fill(home: Path, number: int) -> None:
    """Put so many sessions into the database of a server with this home folder."""
    if number:
        shutil.copy(filled(number), home / ".clinvk" / DATABASE)


def sessions(number: int) -> Iterator[Session]:
    """Sessions of several owners, backends and states, used over the last month; the rarest kind is one in 600."""
    chance = random.Random(7)
    now = time.time()
    for _ in range(number):
        used = now - chance.uniform(60, 30 * 86_400)
        yield Session(
            id=f"{chance.getrandbits(128):032x}",
            backend=chance.choices(BACKENDS, (80, 18, 2))[0],
            owner=chance.choices(OWNERS, (90, 10))[0],
            created_at=used - 60,
            last_used=used,
            status=chance.choices((Status.COMPLETED, Status.ERROR), (92, 8))[0],
            working_dir=f"/srv/projects/{chance.randrange(200)}",
            initial_prompt=PROMPT,
            cli_session_id=f"{chance.getrandbits(128):032x}",
            turn_count=3,
            tags=("api",),
        )
