"""How the tables came to be what they are: ordered steps, each run once in the life of a database.

A step that has been released is never changed; what is wrong with it is mended by another one.  A step does not use
:mod:`services.sessions.tables`, which shows the tables as they are after the last.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, text

from services.sessions.errors import StoreError

Migration = Callable[[Connection], None]

_MIGRATION_LOCK = 0x636C696E766B  # any number that is ours: "clinvk"


def _run(connection: Connection, *statements: str) -> None:
    # Ids are found by comparing prefixes, so their order must be that of the bytes, in any language.
    bytewise = 'COLLATE "C"' if connection.dialect.name == "postgresql" else ""
    for statement in statements:
        connection.execute(text(statement.replace("BYTEWISE", bytewise)))


def create_sessions(connection: Connection) -> None:
    """The sessions, with an index for each way of listing them."""
    _run(
        connection,
        """
        CREATE TABLE sessions (
            id TEXT BYTEWISE NOT NULL PRIMARY KEY,
            backend TEXT NOT NULL,
            owner TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL,
            last_used DOUBLE PRECISION NOT NULL,
            status TEXT NOT NULL,
            cli_session_id TEXT NOT NULL,
            working_dir TEXT NOT NULL,
            private_folder BOOLEAN NOT NULL,
            model TEXT NOT NULL,
            initial_prompt TEXT NOT NULL,
            error_message TEXT NOT NULL,
            turn_count INTEGER NOT NULL,
            input_tokens BIGINT NOT NULL,
            output_tokens BIGINT NOT NULL,
            cached_tokens BIGINT NOT NULL,
            cache_write_tokens BIGINT NOT NULL,
            reasoning_tokens BIGINT NOT NULL,
            cost_usd DOUBLE PRECISION,
            tags TEXT NOT NULL,
            title TEXT NOT NULL,
            metadata TEXT NOT NULL,
            parent_id TEXT NOT NULL,
            expired BOOLEAN NOT NULL,
            run_id TEXT NOT NULL,
            worker TEXT NOT NULL
        )
        """,
        "CREATE INDEX sessions_of_owner ON sessions (owner, created_at, id)",
        "CREATE INDEX sessions_of_backend ON sessions (owner, backend, created_at, id)",
        "CREATE INDEX sessions_in_status ON sessions (owner, status, created_at, id)",
        "CREATE INDEX sessions_of_backend_in_status ON sessions (owner, backend, status, created_at, id)",
        "CREATE INDEX sessions_by_use ON sessions (last_used, id)",
        "CREATE INDEX sessions_in_folder ON sessions (working_dir)",
        "CREATE INDEX sessions_of_worker ON sessions (worker) WHERE status = 'active'",
    )


def count_sessions(connection: Connection) -> None:
    """How many sessions there are of each kind, so that no list and no health check has to count them."""
    _run(
        connection,
        """
        CREATE TABLE session_counts (
            owner TEXT NOT NULL,
            backend TEXT NOT NULL,
            status TEXT NOT NULL,
            number BIGINT NOT NULL,
            PRIMARY KEY (owner, backend, status)
        )
        """,
        """
        INSERT INTO session_counts (owner, backend, status, number)
        SELECT owner, backend, status, COUNT(*) FROM sessions GROUP BY owner, backend, status
        """,
    )


def create_turns(connection: Connection) -> None:
    """What was said, for those who want it kept."""
    _run(
        connection,
        """
        CREATE TABLE turns (
            session_id TEXT BYTEWISE NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            prompt TEXT NOT NULL,
            output TEXT NOT NULL,
            at DOUBLE PRECISION NOT NULL,
            input_tokens BIGINT NOT NULL,
            output_tokens BIGINT NOT NULL,
            cached_tokens BIGINT NOT NULL,
            cache_write_tokens BIGINT NOT NULL,
            reasoning_tokens BIGINT NOT NULL,
            error TEXT NOT NULL,
            PRIMARY KEY (session_id, number)
        )
        """,
    )


def create_probe(connection: Connection) -> None:
    """A place to find out whether something can be written."""
    _run(connection, "CREATE TABLE write_probe (filler TEXT NOT NULL)")


MIGRATIONS: tuple[Migration, ...] = (create_sessions, count_sessions, create_turns, create_probe)


def migrate(connection: Connection, name: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Run the steps that this database has not seen, in the transaction of the connection.

    ``name`` is what messages call the database.  Raises StoreError when a newer clinvk has changed it.
    """
    if connection.dialect.name == "postgresql":  # several workers start at once; SQLite's transaction is a lock already
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.execute(text("CREATE TABLE IF NOT EXISTS clinvk_schema (version INTEGER NOT NULL)"))
    version = connection.execute(text("SELECT MAX(version) FROM clinvk_schema")).scalar()
    if version is None:
        connection.execute(text("INSERT INTO clinvk_schema (version) VALUES (0)"))
    done = version or 0
    if done > len(migrations):
        raise StoreError(
            f"the session database {name} has schema {done} and this clinvk knows {len(migrations)}:"
            " it was used by a newer version, install that one"
        )
    for step in migrations[done:]:
        step(connection)
    # Written even if it is the same: SQLite lets a transaction on a read-only file begin.
    connection.execute(text("UPDATE clinvk_schema SET version = :version"), {"version": len(migrations)})
