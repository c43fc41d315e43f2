"""``clinvk sessions``: what a person types, and what is then in the store."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.sessions_text import age, cost, short_ids
from services.events import TokenUsage
from services.keys import Keys
from services.sessions.records import Claim, Ending, NewSession, Session, Status, TurnText
from services.sessions.store import SessionStore
from tests.app.conftest import GUNICORN
from tests.support.guard import clean_environment
from tests.support.server import ServerFactory

CLINVK = GUNICORN.with_name("clinvk")
CLAIM = Claim("run-1", "worker-1")
DAY_S = 86_400


@dataclass
class Typed:
    """What a command came to."""

    code: int
    out: str
    err: str


class Terminal:
    """Types ``clinvk sessions …`` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Typed:
        try:
            code = main(["sessions", *arguments])
        except SystemExit as ended:
            code = int(str(ended.code))
        return Typed(code, *self._capsys.readouterr())

    def json(self, *arguments: str) -> Any:
        typed = self(*arguments, "--json")
        assert (typed.code, typed.err) == (0, "")
        return json.loads(typed.out)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.fixture
def folder(home: Path) -> Path:
    """CLINVK_HOME."""
    (home / ".clinvk").mkdir()
    return home / ".clinvk"


@pytest.fixture
def store(folder: Path) -> Iterator[SessionStore]:
    """The store that the commands open as well, as a server beside them would."""
    with SessionStore.open(folder / "sessions.db") as store:
        yield store


def talk(store: SessionStore, *turns: str, **fields: Any) -> Session:
    """A session with these turns."""
    session = store.create(NewSession(**({"backend": "claude", "title": "A title"} | fields)), CLAIM)
    for number, text in enumerate(turns):
        if number:
            store.resume(session.id, None, CLAIM)
        usage = TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2)
        kept = TurnText(text, f"Answer to {text}")
        store.finish(session.id, CLAIM.run_id, Ending(usage=usage, cost_usd=0.25, cli_session_id="cli-1", text=kept))
    return store.get(session.id, None)


def aged(store: SessionStore, session_id: str, days: float, **fields: Any) -> Session:
    """A session that was used last so long ago."""
    then = time.time() - days * DAY_S
    session = replace(Session(session_id, "claude", "", then, then, Status.COMPLETED), **fields)
    assert store.adopt([session]) == 1
    return session


# ---------------------------------------------------------------------- list


def test_the_table_is_aligned_and_the_newest_on_top(typed: Terminal, store: SessionStore) -> None:
    aged(store, "a" * 32, 400, turn_count=12, title="Long ago", backend="gemini", status=Status.ERROR)
    aged(store, "b" * 32, 3, turn_count=5, title="Days ago", cost_usd=12.3)
    aged(store, "c" * 32, 2 / 24, cost_usd=0.001, initial_prompt="No\ntitle")
    assert typed("list") == Typed(
        0,
        "ID        BACKEND  STATUS     AGE  USED  TURNS    COST  TITLE\n"
        "cccccccc  claude   completed   2h    2h      0  <$0.01  No title\n"
        "bbbbbbbb  claude   completed   3d    3d      5  $12.30  Days ago\n"
        "aaaaaaaa  gemini   error       1y    1y     12       -  Long ago\n",
        "",
    )


def test_nothing_to_list(typed: Terminal) -> None:
    assert typed("list") == Typed(0, "There are no sessions.\n", "")
    assert typed("list", "--backend", "codex") == Typed(0, "There are no such sessions.\n", "")
    assert typed.json("list") == {"sessions": [], "total": 0}


def test_filters_and_the_limit(typed: Terminal, store: SessionStore) -> None:
    ids = [talk(store, "hello", backend=backend).id for backend in ("claude", "gemini", "claude")]
    talk(store)  # a run is going on in this one
    page = typed.json("list", "--backend", "claude", "--status", "completed", "--limit", "1")
    assert ([session["id"] for session in page["sessions"]], page["total"]) == ([ids[2]], 2)
    assert "\n1 of 4 sessions: --limit shows more.\n" in typed("list", "--limit", "1").out
    assert " of " not in typed("list", "--limit", "4").out
    assert typed.json("list", "--status", "active")["total"] == 1


def test_json_has_the_names_of_the_api(typed: Terminal, store: SessionStore) -> None:
    session = talk(store, "hello", metadata={"ticket": "42"}, owner="alice", tags=("api",))
    [told] = typed.json("list")["sessions"]
    assert told["id"] == session.id
    assert told["token_usage"]["input_tokens"] == 10
    assert (told["metadata"], told["tags"], told["status"], told["turn_count"]) == (
        {"ticket": "42"},
        ["api"],
        "completed",
        1,
    )
    assert told["created_at"].endswith("Z")
    assert typed.json("show", session.id) == told


def test_a_title_cannot_speak_to_the_terminal(typed: Terminal, store: SessionStore) -> None:
    session = talk(store, "\x1b]0;owned\x07", title="red \x1b[31m\x9b2J\u202etitle")
    for shown in (typed("list"), typed("show", session.id, "--turns")):
        assert shown.code == 0
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown.out)
        assert "red" in shown.out


@pytest.mark.parametrize(("seconds", "told"), [
    (-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (7_199, "1h"), (86_400, "1d"), (364 * 86_400, "364d"),
    (800 * 86_400, "2y"),
])  # fmt: skip
def test_ages(seconds: float, told: str) -> None:
    assert age(seconds) == told


@pytest.mark.parametrize(("usd", "told"), [(0, "$0.00"), (0.0001, "<$0.01"), (0.01, "$0.01"), (1234.5, "$1234.50")])
def test_costs(usd: float, told: str) -> None:
    assert cost(usd) == told


def test_ids_are_as_short_as_they_can_be() -> None:
    assert short_ids([]) == []
    assert short_ids(["0123456789", "abc"]) == ["01234567", "abc"]
    assert short_ids(["session-2024-a", "session-2024-b2"]) == ["session-2024-a", "session-2024-b"]
    assert short_ids(["session-2024", "session-2024-b"]) == ["session-2024", "session-2024-"]


# ---------------------------------------------------------------------- show


def test_show_tells_what_is_known(typed: Terminal, store: SessionStore) -> None:
    session = talk(store, "first", "second", model="opus", metadata={"ticket": "42"}, working_dir="/srv/demo")
    lines = dict(line.split(maxsplit=1) for line in typed("show", session.id[:6]).out.splitlines())
    assert lines["id"] == session.id
    assert lines["tokens"] == "20 in (8 cached), 10 out (4 reasoning)"
    assert (lines["cost"], lines["turns"], lines["model"]) == ("$0.50", "2", "opus")
    assert (lines["metadata"], lines["folder"]) == ("ticket=42", "/srv/demo")
    assert "error" not in lines


def test_show_with_turns(typed: Terminal, store: SessionStore) -> None:
    session = talk(store, "first\nline", "second")
    out = typed("show", session.id, "--turns").out
    assert "> first\n> line\n\nAnswer to first\nline\n" in out
    assert out.index("── 1 ──") < out.index("── 2 ──") < out.index("Answer to second")
    turns = typed.json("show", session.id, "--turns")["turns"]
    assert [(turn["number"], turn["prompt"]) for turn in turns] == [(1, "first\nline"), (2, "second")]
    assert "turns" not in typed.json("show", session.id)


def test_show_says_that_no_turn_was_kept(typed: Terminal, store: SessionStore) -> None:
    aged(store, "a" * 32, 1, turn_count=3)
    assert "session.store_turns was off" in typed("show", "a" * 32, "--turns").out


# ---------------------------------------------------------------------- delete


def test_delete_removes_the_private_folder_and_says_what_stays(
    typed: Terminal, store: SessionStore, folder: Path
) -> None:
    own = folder / "work" / "one"
    own.mkdir(parents=True)
    (own / "file").touch()
    session = talk(store, "hello", working_dir=str(own), private_folder=True)
    done = typed("delete", session.id[:8])
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Deleted {session.id}.\n")
    assert "What the CLIs keep of it in their own folders stays" in done.out
    assert not own.exists()
    assert store.count() == 0


def test_delete_leaves_the_users_folder(typed: Terminal, store: SessionStore, tmp_path: Path) -> None:
    aged(store, "a" * 32, 1, working_dir=str(tmp_path))
    assert typed("delete", "a" * 32) == Typed(0, f"Deleted {'a' * 32}.\n", "")
    assert tmp_path.is_dir()


def test_delete_goes_on_after_one_that_is_not_there(typed: Terminal, store: SessionStore) -> None:
    aged(store, "a" * 32, 1)
    aged(store, "session-1", 1)
    aged(store, "session-2", 1)
    busy = talk(store)
    done = typed("delete", "nosuchxx", "session-", busy.id, "aaaaaaaa")
    assert (done.code, done.out) == (1, f"Deleted {'a' * 32}.\n")
    assert done.err == (
        "clinvk: there is no session 'nosuchxx'\n"
        "clinvk: more than one session's id begins with 'session-': give more of it\n"
        f"clinvk: a run is going on in session {busy.id}: wait for its end\n"
    )
    assert store.count() == 3


def test_delete_needs_eight_characters_and_else_deletes_nothing(typed: Terminal, store: SessionStore) -> None:
    aged(store, "a" * 32, 1)
    done = typed("delete", "a" * 32, "aaaaaaa")
    assert done.code == 2
    assert "give at least 8 characters of the id, not 'aaaaaaa'" in done.err
    assert store.count() == 1


# ---------------------------------------------------------------------- clean


def test_clean_takes_the_days_of_the_configuration(typed: Terminal, store: SessionStore, folder: Path) -> None:
    (folder / "config.yaml").write_text("session: {retention_days: 10}")
    own = folder / "work" / "one"
    own.mkdir(parents=True)
    aged(store, "a" * 32, 11, working_dir=str(own), private_folder=True)
    aged(store, "b" * 32, 9)
    assert typed("clean") == Typed(0, "Deleted 1 session not used for 10 days.\n", "")
    assert not own.exists()
    assert [session.id for session in store.page(None).sessions] == ["b" * 32]


def test_clean_older_than(typed: Terminal, store: SessionStore) -> None:
    for index in range(3):
        aged(store, f"session-{index}", 2.5, cli_session_id="cli-1")
    busy = talk(store)
    done = typed("clean", "--older-than", "2")
    assert (done.code, done.out.splitlines()[0]) == (0, "Deleted 3 sessions not used for 2 days.")
    assert "What the CLIs keep" in done.out
    assert store.get(busy.id, None).status is Status.ACTIVE


def test_clean_keeps_what_is_kept_for_ever(typed: Terminal, store: SessionStore, folder: Path) -> None:
    (folder / "config.yaml").write_text("session: {retention_days: 0}")
    aged(store, "a" * 32, 10_000)
    assert "Nothing was deleted" in typed("clean").out
    assert store.count() == 1
    assert typed("clean", "--older-than", "9999").out.startswith("Deleted 1 session ")


@pytest.mark.parametrize(
    "arguments",
    [["clean", "--older-than", days] for days in ("0", "-1", "x", "1.5", "100000", "²")]
    + [["list", "--limit", "0"], ["list", "--status", "odd"], ["show"], ["delete"], []],
)
def test_wrong_command_lines(typed: Terminal, store: SessionStore, arguments: list[str]) -> None:
    aged(store, "a" * 32, 10_000)
    done = typed(*arguments)
    assert (done.code, done.err[:21]) == (2, "usage: clinvk session")
    assert store.count() == 1


# ---------------------------------------------------------------------- import


def put(folder: Path, name: str, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / f"{name}.json").write_text(text)


def test_import_from_the_home_folder_as_often_as_one_likes(typed: Terminal, store: SessionStore, folder: Path) -> None:
    for index in range(2):
        put(folder / "sessions", f"session-{index}", {"id": f"session-{index}", "backend": "codex", "title": "Old"})
    put(folder / "sessions", "index", {})
    assert typed("import") == Typed(0, f"{folder}/sessions: 2 sessions, 2 new, 0 broken.\n", "")
    assert typed("import") == Typed(0, f"{folder}/sessions: 2 sessions, 0 new, 0 broken.\n", "")
    assert store.get("session-0", None).title == "Old"
    assert len(list((folder / "sessions").iterdir())) == 3


def test_import_tells_of_broken_files(typed: Terminal, store: SessionStore, tmp_path: Path) -> None:
    old = tmp_path / "old"
    put(old / "sessions", "session-1", {"id": "session-1", "backend": "codex"})
    put(old / "sessions", "broken", "{")
    done = typed("import", str(old))
    assert (done.code, done.out) == (1, f"{old}: 1 session, 1 new, 1 broken.\n")
    assert done.err == f"clinvk: {old}/sessions/broken.json: not JSON\n"
    assert store.count() == 1
    put(old / "sessions", "broken", {"id": "broken", "backend": "codex"})
    assert typed("import", str(old)).out == f"{old}: 2 sessions, 1 new, 0 broken.\n"


def owner_of(key: str) -> str:
    return Keys([key]).owner_of(key)


def test_what_is_imported_belongs_to_the_only_key(
    typed: Terminal, store: SessionStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINVK_API_KEYS", "first-key")
    put(folder / "sessions", "session-1", {"id": "session-1", "backend": "codex"})
    assert typed("import").out == f"{folder}/sessions: 1 session, 1 new, 0 broken.\n"
    assert store.get("session-1", owner_of("first-key")).backend == "codex"
    assert f"key       {owner_of('first-key')}" in typed("show", "session-1").out


def test_of_several_keys_the_import_is_told_one(
    typed: Terminal, store: SessionStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINVK_API_KEYS", "first-key,second-key")
    put(folder / "sessions", "session-1", {"id": "session-1", "backend": "codex"})
    told = "clinvk: --key: 2 API keys are configured: say whose the sessions are to be, from 1 to 2\n"
    assert typed("import") == Typed(1, "", told)
    told = "clinvk: --key: there is no API key 3: 2 configured\n"
    assert typed("import", "--key", "3") == Typed(1, "", told)
    assert store.count() == 0
    assert typed("import", "--key", "2").code == 0
    assert store.get("session-1", owner_of("second-key")).backend == "codex"


def test_without_keys_there_is_none_to_name(typed: Terminal, folder: Path) -> None:
    put(folder / "sessions", "session-1", {"id": "session-1", "backend": "codex"})
    done = typed("import", "--key", "1")
    assert done == Typed(1, "", "clinvk: --key: there is no API key 1: none configured\n")


def test_keys_that_cannot_be_read_stop_the_import(
    typed: Terminal, store: SessionStore, folder: Path, tmp_path: Path
) -> None:
    put(folder / "sessions", "session-1", {"id": "session-1", "backend": "codex"})
    (folder / "config.yaml").write_text("server: {api_keys_file: /nowhere/keys}")
    done = typed("import")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clinvk: the API keys cannot be read from server.api_keys_file /nowhere/keys")
    assert store.count() == 0


def test_import_from_nowhere(typed: Terminal, folder: Path) -> None:
    assert typed("import") == Typed(1, "", f"clinvk: {folder}/sessions: No such file or directory\n")


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("arguments", [["list"], ["show", "x"], ["delete", "x" * 8], ["clean"], ["import"]])
def test_a_database_that_is_none(typed: Terminal, folder: Path, arguments: list[str]) -> None:
    (folder / "sessions.db").write_text("this is no database " * 100)
    done = typed(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"clinvk: the session database {folder}/sessions.db is not a SQLite database")
    assert done.err.count("\n") == 1


def test_a_configuration_at_fault(typed: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("session: {retention: 1}")
    done = typed("list", "--config", str(file))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"clinvk: configuration error in {file}: session.retention: unknown key")


def test_the_configured_database_is_used(typed: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"session: {{database_url: 'sqlite:///{tmp_path}/other.db'}}")
    with SessionStore.open(tmp_path / "other.db") as other:
        session = talk(other, "hello")
    assert typed.json("list", "--config", str(file))["sessions"][0]["id"] == session.id


@pytest.mark.parametrize("wanted", ["", "nosuch", "../../etc/passwd", "é", "x" * 10_000])
def test_a_session_that_is_not_there(typed: Terminal, wanted: str) -> None:
    done = typed("show", wanted)
    assert (done.code, done.out, done.err[:27]) == (1, "", "clinvk: there is no session")
    assert len(done.err) < 100


# ---------------------------------------------------------------------- real processes


def run(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    clean = clean_environment(home, os.environ["PATH"]) | environ
    return subprocess.run([CLINVK, "sessions", *arguments], env=clean, capture_output=True, timeout=30, check=False)


def test_beside_a_running_server(start_server: ServerFactory) -> None:
    server = start_server()
    first, second = (server.client.prompt("hello").json()["session_id"] for _ in range(2))
    listed = json.loads(run(server.home, "list", "--json").stdout)["sessions"]
    assert [session["id"] for session in listed] == [second, first]
    done = run(server.home, "delete", first)
    assert (done.returncode, done.stderr) == (0, b"")
    assert not Path(listed[1]["working_dir"]).exists()
    assert server.client.get(f"/api/v1/sessions/{first}").status == 404
    assert server.client.prompt("again", session_id=second).json()["session_id"] == second
    assert server.client.get("/health").json()["session_store"] == {"available": True, "session_count": 1}


def test_a_reader_that_leaves_and_a_terminal_without_the_characters(folder: Path, store: SessionStore) -> None:
    session = talk(store, "x" * 500_000, title="日本")
    clean = clean_environment(folder.parent, os.environ["PATH"])
    process = subprocess.Popen(
        [CLINVK, "sessions", "show", session.id, "--turns"], env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(2) == b"id"
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    done = run(folder.parent, "list", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"  ??\n")
