"""The session store in a real PostgreSQL server, and what can be wrong with one."""

import itertools
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from services.sessions.database import open_database
from services.sessions.errors import StoreError
from services.sessions.records import Claim, Ending, NewSession, Status
from services.sessions.store import SessionStore
from tests.e2e.postgresql import PostgresServer, running_postgresql
from tests.services.sessions.contract import StoreContract

CLAIM = Claim(run_id="run-1", worker="worker-1")
NEW = NewSession(backend="claude")
numbers = itertools.count()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresServer]:
    with running_postgresql() as server:
        yield server


@pytest.fixture
def url(postgresql: PostgresServer) -> str:
    """A new database."""
    return postgresql.create_database(f"test_{next(numbers)}")


class TestPostgresql(StoreContract):
    """The same tests as on SQLite."""


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_the_ways_to_write_the_url(url: str, scheme: str) -> None:
    with SessionStore.open(url.replace("postgresql", scheme, 1)) as store:
        assert store.count() == 0


def test_no_such_database(postgresql: PostgresServer) -> None:
    with pytest.raises(StoreError, match=r"postgresql.*/nowhere.* does not exist|cannot be reached"):
        SessionStore.open(postgresql.url("nowhere"))


def test_no_server() -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        SessionStore.open("postgresql://clinvk:my-password@127.0.0.1:9/clinvk")
    assert "my-password" not in str(caught.value)


def test_locked_by_somebody_else(url: str) -> None:
    with SessionStore.open(url, lock_timeout_s=0.3) as store, open_database(url) as other:
        made = store.create(NEW, CLAIM)
        with other.writing() as connection:
            connection.execute(text("LOCK TABLE sessions IN EXCLUSIVE MODE"))
            began_s = time.monotonic()
            with pytest.raises(StoreError, match=r"is locked by another process|does not answer in time"):
                store.create(NEW)
            with pytest.raises(StoreError):
                store.finish(made.id, "run-1", Ending())
            assert time.monotonic() - began_s < 5
        store.create(NEW)
        assert store.get(made.id, "").status is Status.COMPLETED


def test_read_only(url: str, postgresql: PostgresServer) -> None:
    SessionStore.open(url).close()
    name = url.partition("?")[0].rpartition("/")[2]
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match="is read-only"):
        SessionStore.open(url)


def test_a_user_without_rights(url: str, postgresql: PostgresServer) -> None:
    SessionStore.open(url).close()
    postgresql.execute("DROP ROLE IF EXISTS guest")
    postgresql.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(StoreError, match="does not let its user"):
        SessionStore.open(url.replace("clinvk@", "guest@"))


def test_a_restart_of_the_server(url: str, postgresql: PostgresServer) -> None:
    with SessionStore.open(url, lock_timeout_s=1) as store:
        made = store.create(NEW, CLAIM)
        postgresql.stop()
        try:
            with pytest.raises(StoreError, match="cannot be reached"):
                store.finish(made.id, "run-1", Ending(cost_usd=0.5))
            with pytest.raises(StoreError, match="cannot be reached"):
                store.check()
        finally:
            postgresql.start()
        assert store.check() == 1
        store.create(NEW)
        session = store.get(made.id, "")
        assert (session.status, session.cost_usd) == (Status.COMPLETED, 0.5)
