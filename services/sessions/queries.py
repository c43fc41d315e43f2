"""The questions and changes that the store is made of, each within a transaction of the caller's."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from services.errors import ClinvkError, ErrorCode
from services.sessions.counts import recount
from services.sessions.records import Removed, Session, Status
from services.sessions.tables import column_values, session_of, session_row, sessions

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BEHIND_IDS = "~"  # sorts behind every character of an id

_INSERT = insert(sessions)
_INSERT_UNKNOWN = {
    "sqlite": sqlite.insert(sessions).on_conflict_do_nothing().returning(sessions.c.id),
    "postgresql": postgresql.insert(sessions).on_conflict_do_nothing().returning(sessions.c.id),
}
_UPDATE = update(sessions).where(sessions.c.id == bindparam("its_id"))
_DELETE = delete(sessions).where(sessions.c.id.in_(bindparam("ids", expanding=True)))
_BY_PREFIX = (
    select(sessions)
    .where(sessions.c.id >= bindparam("prefix"), sessions.c.id < bindparam("behind"))
    .order_by(sessions.c.id)
    .limit(2)
)
# As an expression, which keeps SQLite from looking through all sessions of the owner instead of the few of the prefix.
_its_owner = sessions.c.owner.concat("")
_BY_PREFIX_TO_CHANGE = _BY_PREFIX.with_for_update()
_CLAIMED = (
    select(sessions)
    .where(sessions.c.id == bindparam("its_id"), sessions.c.run_id == bindparam("its_run_id"))
    .with_for_update()
)
_OWN_FOLDERS = select(sessions.c.working_dir).where(
    sessions.c.working_dir.in_(bindparam("folders", expanding=True)), sessions.c.private_folder
)
_ACTIVE = text("status = 'active'")  # word for word the condition of the index


def is_session_id(text: str) -> bool:
    """Whether this can be a session's id or the beginning of one."""
    return _ID.fullmatch(text) is not None


def find(connection: Connection, wanted: str, owner: str | None, *, to_change: bool = False) -> Session:
    """The session with this id, or the only one whose id begins so; None stands for any owner.

    Raises ClinvkError ``session_not_found`` or ``ambiguous_id``.
    """
    rows: Sequence[Any] = ()
    if is_session_id(wanted):
        query = _BY_PREFIX_TO_CHANGE if to_change else _BY_PREFIX
        if owner is not None:
            query = query.where(_its_owner == bindparam("owner", owner))
        rows = connection.execute(query, {"prefix": wanted, "behind": wanted + _BEHIND_IDS}).all()
    if not rows:
        shown = wanted if len(wanted) <= 40 else wanted[:40] + "…"
        raise ClinvkError(ErrorCode.SESSION_NOT_FOUND, f"there is no session {shown!r}")
    if len(rows) > 1 and rows[0].id != wanted:
        raise ClinvkError(ErrorCode.AMBIGUOUS_ID, f"more than one session's id begins with {wanted!r}: give more of it")
    return session_of(rows[0])


def find_claimed(connection: Connection, session_id: str, run_id: str) -> Session | None:
    """The session that this run has the claim on."""
    row = connection.execute(_CLAIMED, {"its_id": session_id, "its_run_id": run_id}).first()
    return session_of(row) if row else None


def find_page(
    connection: Connection, owner: str | None, *, backend: str, status: Status | None, limit: int, offset: int
) -> list[Session]:
    """The sessions that match, the newest first: a page stays what it is while sessions are used."""
    query = _page_query(owner is not None, bool(backend), status is not None)
    values = {"owner": owner, "backend": backend, "status": status, "page": limit, "skipped": offset}
    return [session_of(row) for row in connection.execute(query, values)]


def find_unused(connection: Connection, before: float, limit: int) -> list[Session]:
    """Sessions that were last used before a time (Unix seconds) and are not at work, the oldest first."""
    query = (
        select(sessions)
        .where(sessions.c.last_used < before, sessions.c.status != Status.ACTIVE)
        .order_by(sessions.c.last_used, sessions.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [session_of(row) for row in connection.execute(query)]


def own_folders(connection: Connection, folders: Collection[str]) -> set[str]:
    """Those of these folders that are some session's own."""
    return set(connection.execute(_OWN_FOLDERS, {"folders": list(folders)}).scalars())


def active_workers(connection: Connection) -> list[str]:
    """The markers of the workers that sessions are at work under."""
    return list(connection.execute(select(sessions.c.worker).where(_ACTIVE).distinct()).scalars())


def find_active(connection: Connection, workers: Collection[str]) -> list[Session]:
    """The sessions at work under these workers."""
    query = select(sessions).where(_ACTIVE, sessions.c.worker.in_(workers)).order_by(sessions.c.id).with_for_update()
    return [session_of(row) for row in connection.execute(query)]


def add(connection: Connection, session: Session) -> None:
    """Add a session with a new id."""
    connection.execute(_INSERT, session_row(session))
    recount(connection, after=[session])


def add_unknown(connection: Connection, some: Collection[Session]) -> list[Session]:
    """Add those sessions whose ids are not there yet, and return them."""
    rows = [session_row(session) for session in some]
    ids = set(connection.execute(_INSERT_UNKNOWN[connection.dialect.name], rows).scalars())
    added = [session for session in some if session.id in ids]
    recount(connection, after=added)
    return added


def change(connection: Connection, session: Session, **changes: Any) -> Session:
    """Set these fields of a session, and return it as it is then."""
    connection.execute(_UPDATE, {"its_id": session.id, **column_values(changes)})
    changed = replace(session, **changes)
    recount(connection, before=[session], after=[changed])
    return changed


def remove(connection: Connection, some: Collection[Session]) -> list[Removed]:
    """Remove sessions and their turns; tells which of their own folders nobody needs any more."""
    connection.execute(_DELETE, {"ids": [session.id for session in some]})
    own = {session.working_dir for session in some if session.private_folder}
    free = own - own_folders(connection, own) if own else own
    recount(connection, before=some)
    return [
        Removed(session, session.working_dir if session.private_folder and session.working_dir in free else "")
        for session in some
    ]


@cache
def _page_query(of_owner: bool, of_backend: bool, in_status: bool) -> Select[Any]:
    ids = select(sessions.c.id, sessions.c.created_at).limit(bindparam("page")).offset(bindparam("skipped"))
    ids = ids.order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
    if of_owner:
        ids = ids.where(sessions.c.owner == bindparam("owner"))
    if of_backend:
        ids = ids.where(sessions.c.backend == bindparam("backend"))
    if in_status:
        ids = ids.where(sessions.c.status == bindparam("status"))
    # The index alone is enough to skip to the offset; whole rows are read for the page only.
    page = ids.subquery()
    query = select(sessions).join(page, sessions.c.id == page.c.id)
    return query.order_by(page.c.created_at.desc(), page.c.id.desc())
