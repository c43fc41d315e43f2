"""Sessions over HTTP: recorded, continued, listed, copied, removed."""

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from services.backends.base import Errand, Options, Spawn
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Failed, Init, Message, Outcome
from services.prompts import Prompt
from services.sessions.store import SessionStore
from tests.support.fake_runs import USAGE, Batch, FakeBackend, FakeRun, FakeRuns, Script, fake_app

HELLO = {"backend": "claude", "prompt": "hello\nworld", "metadata": {"ticket": "42"}}
FIRST: Sequence[Batch] = [[Init("model-1", "cli-1")], [Message("Hi")], [Done(usage=USAGE, cost_usd=0.25)]]


class ResumableBackend(FakeBackend):
    """A backend whose conversations can be kept."""

    can_resume = True
    folder_bound = True

    def fork(self, options: Options) -> Errand:
        return Errand(spawn=Spawn(("fork",), options.workdir))

    def forget(self, options: Options) -> Errand:
        return Errand(leftovers=("{session}",))


class SessionFakeRuns(FakeRuns):
    """Fake runs with errands that are noted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.backends = {"claude": ResumableBackend("claude"), "gemini": FakeBackend("gemini")}
        self.settings = {name: self.settings[name] for name in self.backends}
        self._planner._backends = self.backends
        self.errands: list[tuple[Options, Errand]] = []
        self.errand_outcome: Outcome = Done()

    def perform(self, prompt: Prompt, options: Options, errand: Errand) -> tuple[Outcome, str]:
        self.errands.append((options, errand))
        return self.errand_outcome, f"{options.resume}-copy"


@pytest.fixture
def runs() -> SessionFakeRuns:
    return SessionFakeRuns({"claude": FIRST, "gemini": FIRST})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def client(runs: SessionFakeRuns, home: Path) -> FlaskClient:
    return fake_app(runs, home).test_client()


def ask(client: FlaskClient, status: int = 200, **fields: Any) -> Any:
    response = client.post("/api/v1/prompt", json=HELLO | fields)
    assert response.status_code == status, response.text
    return response.json


def test_a_prompt_is_recorded(client: FlaskClient, home: Path) -> None:
    answer = ask(client)
    session = client.get(f"/api/v1/sessions/{answer['session_id']}").json
    assert session is not None
    times = {session.pop("created_at"), session.pop("last_used")}
    assert all(time.endswith("Z") for time in times)
    folder = session.pop("working_dir")
    assert Path(folder).parent == home / "work"
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert session == {
        "id": answer["session_id"],
        "backend": "claude",
        "model": "model-1",
        "initial_prompt": "hello\nworld",
        "status": "completed",
        "turn_count": 1,
        "token_usage": {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2},
        "cost_usd": 0.25,
        "tags": ["api"],
        "title": "hello",
        "metadata": {"ticket": "42"},
        "error_message": "",
        "parent_id": "",
    }


def test_a_second_prompt_continues_and_adds_up(client: FlaskClient, runs: SessionFakeRuns) -> None:
    session_id = ask(client)["session_id"]
    again = ask(client, session_id=session_id[:10], model="another")
    assert again["session_id"] == session_id
    first, second = [run.plan.options for run in runs.started]
    assert (first.keep_session, first.resume, first.model) == (True, "", "")
    assert (second.keep_session, second.resume, second.model) == (True, "cli-1", "another")
    assert first.workdir == second.workdir
    session = client.get(f"/api/v1/sessions/{session_id}").json
    assert session is not None
    assert (session["turn_count"], session["cost_usd"], session["token_usage"]["input_tokens"]) == (2, 0.5, 20)


def test_the_session_is_in_every_event_and_recorded_before_the_last(client: FlaskClient) -> None:
    response = client.post("/api/v1/prompt", json=HELLO | {"output_format": "stream-json"}, buffered=False)
    lines = response.data.splitlines()
    ids = {client.application.json.loads(line)["session_id"] for line in lines}
    assert len(ids) == 1
    session = client.get(f"/api/v1/sessions/{ids.pop()}").json
    assert session is not None
    assert session["status"] == "completed"


def test_an_ephemeral_prompt_is_not_recorded(client: FlaskClient) -> None:
    assert "session_id" not in ask(client, ephemeral=True)
    assert client.get("/api/v1/sessions").json == {"sessions": [], "total": 0, "limit": 100, "offset": 0}


def test_a_dry_run_is_recorded(client: FlaskClient, runs: SessionFakeRuns, home: Path) -> None:
    answer = ask(client, dry_run=True)
    session = client.get(f"/api/v1/sessions/{answer['session_id']}").json
    assert session is not None
    assert (session["turn_count"], session["status"]) == (0, "completed")
    assert runs.started == []
    assert not (home / "work").exists()


@pytest.mark.parametrize("session_id", ["unknown", "../../etc/passwd", "%", "_", "é" * 50, "x" * 10_000, "a'--", "z"])
def test_sessions_that_do_not_exist(client: FlaskClient, runs: SessionFakeRuns, session_id: str) -> None:
    ask(client)
    error = ask(client, 404, session_id=session_id)
    assert (error["error"], error["errors"][0]["location"]) == ("session_not_found", "session_id")
    assert len(runs.started) == 1
    assert client.get(f"/api/v1/sessions/{session_id.replace('/', '%2F')}").status_code == 404


def test_what_does_not_fit_the_session(client: FlaskClient, tmp_path: Path) -> None:
    session_id = ask(client)["session_id"]
    assert ask(client, 400, session_id=session_id, backend="gemini")["errors"][0]["location"] == "backend"
    other = tmp_path / "other"
    other.mkdir()
    assert ask(client, 400, session_id=session_id, workdir=str(other))["errors"][0]["location"] == "workdir"
    cannot = ask(client, backend="gemini")["session_id"]
    assert ask(client, 400, session_id=cannot, backend="gemini")["errors"][0]["location"] == "session_id"


def test_one_run_at_a_time(client: FlaskClient, runs: SessionFakeRuns) -> None:
    session_id = ask(client)["session_id"]
    going, let_go = threading.Event(), threading.Event()

    def wait(_: FakeRun) -> Batch:
        going.set()
        assert let_go.wait(10)
        return []

    runs.scripts["claude"] = [wait, *FIRST]
    other = client.application.test_client()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask(other, session_id=session_id)))
    thread.start()
    assert going.wait(10)
    assert ask(client, 409, session_id=session_id)["error"] == "session_busy"
    assert client.delete(f"/api/v1/sessions/{session_id}").status_code == 409
    assert client.post(f"/api/v1/sessions/{session_id}/fork", json={}).status_code == 409
    active = client.get("/api/v1/sessions?status=active").json
    assert active is not None
    assert active["total"] == 1
    let_go.set()
    thread.join(10)
    assert answers[0]["exit_code"] == 0
    assert ask(client, session_id=session_id)["exit_code"] == 0


def test_a_run_that_does_not_start_leaves_the_session_as_it_was(client: FlaskClient, runs: SessionFakeRuns) -> None:
    session_id = ask(client)["session_id"]
    before = client.get(f"/api/v1/sessions/{session_id}").json
    runs.scripts["claude"] = ClinvkError(ErrorCode.OVERLOADED, "no slot", retry_after_s=1)
    assert ask(client, 503, session_id=session_id)["error"] == "overloaded"
    after = client.get(f"/api/v1/sessions/{session_id}").json
    assert before is not None
    assert after is not None
    assert {**after, "last_used": ""} == {**before, "last_used": ""}


def test_a_claim_that_cannot_be_given_back_hides_no_error(
    client: FlaskClient, runs: SessionFakeRuns, home: Path
) -> None:
    access = client.application.extensions["clinvk"].store
    access._store = SessionStore.open(home / "sessions.db", lock_timeout_s=0.1)
    session_id = ask(client)["session_id"]

    class Refused(dict[str, Script]):
        def __getitem__(self, _: str) -> Script:
            lock.execute("BEGIN IMMEDIATE")
            return ClinvkError(ErrorCode.OVERLOADED, "no slot", retry_after_s=1)

    with closing(sqlite3.connect(home / "sessions.db", isolation_level=None, check_same_thread=False)) as lock:
        scripts, runs.scripts = runs.scripts, Refused()
        assert ask(client, 503, session_id=session_id)["message"] == "no slot"
        lock.execute("ROLLBACK")
    runs.scripts = scripts
    access().catch_up()
    assert ask(client, session_id=session_id)["exit_code"] == 0


def test_a_new_session_that_does_not_start_leaves_nothing(
    client: FlaskClient, runs: SessionFakeRuns, home: Path
) -> None:
    runs.scripts["claude"] = ClinvkError(ErrorCode.OVERLOADED, "no slot", retry_after_s=1)
    ask(client, 503)
    assert list((home / "work").iterdir()) == []
    listed = client.get("/api/v1/sessions").json
    assert listed is not None
    assert listed["total"] == 0


def test_a_session_that_the_cli_has_forgotten(client: FlaskClient, runs: SessionFakeRuns) -> None:
    session_id = ask(client)["session_id"]
    runs.scripts["claude"] = [[Failed(ErrorCode.SESSION_EXPIRED, "no such conversation", 1)]]
    assert ask(client, session_id=session_id)["error_code"] == "session_expired"
    session = client.get(f"/api/v1/sessions/{session_id}").json
    assert session is not None
    assert (session["status"], session["error_message"]) == ("error", "no such conversation")
    assert ask(client, 410, session_id=session_id)["error"] == "session_expired"


def test_delete_removes_the_folder_and_asks_the_cli(client: FlaskClient, runs: SessionFakeRuns) -> None:
    session_id = ask(client)["session_id"]
    folder = runs.started[0].plan.options.workdir
    assert client.delete(f"/api/v1/sessions/{session_id[:7]}").status_code == 400
    gone = client.delete(f"/api/v1/sessions/{session_id[:12]}").json
    assert gone == {"deleted": True, "id": session_id, "cli_deleted": True}
    assert runs.errands[0][0].resume == "cli-1"
    assert not Path(folder).exists()
    assert client.get(f"/api/v1/sessions/{session_id}").status_code == 404
    assert client.delete(f"/api/v1/sessions/{session_id}").status_code == 404


def test_delete_says_when_the_cli_keeps_its_copy(client: FlaskClient, runs: SessionFakeRuns) -> None:
    session_id = ask(client)["session_id"]
    runs.errand_outcome = Failed(ErrorCode.BACKEND_FAILED, "no", 1)
    gone = client.delete(f"/api/v1/sessions/{session_id}").json
    assert gone is not None
    assert gone["cli_deleted"] is False


def test_a_fork_goes_on_from_the_copy(client: FlaskClient, runs: SessionFakeRuns) -> None:
    session_id = ask(client)["session_id"]
    response = client.post(f"/api/v1/sessions/{session_id}/fork", json={})
    assert response.status_code == 201
    fork = response.json
    assert fork is not None
    assert (fork["parent_id"], fork["turn_count"], fork["status"]) == (session_id, 0, "completed")
    ask(client, session_id=fork["id"])
    assert runs.started[-1].plan.options.resume == "cli-1-copy"
    client.delete(f"/api/v1/sessions/{session_id}")
    assert Path(fork["working_dir"]).exists(), "the copy still works there"


def test_folders_that_no_session_knows_are_removed_when_they_are_old(client: FlaskClient, home: Path) -> None:
    known = client.get(f"/api/v1/sessions/{ask(client)['session_id']}").json
    assert known is not None
    lost, fresh = home / "work" / "lost", home / "work" / "fresh"
    for folder in (lost, fresh):
        (folder / "inside").mkdir(parents=True)
    for folder in (lost, Path(known["working_dir"])):
        os.utime(folder, (0, 0))
    container = client.application.extensions["clinvk"]
    container.housekeeping.tidy()
    assert {path.name for path in (home / "work").iterdir()} == {"fresh", Path(known["working_dir"]).name}


def test_what_cannot_be_forked(client: FlaskClient) -> None:
    cannot = ask(client, backend="gemini")["session_id"]
    assert client.post(f"/api/v1/sessions/{cannot}/fork", json={}).status_code == 400


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "status=odd", "limit=1e3", "nosuch=1"]
)
def test_bad_pages(client: FlaskClient, query: str) -> None:
    response = client.get(f"/api/v1/sessions?{query}")
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["errors"][0]["location"] == query.partition("=")[0]


def test_pages_are_newest_first_and_filtered(client: FlaskClient) -> None:
    ids = [ask(client, backend=backend)["session_id"] for backend in ("claude", "gemini", "claude")]
    page = client.get("/api/v1/sessions?limit=2").json
    assert page is not None
    assert [session["id"] for session in page["sessions"]] == ids[:0:-1]
    assert page["total"] == 3
    page = client.get("/api/v1/sessions?backend=claude&offset=1").json
    assert page is not None
    assert ([session["id"] for session in page["sessions"]], page["total"]) == (ids[:1], 2)


def test_a_store_that_fails_for_now_asks_to_come_again(tmp_path: Path) -> None:
    (tmp_path / "sessions.db").mkdir()
    client = fake_app(SessionFakeRuns({"claude": FIRST}), tmp_path).test_client()
    for refused in (
        client.get("/api/v1/sessions"),
        client.get("/api/v1/sessions/0123456789"),
        client.delete("/api/v1/sessions/0123456789"),
        client.post("/api/v1/prompt", json=HELLO | {"session_id": "0123456789"}),
    ):
        assert refused.status_code == 503
        assert refused.json is not None
        assert refused.json["error"] == "overloaded"
        assert "cannot be opened" in refused.json["message"]
        assert int(refused.headers["Retry-After"]) > 0


def test_a_dry_run_that_is_not_recorded_says_so(tmp_path: Path) -> None:
    (tmp_path / "sessions.db").mkdir()
    answer = ask(fake_app(SessionFakeRuns({"claude": FIRST}), tmp_path).test_client(), dry_run=True)
    (warning,) = answer["warnings"]
    assert warning.startswith("this turn was not recorded: the session database")
    assert "session_id" not in answer


def test_a_store_that_fails_does_not_stop_prompts(tmp_path: Path) -> None:
    (tmp_path / "sessions.db").write_text("this is no database, and it is long enough to be taken for one" * 20)
    client = fake_app(SessionFakeRuns({"claude": FIRST}), tmp_path).test_client()
    answer = ask(client)
    assert answer["output"] == "Hi"
    assert "not recorded" in answer["warnings"][0]
    assert "session_id" not in answer
    health = client.get("/health")
    assert health.status_code == 503
    assert health.json is not None
    assert health.json["status"] == "unhealthy"
    assert "not a SQLite database" in health.json["session_store"]["error"]
    assert client.get("/api/v1/sessions").status_code == 500
    assert not list((tmp_path / "work").iterdir())
