"""The session store: one short transaction per change, at a cost that does not grow with the sessions.

Whoever works on a session holds a *claim* on it: :meth:`SessionStore.create` and :meth:`SessionStore.resume` take it in
one transaction with the look at who has it, and :meth:`SessionStore.finish` gives it back with what came of the run.
"""

import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import insert, select

from services.errors import ClinvkError, ErrorCode
from services.sessions import queries
from services.sessions.counts import total
from services.sessions.database import DEFAULT_LOCK_TIMEOUT_S, Database, open_database
from services.sessions.errors import StoreError
from services.sessions.records import Claim, Ending, NewSession, Page, Removed, Session, Status, Turn
from services.sessions.tables import ERROR_CHARS, PROMPT_CHARS, turn_of, turns, usage_row

INTERRUPTED = "interrupted: the server ended while this run was going on"

Written = TypeVar("Written")

_BATCH = 500
_MOST_UNWRITTEN = 1000


class SessionStore:
    """Sessions and their turns.  Safe to use from any thread; a context manager, :meth:`close` is idempotent.

    Every method raises StoreError when the database fails, within the lock timeout that it was opened with.  An
    ``owner`` of None stands for all of them; another owner's session is one that does not exist.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id
        self._unwritten: deque[Callable[[], object]] = deque(maxlen=_MOST_UNWRITTEN)

    @classmethod
    def open(cls, url_or_path: str | Path, *, lock_timeout_s: float = DEFAULT_LOCK_TIMEOUT_S) -> "SessionStore":
        """The store in a SQLite file, or in the database of a URL; made, or brought up to date, where needed.

        Raises StoreError.  After a fork, each process opens the store for itself.
        """
        return cls(open_database(url_or_path, lock_timeout_s=lock_timeout_s))

    def create(self, new: NewSession, claim: Claim | None = None) -> Session:
        """Add a session: at work under the claim, or idle without one (a fork, say)."""
        self.catch_up()
        now = self._clock()
        session = Session(
            id=self._new_id(),
            backend=new.backend,
            owner=new.owner,
            created_at=now,
            last_used=now,
            status=Status.ACTIVE if claim else Status.COMPLETED,
            cli_session_id=new.cli_session_id,
            working_dir=new.working_dir,
            private_folder=new.private_folder,
            model=new.model,
            initial_prompt=new.initial_prompt[:PROMPT_CHARS],
            tags=new.tags,
            title=new.title,
            metadata=new.metadata,
            parent_id=new.parent_id,
            run_id=claim.run_id if claim else "",
            worker=claim.worker if claim else "",
        )
        with self._database.writing() as connection:
            queries.add(connection, session)
        return session

    def resume(self, wanted: str, owner: str | None, claim: Claim) -> Session:
        """Take the claim on an idle session, given by its id or a unique prefix; of several at once, one gets it.

        Raises ClinvkError ``session_not_found``, ``ambiguous_id``, ``session_busy`` or ``session_expired``.
        """
        self.catch_up()
        with self._database.writing() as connection:
            session = queries.find(connection, wanted, owner, to_change=True)
            _refuse_active(session)
            if session.expired:
                message = f"{session.backend} no longer knows session {session.id}: begin a new one"
                raise ClinvkError(ErrorCode.SESSION_EXPIRED, message)
            return queries.change(
                connection,
                session,
                status=Status.ACTIVE,
                last_used=self._clock(),
                run_id=claim.run_id,
                worker=claim.worker,
            )

    def release(self, session_id: str, run_id: str) -> None:
        """Give the claim back as if it had not been taken: the run did not come about.

        After a StoreError it is kept in memory and given back before the next change that succeeds.
        """
        self._now_or_later(partial(self._release, session_id, run_id))

    def finish(self, session_id: str, run_id: str, ending: Ending) -> Session | None:
        """Give the claim back with what came of the run; None when the run has no claim on the session any more.

        After a StoreError the ending is kept in memory and written before the next change that succeeds.
        """
        return self._now_or_later(partial(self._finish, session_id, run_id, ending, self._clock()))

    def get(self, wanted: str, owner: str | None) -> Session:
        """The session with this id or unique prefix.  Raises ClinvkError ``session_not_found`` or ``ambiguous_id``."""
        with self._database.reading() as connection:
            return queries.find(connection, wanted, owner)

    def page(
        self,
        owner: str | None,
        *,
        backend: str = "",
        status: Status | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Page:
        """A page of the sessions that match, the newest first.  Without an owner it costs more, the more there are."""
        with self._database.reading() as connection:
            found = queries.find_page(connection, owner, backend=backend, status=status, limit=limit, offset=offset)
            return Page(tuple(found), total(connection, owner, backend, status))

    def turns(self, wanted: str, owner: str | None, *, limit: int = 1000, offset: int = 0) -> tuple[Turn, ...]:
        """The turns of a session that were kept, in order.  Raises as :meth:`get` does."""
        with self._database.reading() as connection:
            session = queries.find(connection, wanted, owner)
            query = select(turns).where(turns.c.session_id == session.id).order_by(turns.c.number)
            return tuple(turn_of(row) for row in connection.execute(query.limit(limit).offset(offset)))

    def delete(self, wanted: str, owner: str | None) -> Removed:
        """Remove an idle session and its turns.  Raises as :meth:`get` does, and ClinvkError ``session_busy``."""
        with self._database.writing() as connection:
            session = queries.find(connection, wanted, owner, to_change=True)
            _refuse_active(session)
            return queries.remove(connection, [session])[0]

    def remove_unused(self, before: float) -> Iterator[Removed]:
        """Remove, batch by batch as this is iterated over, the idle sessions last used before a time (Unix seconds)."""
        more = True
        while more:
            with self._database.writing() as connection:
                unused = queries.find_unused(connection, before, _BATCH)
                removed = queries.remove(connection, unused)
            yield from removed
            more = len(unused) == _BATCH

    def own_folders(self, folders: Collection[str]) -> set[str]:
        """Those of these folders that are some session's own."""
        with self._database.reading() as connection:
            return queries.own_folders(connection, folders)

    def interrupt_dead(self, is_alive: Callable[[str], bool]) -> tuple[Session, ...]:
        """Mark as failed the sessions that are at work under a worker that is dead, and return them."""
        with self._database.reading() as connection:
            dead = [worker for worker in queries.active_workers(connection) if not is_alive(worker)]
        if not dead:
            return ()
        with self._database.writing() as connection:
            return tuple(
                queries.change(
                    connection, session, status=Status.ERROR, error_message=INTERRUPTED, run_id="", worker=""
                )
                for session in queries.find_active(connection, dead)
            )

    def adopt(self, some: Iterable[Session]) -> int:
        """Add sessions from elsewhere under their own ids; known ones are left alone.  Tells how many were new."""
        added = 0
        batch: list[Session] = []
        for session in some:
            batch.append(session)
            if len(batch) == _BATCH:
                added += self._adopt(batch)
                batch = []
        return added + self._adopt(batch)

    def count(self) -> int:
        """How many sessions there are."""
        with self._database.reading() as connection:
            return total(connection, None)

    def check(self) -> int:
        """How many sessions there are; raises StoreError also when nothing can be recorded at present."""
        self._database.probe()
        return self.count()

    def catch_up(self) -> None:
        """Write the endings that could not be written, if there are any and that is possible by now."""
        # A claim whose end could not be written (the disk was full) would hold its session until the worker's end.
        with suppress(StoreError, IndexError):
            while True:
                self._now_or_later(self._unwritten.popleft())

    def close(self) -> None:
        """Close the database; endings that could not be written get a last chance."""
        self.catch_up()
        self._database.close()

    def __enter__(self) -> "SessionStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _now_or_later(self, write: Callable[[], Written]) -> Written:
        try:
            return write()
        except StoreError:
            self._unwritten.append(write)
            raise

    def _release(self, session_id: str, run_id: str) -> None:
        with self._database.writing() as connection:
            session = queries.find_claimed(connection, session_id, run_id)
            if session is not None:
                status = Status.ERROR if session.error_message else Status.COMPLETED
                queries.change(connection, session, status=status, run_id="", worker="")

    def _finish(self, session_id: str, run_id: str, ending: Ending, now: float) -> Session | None:
        with self._database.writing() as connection:
            session = queries.find_claimed(connection, session_id, run_id)
            if session is None:
                return None
            number = session.turn_count + 1
            if ending.text is not None:
                row = {"session_id": session.id, "number": number, "at": now, "error": ending.error}
                text = {"prompt": ending.text.prompt, "output": ending.text.output}
                connection.execute(insert(turns), row | text | usage_row(ending.usage))
            return queries.change(
                connection,
                session,
                status=Status.ERROR if ending.error else Status.COMPLETED,
                error_message=ending.error[:ERROR_CHARS],
                last_used=now,
                turn_count=number,
                usage=session.usage + ending.usage,
                cost_usd=session.cost_usd if ending.cost_usd is None else (session.cost_usd or 0) + ending.cost_usd,
                cli_session_id=ending.cli_session_id or session.cli_session_id,
                model=ending.model or session.model,
                expired=session.expired or ending.expired,
                run_id="",
                worker="",
            )

    def _adopt(self, batch: list[Session]) -> int:
        if not batch:
            return 0
        with self._database.writing() as connection:
            return len(queries.add_unknown(connection, batch))


def _refuse_active(session: Session) -> None:
    if session.status is Status.ACTIVE:
        raise ClinvkError(ErrorCode.SESSION_BUSY, f"a run is going on in session {session.id}: wait for its end")
