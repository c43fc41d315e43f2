"""How many sessions there are of each kind, kept up to date by each change.

A sum is over as many rows as there are kinds (owners by backends by states), never over the sessions.
"""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from services.sessions.records import Session, Status
from services.sessions.tables import session_counts

_COLUMNS = session_counts.c


def _added(statement: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    return statement.on_conflict_do_update(
        index_elements=[_COLUMNS.owner, _COLUMNS.backend, _COLUMNS.status],
        set_={"number": _COLUMNS.number + statement.excluded.number},
    )


_ADD = {"sqlite": _added(sqlite.insert(session_counts)), "postgresql": _added(postgresql.insert(session_counts))}


def recount(connection: Connection, *, before: Iterable[Session] = (), after: Iterable[Session] = ()) -> None:
    """Note that sessions have come, gone or changed; the last thing that a transaction does."""
    differences: Counter[tuple[str, str, str]] = Counter()
    differences.update((session.owner, session.backend, session.status) for session in after)
    differences.subtract((session.owner, session.backend, session.status) for session in before)
    rows = [
        {"owner": owner, "backend": backend, "status": status, "number": number}
        # In one order for all: two transactions that lock the same rows must not wait for each other.
        for (owner, backend, status), number in sorted(differences.items())
        if number
    ]
    if rows:
        connection.execute(_ADD[connection.dialect.name], rows)


def total(connection: Connection, owner: str | None, backend: str = "", status: Status | None = None) -> int:
    """How many sessions match; None and "" match all."""
    query = select(func.coalesce(func.sum(_COLUMNS.number), 0))
    if owner is not None:
        query = query.where(_COLUMNS.owner == owner)
    if backend:
        query = query.where(_COLUMNS.backend == backend)
    if status is not None:
        query = query.where(_COLUMNS.status == status)
    return int(connection.execute(query).scalar_one())
