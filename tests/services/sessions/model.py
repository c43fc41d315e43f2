"""A store and a dictionary, and any order of changes made to both."""

import itertools
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import text

from services.errors import ClinvkError, ErrorCode
from services.events import TokenUsage
from services.sessions.database import Database
from services.sessions.records import Claim, Ending, NewSession, Session, Status
from services.sessions.store import INTERRUPTED, SessionStore

OWNERS = st.sampled_from(["", "alice"])
BACKENDS = st.sampled_from(["claude", "codex"])
WORKERS = st.sampled_from(["w1", "w2"])
PREFIXES = st.text("ab", min_size=1, max_size=4)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self, database: Database) -> None:
        super().__init__()
        with database.writing() as connection:
            for table in ("turns", "sessions", "session_counts"):
                connection.execute(text(f"DELETE FROM {table}"))
        self.now = itertools.count(1.0)
        ids = ("".join(letters) for letters in itertools.product("ab", repeat=4))
        self.store = SessionStore(database, clock=self.now.__next__, new_id=ids.__next__)
        self.model: dict[str, Session] = {}
        self.runs = itertools.count()

    def next_run(self, worker: str) -> Claim:
        return Claim(f"run-{next(self.runs)}", worker)

    def expected(self, wanted: str, owner: str) -> Session | ErrorCode:
        found = [s for s in self.model.values() if s.id.startswith(wanted) and s.owner == owner]
        if len(found) == 1:
            return found[0]
        return ErrorCode.AMBIGUOUS_ID if found else ErrorCode.SESSION_NOT_FOUND

    @initialize()
    def begin_empty(self) -> None:
        assert self.store.count() == 0

    @rule(owner=OWNERS, backend=BACKENDS, worker=st.none() | WORKERS, folder=st.sampled_from(["", "/a", "/b"]))
    def create(self, owner: str, backend: str, worker: str | None, folder: str) -> None:
        claim = self.next_run(worker) if worker else None
        new = NewSession(backend=backend, owner=owner, working_dir=folder, private_folder=bool(folder))
        try:
            session = self.store.create(new, claim)
        except StopIteration:  # the sixteen ids are used up
            return
        assert (session.backend, session.owner, session.working_dir) == (backend, owner, folder)
        self.model[session.id] = session

    @rule(wanted=PREFIXES, owner=OWNERS, worker=WORKERS)
    def resume(self, wanted: str, owner: str, worker: str) -> None:
        claim = self.next_run(worker)
        expected = self.expected(wanted, owner)
        if isinstance(expected, Session):
            if expected.status is Status.ACTIVE:
                expected = ErrorCode.SESSION_BUSY
            elif expected.expired:
                expected = ErrorCode.SESSION_EXPIRED
        try:
            session = self.store.resume(wanted, owner, claim)
        except ClinvkError as error:
            assert error.code is expected  # noqa: PT017
            return
        assert isinstance(expected, Session)
        self.model[session.id] = replace(
            expected, status=Status.ACTIVE, run_id=claim.run_id, worker=worker, last_used=session.last_used
        )

    @rule(data=st.data(), error=st.sampled_from(["", "broke"]), expired=st.booleans())
    def finish(self, data: st.DataObject, error: str, expired: bool) -> None:
        active = [session for session in self.model.values() if session.status is Status.ACTIVE]
        if not active:
            return
        session = data.draw(st.sampled_from(active))
        ending = Ending(error=error, expired=expired, usage=TokenUsage(5, 4, 3, 2, 1), cost_usd=0.5, model="opus")
        finished = self.store.finish(session.id, session.run_id, ending)
        assert finished is not None
        self.model[session.id] = replace(
            session,
            status=Status.ERROR if error else Status.COMPLETED,
            error_message=error,
            last_used=finished.last_used,
            turn_count=session.turn_count + 1,
            usage=session.usage + ending.usage,
            cost_usd=(session.cost_usd or 0) + 0.5,
            model="opus",
            expired=expired,
            run_id="",
            worker="",
        )

    @rule(wanted=PREFIXES, owner=OWNERS)
    def delete(self, wanted: str, owner: str) -> None:
        expected = self.expected(wanted, owner)
        if isinstance(expected, Session) and expected.status is Status.ACTIVE:
            expected = ErrorCode.SESSION_BUSY
        try:
            removed = self.store.delete(wanted, owner)
        except ClinvkError as error:
            assert error.code is expected  # noqa: PT017
            return
        assert removed.session == expected
        del self.model[removed.session.id]
        in_use = {session.working_dir for session in self.model.values()}
        assert removed.folder == ("" if removed.session.working_dir in in_use else removed.session.working_dir)

    @rule(age=st.integers(0, 30))
    def remove_unused(self, age: int) -> None:
        before = next(self.now) - age
        old = [s for s in self.model.values() if s.last_used < before and s.status is not Status.ACTIVE]
        removed = [entry.session for entry in self.store.remove_unused(before)]
        assert removed == sorted(old, key=lambda session: session.last_used)
        for session in removed:
            del self.model[session.id]

    @rule(dead=WORKERS)
    def interrupt(self, dead: str) -> None:
        for session in self.store.interrupt_dead(lambda worker: worker != dead):
            assert self.model[session.id].worker == dead
        for session in list(self.model.values()):
            if session.worker == dead:
                changed = replace(session, status=Status.ERROR, error_message=INTERRUPTED, run_id="", worker="")
                self.model[session.id] = changed

    @rule(owner=OWNERS, backend=st.just("") | BACKENDS, status=st.none() | st.sampled_from(list(Status)))
    def page(self, owner: str, backend: str, status: Status | None) -> None:
        expected = [
            session
            for session in reversed(self.model.values())
            if session.owner == owner and backend in ("", session.backend) and status in (None, session.status)
        ]
        page = self.store.page(owner, backend=backend, status=status, limit=3, offset=1)
        assert (list(page.sessions), page.total) == (expected[1:4], len(expected))

    @invariant()
    def nothing_is_lost(self) -> None:
        page = self.store.page(None)
        assert {session.id: session for session in page.sessions} == self.model
        assert page.total == self.store.count() == len(self.model)
