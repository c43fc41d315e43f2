"""The session store in a SQLite file, and what can be wrong with one."""

import itertools
import os
import resource
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from services.errors import ClinvkError, ErrorCode
from services.sessions.database import Database
from services.sessions.errors import StoreError
from services.sessions.records import Claim, Ending, NewSession, Status
from services.sessions.store import SessionStore
from tests.services.sessions.contract import StoreContract

CLAIM = Claim(run_id="run-1", worker="worker-1")
NEW = NewSession(backend="claude")


class TestSqlite(StoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> Path:
        return tmp_path / "sessions.db"

    def test_nothing_is_sorted_or_read_whole(self, store: SessionStore, database: Database) -> None:
        asked: list[tuple[str, Any]] = []
        with database.reading() as connection:
            engine = connection.engine

        def watch(_c: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
            if statement.startswith(("SELECT", "UPDATE", "DELETE")) and "session_counts" not in statement:
                asked.append((statement, values))

        event.listen(engine, "before_cursor_execute", watch)
        made = store.create(NEW, CLAIM)
        store.finish(made.id, "run-1", Ending())
        store.resume(made.id, "", CLAIM)
        store.interrupt_dead(lambda _: False)
        store.get(made.id, None)
        for backend, status in itertools.product(("", "claude"), (None, Status.ERROR)):
            store.page("", backend=backend, status=status)
        list(store.remove_unused(0))
        store.delete(made.id, "")
        event.remove(engine, "before_cursor_execute", watch)
        assert len(asked) > 10
        with engine.connect() as connection:
            for statement, values in asked:
                plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
                scanned = [step for step in plan if step.startswith("SCAN sessions") and "INDEX" not in step]
                assert not scanned, (statement, plan)
                if "JOIN" not in statement and "'active'" not in statement:  # few rows: a page, the runs that go on
                    assert not [step for step in plan if "ORDER BY" in step], (statement, plan)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sessions.db"
    with SessionStore.open(path) as store:
        store.create(NEW)
        assert mode(path.parent) == 0o700
        assert {file.name: mode(file) for file in path.parent.iterdir()} == {
            "sessions.db": 0o600,
            "sessions.db-wal": 0o600,
            "sessions.db-shm": 0o600,
        }


def test_a_file_that_others_can_read_is_closed_to_them(path: Path) -> None:
    path.touch(0o644)
    with SessionStore.open(path):
        assert mode(path) == 0o600


def test_a_url_names_a_file(path: Path) -> None:
    with SessionStore.open(path) as store:
        made = store.create(NEW)
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert store.get(made.id, "") == made


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:///file:x?mode=memory&uri=true", "must be a file"),
        ("mysql://root@localhost/x", "mysql is not supported"),
        ("oops://", "not supported"),
        ("://", "not a URL"),
        ("postgresql://u:secret@h:port/x", "not a URL"),
    ],
)
def test_other_urls_are_refused(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        SessionStore.open(url)
    assert "secret" not in str(caught.value)


def test_not_a_database(path: Path) -> None:
    path.write_bytes(b"This is a letter to my aunt, and nothing else. " * 100)
    with pytest.raises(StoreError, match="is not a SQLite database"):
        SessionStore.open(path)
    assert path.read_bytes().startswith(b"This is a letter")


def test_somebody_elses_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sessions (name TEXT)")
    with pytest.raises(StoreError, match="sessions already exists"):
        SessionStore.open(path)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SessionStore.open(tmp_path)


def test_a_file_where_the_folder_should_be(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        SessionStore.open(path / "sessions.db")


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write everywhere, so become nobody for a while."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("folder_mode", [0o777, 0o555])
def test_read_only(folder_mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "sessions.db"
        with SessionStore.open(path) as store:
            store.create(NEW)
        path.chmod(0o444)
        folder.chmod(folder_mode)
        with pytest.raises(StoreError, match=r"is read-only|look at the permissions"), without_privileges():
            SessionStore.open(path)
        folder.chmod(0o700)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The file while another process writes to it; for SQLite another connection is no less foreign."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_locked_at_the_start(path: Path) -> None:
    SessionStore.open(path).close()
    began_s = time.monotonic()
    with locked(path), pytest.raises(StoreError, match="is locked by another process"):
        SessionStore.open(path, lock_timeout_s=0.3)
    assert 0.3 <= time.monotonic() - began_s < 3


def test_locked_while_it_is_used(path: Path) -> None:
    with SessionStore.open(path, lock_timeout_s=0.2) as store:
        made = store.create(NEW, CLAIM)
        with locked(path):
            began_s = time.monotonic()
            with pytest.raises(StoreError, match="is locked by another process") as caught:
                store.create(NEW, CLAIM)
            assert time.monotonic() - began_s < 2
            assert caught.value.code is ErrorCode.OVERLOADED  # it may be asked again
            assert store.get(made.id, "") == made  # what is only read does not wait
            assert store.page("").total == store.count() == 1
            with pytest.raises(StoreError, match="is locked"):
                store.check()
        assert store.check() == 1


def test_a_short_lock_is_waited_for(path: Path) -> None:
    with SessionStore.open(path) as store, closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.rollback)
        release.start()
        assert store.create(NEW).backend == "claude"
        release.join()


def test_an_ending_that_could_not_be_written_is_made_up_for(path: Path) -> None:
    with SessionStore.open(path, lock_timeout_s=0.1) as store:
        made = store.create(NEW, CLAIM)
        with locked(path), pytest.raises(StoreError):
            store.finish(made.id, "run-1", Ending(cost_usd=0.5))
        assert store.get(made.id, "").status is Status.ACTIVE
        store.create(NEW)
        session = store.get(made.id, "")
        assert (session.status, session.cost_usd, session.turn_count) == (Status.COMPLETED, 0.5, 1)
        store.create(NEW)
        assert store.get(made.id, "") == session


def test_a_claim_that_could_not_be_given_back_is_made_up_for(path: Path) -> None:
    with SessionStore.open(path, lock_timeout_s=0.1) as store:
        made = store.create(NEW, CLAIM)
        with locked(path), pytest.raises(StoreError):
            store.release(made.id, "run-1")
        assert store.resume(made.id, "", Claim("run-2", "worker-1")).turn_count == 0


def test_an_ending_waits_as_long_as_it_must(path: Path) -> None:
    with SessionStore.open(path, lock_timeout_s=0.05) as store:
        made = [store.create(NEW, CLAIM).id for _ in range(3)]
        with locked(path):
            for session_id in made:
                with pytest.raises(StoreError):
                    store.finish(session_id, "run-1", Ending(cost_usd=0.5))
            for _ in range(3):
                with pytest.raises(StoreError):
                    store.create(NEW)
        store.create(NEW)
        assert [store.get(session_id, "").cost_usd for session_id in made] == [0.5] * 3


def test_an_ending_is_made_up_for_before_its_session_goes_on(path: Path) -> None:
    with SessionStore.open(path, lock_timeout_s=0.1) as store:
        made = store.create(NEW, CLAIM)
        with locked(path), pytest.raises(StoreError):
            store.finish(made.id, "run-1", Ending())
        assert store.resume(made.id, "", Claim("run-2", "worker-1")).turn_count == 1


def test_an_ending_is_made_up_for_at_the_close(path: Path) -> None:
    with SessionStore.open(path, lock_timeout_s=0.1) as store:
        made = store.create(NEW, CLAIM)
        with locked(path), pytest.raises(StoreError):
            store.finish(made.id, "run-1", Ending())
    with SessionStore.open(path) as store:
        assert store.get(made.id, "").status is Status.COMPLETED


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file may grow beyond what the database and its log have now."""
    largest = max(file.stat().st_size for file in path.parent.glob(path.name + "*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(store: SessionStore) -> list[str]:
    """Create sessions until that fails; returns those that were acknowledged."""
    acknowledged: list[str] = []
    while len(acknowledged) < 10_000:
        try:
            acknowledged.append(store.create(NewSession(backend="claude", title="x" * 4_000), CLAIM).id)
        except StoreError as error:
            assert "full" in error.message  # noqa: PT017
            return acknowledged
    raise AssertionError("the disk was never full")


def test_a_full_disk(path: Path) -> None:
    with SessionStore.open(path) as store:
        before = [store.create(NEW, CLAIM).id for _ in range(20)]
        with full_disk(path):
            acknowledged = before + fill(store)
            with pytest.raises(StoreError, match="full"):
                store.check()
            assert {session.id for session in store.page("", limit=10_000).sessions} == set(acknowledged)
        assert store.check() == len(acknowledged)
        assert store.finish(before[0], "run-1", Ending()) is not None
    with SessionStore.open(path) as store:
        assert store.count() == len(acknowledged)


def test_a_database_at_its_limit(path: Path) -> None:
    with SessionStore.open(path) as store:
        with store._database._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 40")
        assert fill(store)
        with pytest.raises(StoreError, match="cannot grow: the disk is full"):
            store.check()


def test_a_damaged_file(path: Path) -> None:
    with SessionStore.open(path) as store:
        for _ in range(300):
            store.create(NEW)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreError, match="is damaged"), SessionStore.open(path) as store:
        store.create(NEW)


def test_errors_show_no_prompt(path: Path) -> None:
    with SessionStore.open(path, lock_timeout_s=0.05) as store, locked(path):
        with pytest.raises(StoreError) as caught:
            store.create(NewSession(backend="claude", initial_prompt="my secret"))
        chain: BaseException | None = caught.value
        while chain is not None:
            assert "my secret" not in str(chain)
            chain = chain.__cause__
        assert isinstance(caught.value, ClinvkError)


def test_a_second_store_leaves_the_locks_of_the_first(path: Path) -> None:
    with SessionStore.open(path) as store, store._database.writing():
        with pytest.raises(StoreError, match="is locked"):
            SessionStore.open(path, lock_timeout_s=0.05)
        program = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0.05).execute('BEGIN IMMEDIATE')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert b"database is locked" in done.stderr


def test_closing_twice(path: Path) -> None:
    store = SessionStore.open(path)
    store.close()
    store.close()


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'clinvk\[postgresql\]'"):
        SessionStore.open("postgresql://user@host/name")
