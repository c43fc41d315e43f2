"""The store as a worker uses it: what is done to it without being asked."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.sessions.errors import StoreError
from services.sessions.records import Claim, Ending, NewSession, Status
from services.sessions.store import INTERRUPTED, SessionStore
from services.store_access import Housekeeping
from tests.support.waiting import wait_until

CLAIM = Claim("run-1", "1-1.2")
"""One of a worker that does not live."""


class Access:
    """Gives the store, but the first time."""

    def __init__(self, store: SessionStore) -> None:
        self.asked = 0
        self.store = store

    def __call__(self) -> SessionStore:
        self.asked += 1
        if self.asked == 1:
            raise StoreError("locked", passing=True)
        return self.store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    with SessionStore.open(path, lock_timeout_s=0.1) as store:
        yield store


def removing_none(_before: float) -> int:
    return 0


def test_sessions_that_could_not_be_put_in_order_are_when_it_is_possible(
    store: SessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    made = store.create(NewSession("claude"), CLAIM)
    keeping = Housekeeping(Access(store), removing_none, removing_none, 30, try_again_s=0.02)
    keeping.start()
    try:
        wait_until(lambda: store.get(made.id, "").status is Status.ERROR)
    finally:
        keeping.stop()
    assert store.get(made.id, "").error_message == INTERRUPTED
    assert "the sessions could not be put in order: locked" in caplog.messages


def test_an_ending_that_could_not_be_written_needs_nobody_to_be_made_up_for(store: SessionStore, path: Path) -> None:
    put_in_order: list[float] = []

    def remove_unused(before: float) -> int:
        put_in_order.append(before)
        return 0

    keeping = Housekeeping(lambda: store, remove_unused, removing_none, 30, try_again_s=0.02)
    keeping.start()
    try:
        wait_until(lambda: put_in_order)
        made = store.create(NewSession("claude"), CLAIM)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError):
                store.finish(made.id, "run-1", Ending(cost_usd=0.5))
            assert store.get(made.id, "").status is Status.ACTIVE
        wait_until(lambda: store.get(made.id, "").status is Status.COMPLETED)
    finally:
        keeping.stop()
    assert store.get(made.id, "").cost_usd == 0.5
    assert len(put_in_order) == 1
