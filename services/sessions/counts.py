"""How many sessions there are of each kind, kept up to date by each change.

A sum is over as many rows as there are kinds (owners by backends by states), never over the sessions.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select
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
    query = _total_query(owner is not None, bool(backend), status is not None)
    return int(connection.execute(query, {"owner": owner, "backend": backend, "status": status}).scalar_one())


@cache
def _total_query(of_owner: bool, of_backend: bool, in_status: bool) -> Select[Any]:
    query = select(func.coalesce(func.sum(_COLUMNS.number), 0))
    if of_owner:
        query = query.where(_COLUMNS.owner == bindparam("owner"))
    if of_backend:
        query = query.where(_COLUMNS.backend == bindparam("backend"))
    if in_status:
        query = query.where(_COLUMNS.status == bindparam("status"))
    return query
