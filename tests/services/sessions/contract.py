"""What a session store does, whatever the database: subclasses give the fixture ``url``."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import create_engine, inspect, text

from services.errors import ClinvkError, ErrorCode
from services.events import TokenUsage
from services.sessions.database import Database, open_database
from services.sessions.errors import StoreError
from services.sessions.migrations import MIGRATIONS, migrate
from services.sessions.records import Claim, Ending, NewSession, Session, Status, TurnText
from services.sessions.store import INTERRUPTED, SessionStore
from services.sessions.tables import LARGEST, metadata
from tests.services.sessions import workers
from tests.services.sessions.model import StoreMachine

CLAIM = Claim(run_id="run-1", worker="worker-1")
OTHER = Claim(run_id="run-2", worker="worker-2")
NEW = NewSession(backend="claude", owner="alice")
DONE = Ending()


def refusal(work: Callable[[], object]) -> ErrorCode:
    with pytest.raises(ClinvkError) as caught:
        work()
    assert not isinstance(caught.value, StoreError), caught.value
    return caught.value.code


class StoreContract:
    @pytest.fixture
    def database(self, url: str | Path) -> Iterator[Database]:
        with open_database(url) as database:
            yield database

    @pytest.fixture
    def store(self, database: Database) -> SessionStore:
        """A store whose clock goes on by a second each time that it is looked at."""
        return SessionStore(database, clock=itertools.count(1_000.0).__next__)

    # a session's life

    def test_a_session_comes_back_as_it_was_made(self, store: SessionStore) -> None:
        new = NewSession(
            backend="codex",
            owner="alice",
            working_dir="/srv/demo",
            private_folder=True,
            cli_session_id="cli-1",
            model="gpt-5",
            initial_prompt="Grüße, 你好 🙂",
            tags=("api", "ünïcode"),
            title="A title",
            metadata={"customer": "Ωmega", "": "x\0y"},
            parent_id="0" * 32,
        )
        made = store.create(new, CLAIM)
        assert len(made.id) == 32
        assert (made.status, made.run_id, made.worker) == (Status.ACTIVE, "run-1", "worker-1")
        assert made.created_at == made.last_used == 1_000.0
        for name in NewSession.__dataclass_fields__:
            assert getattr(made, name) == getattr(new, name)
        assert store.get(made.id, "alice") == made

    def test_without_a_claim_a_session_is_idle(self, store: SessionStore) -> None:
        made = store.create(NEW)
        assert (made.status, made.run_id, made.worker, made.turn_count) == (Status.COMPLETED, "", "", 0)

    def test_the_outcomes_of_runs_add_up(self, store: SessionStore) -> None:
        made = store.create(NEW, CLAIM)
        first = store.finish(
            made.id,
            "run-1",
            Ending(usage=TokenUsage(10, 5, 4, 3, 2), cost_usd=0.25, cli_session_id="cli-1", model="opus"),
        )
        assert first is not None
        assert (first.status, first.run_id, first.worker) == (Status.COMPLETED, "", "")
        resumed = store.resume(made.id, "alice", OTHER)
        assert (resumed.status, resumed.run_id, resumed.turn_count) == (Status.ACTIVE, "run-2", 1)
        second = store.finish(made.id, "run-2", Ending(error="no luck", usage=TokenUsage(1, 1, 1, 1, 1), cost_usd=0.5))
        assert second is not None
        assert second == store.get(made.id, "alice")
        assert (second.status, second.error_message, second.turn_count) == (Status.ERROR, "no luck", 2)
        assert (second.usage, second.cost_usd) == (TokenUsage(11, 6, 5, 4, 3), 0.75)
        assert (second.cli_session_id, second.model) == ("cli-1", "opus")
        assert made.last_used < first.last_used < resumed.last_used < second.last_used
        assert second.created_at == made.created_at

    def test_an_error_is_forgotten_when_a_run_succeeds(self, store: SessionStore) -> None:
        made = store.create(NEW, CLAIM)
        store.finish(made.id, "run-1", Ending(error="no luck"))
        store.resume(made.id, "alice", OTHER)
        finished = store.finish(made.id, "run-2", DONE)
        assert finished is not None
        assert (finished.status, finished.error_message, finished.cost_usd) == (Status.COMPLETED, "", None)

    def test_a_session_at_work_is_busy(self, store: SessionStore) -> None:
        made = store.create(NEW, CLAIM)
        assert refusal(lambda: store.resume(made.id, "alice", OTHER)) is ErrorCode.SESSION_BUSY
        assert refusal(lambda: store.delete(made.id, "alice")) is ErrorCode.SESSION_BUSY
        assert store.get(made.id, "alice") == made

    def test_a_session_that_the_cli_forgot_is_expired(self, store: SessionStore) -> None:
        made = store.create(NEW, CLAIM)
        finished = store.finish(made.id, "run-1", Ending(error="unknown session", expired=True))
        assert finished is not None
        assert finished.expired
        assert refusal(lambda: store.resume(made.id, "alice", OTHER)) is ErrorCode.SESSION_EXPIRED
        assert store.get(made.id, "alice") == finished

    def test_only_the_run_with_the_claim_can_end_it(self, store: SessionStore) -> None:
        made = store.create(NEW, CLAIM)
        assert store.finish(made.id, "run-2", DONE) is None
        assert store.finish("f" * 32, "run-1", DONE) is None
        assert store.get(made.id, "alice") == made
        assert store.finish(made.id, "run-1", DONE) is not None
        assert store.finish(made.id, "run-1", Ending(cost_usd=1.0)) is None
        assert store.get(made.id, "alice").cost_usd is None

    def test_turns_are_kept_when_given(self, store: SessionStore) -> None:
        made = store.create(NEW, CLAIM)
        store.finish(made.id, "run-1", Ending(text=TurnText("one", "1"), usage=TokenUsage(3, 2, 1, 0, 0)))
        store.resume(made.id, "alice", CLAIM)
        store.finish(made.id, "run-1", DONE)
        store.resume(made.id, "alice", CLAIM)
        store.finish(made.id, "run-1", Ending(error="broke", text=TurnText("three", "")))
        turns = store.turns(made.id[:12], "alice")
        assert [(turn.number, turn.prompt, turn.output, turn.error) for turn in turns] == [
            (1, "one", "1", ""),
            (3, "three", "", "broke"),
        ]
        assert turns[0].usage == TokenUsage(3, 2, 1, 0, 0)
        assert store.turns(made.id, "alice", limit=1, offset=1) == turns[1:]
        assert refusal(lambda: store.turns(made.id, "bob")) is ErrorCode.SESSION_NOT_FOUND

    def test_turns_go_with_their_session(self, store: SessionStore, database: Database) -> None:
        made = store.create(NEW, CLAIM)
        store.finish(made.id, "run-1", Ending(text=TurnText("one", "1")))
        store.delete(made.id, "alice")
        with database.reading() as connection:
            assert connection.execute(text("SELECT COUNT(*) FROM turns")).scalar() == 0

    # what no database should be asked to hold

    def test_any_text_can_be_stored(self, store: SessionStore) -> None:
        nasty = "a\0b \ud800 '; DROP TABLE sessions; -- % _ \\"
        new = replace(NEW, model=nasty, working_dir=nasty, title=nasty, tags=(nasty,), metadata={nasty: nasty})
        made = store.create(new, CLAIM)
        store.finish(made.id, "run-1", Ending(error=nasty, text=TurnText(nasty, nasty)))
        kept = nasty.replace("\0", "\ufffd").replace("\ud800", "?")
        session = store.get(made.id, "alice")
        assert (session.model, session.working_dir, session.title, session.error_message) == (kept,) * 4
        in_json = nasty.replace("\ud800", "?")
        assert (session.tags, session.metadata) == ((in_json,), {in_json: in_json})
        [turn] = store.turns(made.id, "alice")
        assert (turn.prompt, turn.output, turn.error) == (kept,) * 3

    def test_long_texts_are_cut(self, store: SessionStore) -> None:
        made = store.create(replace(NEW, initial_prompt="p" * 100_000), CLAIM)
        store.finish(made.id, "run-1", Ending(error="e" * 100_000, text=TurnText("p" * 100_000, "o" * 100_000)))
        session = store.get(made.id, "alice")
        assert (len(session.initial_prompt), len(session.error_message)) == (1_000, 8_000)
        [turn] = store.turns(made.id, "alice")
        assert (len(turn.prompt), len(turn.output)) == (100_000, 100_000)

    def test_absurd_numbers_of_tokens_do_not_break_it(self, store: SessionStore) -> None:
        made = store.create(NEW, CLAIM)
        store.finish(made.id, "run-1", Ending(usage=TokenUsage(2**70, -5), cost_usd=1e300))
        assert store.get(made.id, "alice").usage == TokenUsage(LARGEST, 0)

    # finding

    def test_another_owners_session_does_not_exist(self, store: SessionStore) -> None:
        made = store.create(NEW)
        for work in (
            lambda: store.get(made.id, "bob"),
            lambda: store.resume(made.id, "bob", CLAIM),
            lambda: store.delete(made.id, "bob"),
            lambda: store.get(made.id, ""),
        ):
            assert refusal(work) is ErrorCode.SESSION_NOT_FOUND
        assert store.page("bob").total == 0
        assert store.get(made.id, None) == made

    def test_a_unique_prefix_is_enough(self, database: Database) -> None:
        ids = iter(["aa11", "aa12", "ab", "ab-c", "ab_d", "abz", "aB"])
        store = SessionStore(database, new_id=ids.__next__)
        made = [store.create(NEW) for _ in range(7)]
        foreign = SessionStore(database, new_id=lambda: "aa13")
        foreign.create(replace(NEW, owner="bob"))
        assert store.get("aa11", "alice") == made[0]
        assert store.get("aa12", "alice") == made[1]
        assert store.get("ab", "alice") == made[2]  # the whole id wins over those that begin with it
        assert store.get("ab-", "alice") == made[3]
        assert store.get("abz", "alice") == made[5]
        assert store.get("aB", "alice") == made[6]
        assert store.get("aa", "bob").id == "aa13"  # what others have makes nothing ambiguous
        for prefix in ("a", "aa", "aa1"):
            assert refusal(partial(store.get, prefix, "alice")) is ErrorCode.AMBIGUOUS_ID
            assert refusal(partial(store.resume, prefix, "alice", CLAIM)) is ErrorCode.AMBIGUOUS_ID
            assert refusal(partial(store.delete, prefix, "alice")) is ErrorCode.AMBIGUOUS_ID
        assert refusal(lambda: store.get("ac", "alice")) is ErrorCode.SESSION_NOT_FOUND

    @pytest.mark.parametrize(
        "wanted",
        [
            "",
            " ",
            "%",
            "_",
            "a%",
            "a_",
            "*",
            "../etc/passwd",
            "a/b",
            "a\0",
            "é",
            "\ud800",
            "~",
            "a~",
            "f" * 10_000,
            "'",
        ],
        ids=ascii,
    )
    def test_odd_ids_find_nothing(self, store: SessionStore, wanted: str) -> None:
        store.create(NEW)
        assert refusal(lambda: store.get(wanted, "alice")) is ErrorCode.SESSION_NOT_FOUND
        assert refusal(lambda: store.delete(wanted, None)) is ErrorCode.SESSION_NOT_FOUND
        assert store.count() == 1

    def test_pages_are_filtered_and_the_newest_come_first(self, store: SessionStore) -> None:
        made = []
        for number in range(12):
            session = store.create(
                NewSession(backend=("claude", "codex", "gemini")[number % 3], owner=("alice", "bob")[number % 2]), CLAIM
            )
            if number % 4:
                store.finish(session.id, "run-1", Ending(error="x" if number % 4 == 1 else ""))
            made.append(store.get(session.id, None))
        made.reverse()
        for owner, backend, status in itertools.product(
            (None, "alice", "bob", "nobody"), ("", "claude", "codex", "none"), (None, *Status)
        ):
            expected = tuple(
                session
                for session in made
                if owner in (None, session.owner)
                and backend in ("", session.backend)
                and status in (None, session.status)
            )
            page = store.page(owner, backend=backend, status=status)
            assert (page.sessions, page.total) == (expected, len(expected))
            page = store.page(owner, backend=backend, status=status, limit=2, offset=1)
            assert (page.sessions, page.total) == (expected[1:3], len(expected))

    def test_sessions_made_at_the_same_moment_keep_their_order(self, database: Database) -> None:
        store = SessionStore(database, clock=lambda: 1_000.0)
        ids = {store.create(NEW).id for _ in range(20)}
        paged = [store.page("alice", limit=1, offset=offset).sessions[0].id for offset in range(20)]
        assert paged == sorted(ids, reverse=True)

    # removing

    def test_a_deleted_session_is_gone(self, store: SessionStore) -> None:
        made = store.create(replace(NEW, working_dir="/srv/own", private_folder=True))
        kept = store.create(NEW)
        removed = store.delete(made.id[:20], "alice")
        assert (removed.session, removed.folder) == (made, "/srv/own")
        assert refusal(lambda: store.get(made.id, "alice")) is ErrorCode.SESSION_NOT_FOUND
        assert (store.page("alice").sessions, store.count()) == ((kept,), 1)

    def test_a_folder_is_free_when_its_last_session_goes(self, store: SessionStore) -> None:
        own = replace(NEW, working_dir="/srv/own", private_folder=True)
        first = store.create(own)
        fork = store.create(replace(own, parent_id=first.id))
        public = store.create(replace(own, private_folder=False))
        assert store.delete(public.id, "alice").folder == ""
        assert store.delete(first.id, "alice").folder == ""
        assert store.delete(fork.id, "alice").folder == "/srv/own"

    def test_unused_sessions_are_removed(self, database: Database) -> None:
        now = itertools.count(0.0, 100.0)
        store = SessionStore(database, clock=now.__next__)
        own = replace(NEW, private_folder=True)
        made = [store.create(replace(own, working_dir=f"/srv/{n}"), CLAIM if n == 1 else None) for n in range(6)]
        shared = store.create(replace(own, working_dir="/srv/0"))
        removed = list(store.remove_unused(400.0))
        assert [entry.session for entry in removed] == [made[0], made[2], made[3]]
        assert [entry.folder for entry in removed] == ["", "/srv/2", "/srv/3"]
        assert {session.id for session in store.page("alice").sessions} == {made[n].id for n in (1, 4, 5)} | {shared.id}
        assert store.count() == 4
        assert list(store.remove_unused(400.0)) == []

    def test_many_unused_sessions_are_removed_in_batches(self, store: SessionStore) -> None:
        store.adopt(
            Session(id=f"{n:032x}", backend="b", owner="", created_at=1, last_used=n, status=Status.COMPLETED)
            for n in range(1_201)
        )
        assert [entry.session.last_used for entry in store.remove_unused(1_200)] == list(range(1_200))
        assert (store.count(), store.page("").total) == (1, 1)

    # crashes

    def test_sessions_of_dead_workers_are_interrupted(self, store: SessionStore) -> None:
        dead = store.create(NEW, CLAIM)
        idle = store.create(NEW)
        living = store.create(replace(NEW, owner="bob"), OTHER)
        [interrupted] = store.interrupt_dead(lambda worker: worker == "worker-2")
        assert interrupted == store.get(dead.id, "alice")
        assert (interrupted.status, interrupted.error_message) == (Status.ERROR, INTERRUPTED)
        assert store.get(idle.id, "alice") == idle
        assert store.get(living.id, "bob") == living
        assert store.finish(dead.id, "run-1", DONE) is None
        assert store.resume(dead.id, "alice", OTHER).status is Status.ACTIVE
        assert store.interrupt_dead(lambda worker: worker == "worker-2") == ()

    def test_asked_about_live_workers_only(self, store: SessionStore) -> None:
        finished = store.create(NEW, CLAIM)
        store.finish(finished.id, "run-1", DONE)
        store.create(NEW, OTHER)
        store.create(NEW, replace(OTHER, run_id="run-3"))
        asked: list[str] = []
        store.interrupt_dead(lambda worker: asked.append(worker) or True)  # type: ignore[func-returns-value]
        assert asked == ["worker-2"]

    # several at once

    def test_of_many_simultaneous_claims_one_wins(self, store: SessionStore, database: Database) -> None:
        for _ in range(5):
            made = store.create(NEW)
            barrier = threading.Barrier(6)

            def claim(number: int, its_id: str = made.id, start: threading.Barrier = barrier) -> ErrorCode | str:
                run = Claim(f"run-{number}", "w")
                start.wait()
                try:
                    return store.resume(its_id, "alice", run).run_id
                except ClinvkError as error:
                    return error.code

            with ThreadPoolExecutor(6) as pool:
                results = list(pool.map(claim, range(6)))
            [winner] = [result for result in results if result is not ErrorCode.SESSION_BUSY]
            assert store.get(made.id, "alice").run_id == winner

    def test_processes_that_write_at_once_lose_nothing(self, url: str | Path, store: SessionStore) -> None:
        shared = [store.create(NEW).id for _ in range(2)]
        reports = workers.all_at_once([("write", url, number, *shared) for number in range(4)])
        acknowledged = [session_id for report in reports for session_id in report.created]
        assert len(acknowledged) == len(set(acknowledged)) == 4 * workers.SESSIONS
        page = store.page("alice", limit=1_000)
        assert {session.id for session in page.sessions} == {*acknowledged, *shared}
        assert page.total == store.count() == len(acknowledged) + 2
        for session_id in shared:
            wins = sum(report.wins.count(session_id) for report in reports)
            session = store.get(session_id, "alice")
            assert (session.turn_count, session.usage.input_tokens, session.status) == (wins, wins, Status.COMPLETED)

    def test_workers_that_open_a_new_database_at_once_agree(self, url: str | Path) -> None:
        reports = workers.all_at_once([("create", url)] * 4)
        created = {session_id for report in reports for session_id in report.created}
        with SessionStore.open(url) as store:
            assert store.count() == len(created) == 4

    # migrations

    def test_migrated_tables_are_those_of_the_queries(self, database: Database) -> None:
        with database.reading() as connection:
            found = inspect(connection)
            for table in metadata.tables.values():
                columns = {column["name"]: column for column in found.get_columns(table.name)}
                assert list(columns) == list(table.c.keys())
                for column in table.c:
                    assert columns[column.name]["nullable"] == column.nullable, column
                    kind = columns[column.name]["type"]
                    assert kind._type_affinity is column.type._type_affinity, (column, kind)
                keys = [column.name for column in table.primary_key]
                assert found.get_pk_constraint(table.name)["constrained_columns"] == keys

    @pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
    def test_every_earlier_version_is_brought_up_to_date(
        self, empty_database: Database, url: str, version: int
    ) -> None:
        with empty_database.writing() as connection:
            migrate(connection, "a test's", MIGRATIONS[:version])
            if version:
                connection.execute(text(OLD_SESSION), {"yes": True, "no": False})
            if version >= 2:
                connection.execute(text("INSERT INTO session_counts VALUES ('alice', 'claude', 'completed', 1)"))
        with SessionStore.open(url) as store:
            assert store.count() == store.page("alice", status=Status.COMPLETED).total == (1 if version else 0)
            if version:
                session = store.resume("0ld", "alice", CLAIM)
                assert (session.metadata, session.tags, session.private_folder) == ({"a": "b"}, ("api",), True)
                store.finish("0ld", "run-1", Ending(text=TurnText("hello", "world")))
                assert [turn.number for turn in store.turns("0ld", "alice")] == [8]
        with SessionStore.open(url) as again:
            assert again.count() == (1 if version else 0)

    def test_a_migration_that_fails_leaves_nothing(self, empty_database: Database) -> None:
        def fails(connection: object) -> None:
            raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError), empty_database.writing() as connection:
            migrate(connection, "a test's", (*MIGRATIONS, fails))
        with empty_database.reading() as connection:
            assert inspect(connection).get_table_names() == []

    def test_a_newer_schema_is_left_alone(self, url: str, database: Database) -> None:
        with database.writing() as connection:
            connection.execute(text("UPDATE clinvk_schema SET version = 99"))
        with pytest.raises(StoreError, match=r"schema 99 .* newer version"):
            SessionStore.open(url)

    def test_any_order_of_changes(self, database: Database) -> None:
        machine = settings(
            max_examples=30, stateful_step_count=25, suppress_health_check=list(HealthCheck), deadline=None
        )
        run_state_machine_as_test(partial(StoreMachine, database), settings=machine)  # type: ignore[arg-type]

    @pytest.fixture
    def empty_database(self, url: str | Path) -> Iterator[Database]:
        """The database as it is before the first start."""
        plain = f"sqlite:///{url}" if isinstance(url, Path) else url
        with Database(create_engine(plain), "a test's", 5.0) as database:
            yield database


OLD_SESSION = """
INSERT INTO sessions VALUES (
    '0ld', 'claude', 'alice', 1.5, 2.5, 'completed', 'cli-1', '/srv/demo', :yes, 'opus', 'hi', '', 7,
    1, 2, 3, 4, 5, NULL, '["api"]', '', '{"a": "b"}', '', :no, '', ''
)
"""
