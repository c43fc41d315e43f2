"""A SQLite file or a PostgreSQL database: opening it, short transactions, and its errors in our words."""

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from services.sessions.errors import StoreError, explain, is_locked
from services.sessions.migrations import migrate

DEFAULT_LOCK_TIMEOUT_S = 5.0
_RETRY_S = 0.02
_IMPATIENT_S = 0.2
_POOL_SIZE = 16
_PROBE_FILLER = "-" * 64 * 1024  # on a full disk there may be room for a byte, and for no session


class Database:
    """Transactions on one database, from any thread.  A context manager; :meth:`close` is idempotent.

    Raises StoreError, from each method, when the database does not do what it is asked to within the lock timeout.
    """

    def __init__(self, engine: Engine, name: str, lock_timeout_s: float) -> None:
        self.dialect = engine.dialect.name
        self._engine = engine
        self._name = name
        self._lock_timeout_s = lock_timeout_s
        self._failure: StoreError | None = None
        self._turn = threading.Lock()
        self._probing = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self._told(), self._engine.connect() as connection:
            self._begin(connection, "BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is carried out whole when the block ends, and not at all when it raises."""
        give_up_s = time.monotonic() + self._patience_s()
        try:
            with self._told(), self._taking_turns(give_up_s), self._engine.begin() as connection:
                self._wait_no_longer_than(connection, give_up_s)
                # One that reads and then writes could be refused half-way: take the right to write at the start.
                self._begin(connection, "BEGIN IMMEDIATE")
                yield connection
        except StoreError as error:
            self._failure = error
            raise
        self._failure = None

    def probe(self) -> None:
        """Raise StoreError when the last change failed and another one would fail too."""
        failure = self._failure
        if failure is None:
            return
        if not self._probing.acquire(blocking=False):  # somebody is finding out
            raise failure
        try:
            with self.writing() as connection:
                connection.execute(text("INSERT INTO write_probe (filler) VALUES (:filler)"), {"filler": _PROBE_FILLER})
            with self.writing() as connection:
                connection.execute(text("DELETE FROM write_probe"))
        finally:
            self._probing.release()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _patience_s(self) -> float:
        # Where a change has just waited in vain, let the next ones find out quickly whether that is over.
        return self._lock_timeout_s if self._failure is None else min(self._lock_timeout_s, _IMPATIENT_S)

    def _wait_no_longer_than(self, connection: Connection, give_up_s: float) -> None:
        if self.dialect == "sqlite":
            left_ms = max(1, round((give_up_s - time.monotonic()) * 1000))
            connection.connection.cursor().execute(f"PRAGMA busy_timeout = {left_ms}")

    def _begin(self, connection: Connection, statement: str) -> None:
        if self.dialect == "sqlite":  # SQLAlchemy leaves it to the driver, which we have told to leave it to us
            connection.connection.cursor().execute(statement)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise explain(error, self._name) from error

    @contextmanager
    def _taking_turns(self, give_up_s: float) -> Iterator[None]:
        # SQLite has one writer at a time, and those that wait for it poll: our threads had better queue up.
        if self.dialect != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=max(0.0, give_up_s - time.monotonic())):
            raise StoreError(f"the session database {self._name} is too busy", passing=True)
        try:
            yield
        finally:
            self._turn.release()


def open_database(url_or_path: str | Path, *, lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S) -> Database:
    """Open, and create or bring up to date, the database of a URL or the SQLite file of a path.

    Connections must not be taken along into a forked process: each worker opens the database for itself.  Raises
    StoreError when it cannot be read and written, or is still locked by somebody after ``lock_timeout_s``.
    """
    url = _url(url_or_path)
    name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    assert name is not None
    if url.get_backend_name() == "sqlite":
        _prepare_file(Path(name))
        engine = _sqlite(url, lock_timeout_s)
    else:
        engine = _postgresql(url, lock_timeout_s)
    database = Database(engine, name, lock_timeout_s)
    try:
        _bring_up_to_date(database, name, give_up_s=time.monotonic() + lock_timeout_s)
    except BaseException:
        database.close()
        raise
    return database


def _bring_up_to_date(database: Database, name: str, give_up_s: float) -> None:
    while True:
        try:
            with database.writing() as connection:
                migrate(connection, name)
            return
        except StoreError as error:
            # Several workers that switch a new file to WAL at once get "locked" without SQLite's having waited.
            if not is_locked(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(_RETRY_S)


def _url(url_or_path: str | Path) -> URL:
    """The URL with the driver that we use.  Raises StoreError for what is neither SQLite nor PostgreSQL."""
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(url_or_path))
    try:
        url = make_url(url_or_path.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise StoreError("session.database_url is not a URL of the form postgresql://user@host/name") from None
    match url.get_backend_name():
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case "sqlite" if url.database and not url.database.startswith((":", "file:")):
            return url.set(drivername="sqlite")
        case "sqlite":
            raise StoreError("session.database_url: a SQLite database must be a file, to be shared by the workers")
        case other:
            raise StoreError(f"session.database_url: {other} is not supported, only sqlite and postgresql are")


def _prepare_file(path: Path) -> None:
    """Make sure that the file is there and that only its owner can read it: it holds prompts."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))
            return
        # What is there is not opened: closing it again would take away the locks of this process's connections.
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            with suppress(PermissionError):  # it is somebody else's
                path.chmod(stat.S_IMODE(mode) & 0o700)
    except OSError as error:
        raise StoreError(f"the session database {path} cannot be opened: {error.strerror}", passing=True) from error


def _sqlite(url: URL, lock_timeout_s: float) -> Engine:
    # WAL: readers and the writer do not wait for each other.  synchronous NORMAL: what is committed survives the death
    # of the server; after a power cut the last moments may be missing, the file is sound.
    arguments = {"timeout": lock_timeout_s, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, pool_size=_POOL_SIZE, max_overflow=-1, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _postgresql(url: URL, lock_timeout_s: float) -> Engine:
    timeout_ms = max(1, int(lock_timeout_s * 1000))
    arguments: dict[str, Any] = {
        "connect_timeout": max(2, round(lock_timeout_s)),  # libpq takes no less than 2 s
        "tcp_user_timeout": timeout_ms,
        "options": f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}",
        "application_name": "clinvk",
    }
    try:
        return create_engine(
            url,
            connect_args={name: value for name, value in arguments.items() if name not in url.query},
            pool_size=_POOL_SIZE,
            pool_timeout=lock_timeout_s,
            pool_pre_ping=True,  # the database may have been restarted since the connection was last used
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise StoreError("PostgreSQL needs the package psycopg: pip install 'clinvk[postgresql]'") from None
