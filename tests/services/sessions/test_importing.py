"""clinvoker's session files become sessions of ours."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events import TokenUsage
from services.sessions.importing import Broken, Report, import_sessions, read_session
from services.sessions.records import Claim, Ending, Session, Status
from services.sessions.store import SessionStore

DOCUMENTED: dict[str, Any] = {
    "id": "a1b2c3d4e5f6789012345678abcdef01",
    "backend": "claude",
    "created_at": "2025-01-15T10:30:00Z",
    "last_used": "2025-01-15T12:45:00.123456789+01:00",
    "working_dir": "/home/user/projects/myapp",
    "backend_session_id": "claude-sess-abc123",
    "model": "claude-sonnet-4",
    "initial_prompt": "Refactor auth middleware",
    "status": "active",
    "turn_count": 5,
    "token_usage": {"input_tokens": 1500, "output_tokens": 2300, "cached_tokens": 500, "reasoning_tokens": 20},
    "tags": ["refactoring", "auth"],
    "title": "Auth Middleware Refactoring",
    "parent_id": "0123456789abcdef",
    "metadata": {"ticket": "T-1"},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    with SessionStore.open(tmp_path / "sessions.db") as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old" / "sessions").mkdir(parents=True)
    return tmp_path / "old"


def put(folder: Path, content: Any, name: str = "") -> Path:
    path = folder / "sessions" / f"{name or content['id']}.json"
    path.write_text(json.dumps(content))
    return path


def minimal(session_id: str, **more: Any) -> dict[str, Any]:
    return {"id": session_id, "backend": "codex", **more}


def test_every_documented_field_is_kept(store: SessionStore, folder: Path) -> None:
    put(folder, DOCUMENTED)
    assert import_sessions(store, folder, owner="alice") == Report(found=1, added=1, broken=())
    assert store.get("a1b2c3d4", "alice") == Session(
        id="a1b2c3d4e5f6789012345678abcdef01",
        backend="claude",
        owner="alice",
        created_at=1736937000.0,
        last_used=1736941500.123456,
        status=Status.COMPLETED,
        cli_session_id="claude-sess-abc123",
        working_dir="/home/user/projects/myapp",
        model="claude-sonnet-4",
        initial_prompt="Refactor auth middleware",
        turn_count=5,
        usage=TokenUsage(input_tokens=1500, output_tokens=2300, cached_tokens=500, reasoning_tokens=20),
        tags=("refactoring", "auth"),
        title="Auth Middleware Refactoring",
        metadata={"ticket": "T-1"},
        parent_id="0123456789abcdef",
    )


def test_an_imported_session_can_be_resumed(store: SessionStore, folder: Path) -> None:
    put(folder, DOCUMENTED)
    import_sessions(store, folder)
    resumed = store.resume(DOCUMENTED["id"], "", Claim("run-1", "worker-1"))
    assert resumed.cli_session_id == "claude-sess-abc123"


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("active", "completed"),
        ("paused", "completed"),
        ("completed", "completed"),
        ("error", "error"),
        (None, "completed"),
    ],
)
def test_states(store: SessionStore, folder: Path, status: str | None, ours: str) -> None:
    put(folder, minimal("0123456789abcdef", status=status, error_message="why"))
    import_sessions(store, folder)
    session = store.get("0123456789abcdef", "")
    assert (session.status, session.error_message) == (ours, "why")


def test_a_file_with_little_in_it(store: SessionStore, folder: Path) -> None:
    path = put(folder, minimal("0123456789abcdef", token_usage=None, tags=None, metadata=None, title=None))
    os.utime(path, (1_000, 2_000))
    import_sessions(store, folder)
    session = store.get("0123456789abcdef", "")
    assert (session.created_at, session.last_used, session.expired) == (2_000.0, 2_000.0, False)
    assert (session.usage, session.tags, session.metadata) == (TokenUsage(), (), {})


@pytest.mark.parametrize("zero", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", ""])
def test_gos_zero_time_is_none(store: SessionStore, folder: Path, zero: str) -> None:
    path = put(folder, minimal("0123456789abcdef", created_at=zero, last_used="2025-01-15T10:30:00Z"))
    assert read_session(path, "").created_at == 1736937000.0


def test_what_the_cli_cannot_find_again_is_expired(store: SessionStore, folder: Path) -> None:
    put(folder, minimal("0123456789abcdef", turn_count=2))
    import_sessions(store, folder)
    assert store.get("0123456789abcdef", "").expired


def test_the_folder_itself_can_be_named(store: SessionStore, folder: Path) -> None:
    put(folder, DOCUMENTED)
    assert import_sessions(store, folder / "sessions").added == 1


def test_again_changes_nothing(store: SessionStore, folder: Path) -> None:
    put(folder, DOCUMENTED)
    put(folder, minimal("0123456789abcdef"))
    assert import_sessions(store, folder) == Report(2, 2, ())
    store.resume(DOCUMENTED["id"], "", Claim("run-1", "worker-1"))
    store.finish(DOCUMENTED["id"], "run-1", Ending(cost_usd=1.0))
    after = store.page("").sessions
    put(folder, minimal("fedcba9876543210"))
    assert import_sessions(store, folder) == Report(3, 1, ())
    assert {session.id for session in store.page("").sessions} == {s.id for s in after} | {"fedcba9876543210"}
    assert store.get(DOCUMENTED["id"], "").cost_usd == 1.0
    assert store.count() == 3


def test_many_are_all_there(store: SessionStore, folder: Path) -> None:
    ids = [f"{number:016x}" for number in range(1_100)]
    for session_id in ids:
        put(folder, minimal(session_id))
    assert import_sessions(store, folder) == Report(1_100, 1_100, ())
    assert store.count() == 1_100
    for session_id in ids[::100]:
        assert store.get(session_id, "").id == session_id


def test_what_is_no_session_file_is_left_alone(store: SessionStore, folder: Path) -> None:
    put(folder, DOCUMENTED)
    within = folder / "sessions"
    (within / "index.json").write_text('{"version": 1, "index": {}}')
    (within / DOCUMENTED["id"]).mkdir()
    (within / "folder.json").mkdir()
    (within / ".tmp-123.json").write_text("{")
    (within / ".lock").touch()
    (folder / "config.yaml").touch()
    assert import_sessions(store, folder) == Report(1, 1, ())


ID = "0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b'{"id": "0123', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "id: does not agree"),
        (minimal("another"), "id: does not agree"),
        ({"id": ID}, "backend: missing"),
        (minimal(ID, backend=7), "backend: not a string"),
        (minimal(ID, created_at="yesterday"), "created_at: not a time"),
        (minimal(ID, last_used=12), "last_used: not a string"),
        (minimal(ID, turn_count="five"), "turn_count: not a number"),
        (minimal(ID, turn_count=True), "turn_count: not a number"),
        (minimal(ID, turn_count=float("inf")), "turn_count: not a number"),
        (minimal(ID, token_usage=[1]), "token_usage: not an object"),
        (minimal(ID, token_usage={"input_tokens": "1"}), "input_tokens: not a number"),
        (minimal(ID, tags="a"), "tags: not a list of strings"),
        (minimal(ID, tags=[1]), "tags: not a list of strings"),
        (minimal(ID, metadata=["a"]), "metadata: not an object of strings"),
        (minimal(ID, metadata={"a": 1}), "metadata: not an object of strings"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:60],
)
def test_a_broken_file_is_told_and_skipped(
    store: SessionStore, folder: Path, content: bytes | dict[str, Any], reason: str
) -> None:
    put(folder, DOCUMENTED)
    path = folder / "sessions" / f"{ID}.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    report = import_sessions(store, folder)
    assert (report.found, report.added) == (1, 1)
    [broken] = report.broken
    assert broken.path == path
    assert broken.reason.startswith(reason)
    assert store.count() == 1


def test_odd_names_are_told(store: SessionStore, folder: Path) -> None:
    paths = [put(folder, minimal(name)) for name in ("a b", "é", "x" * 65, "a%")]
    dangling = folder / "sessions" / "link.json"
    dangling.symlink_to("nowhere")
    report = import_sessions(store, folder)
    assert {broken.path for broken in report.broken} == {*paths, dangling}
    assert Broken(dangling, "No such file or directory") in report.broken


def test_a_file_too_large_is_told(store: SessionStore, folder: Path) -> None:
    with (folder / "sessions" / f"{ID}.json").open("wb") as file:
        file.truncate(1 << 30)
    [broken] = import_sessions(store, folder).broken
    assert broken.reason == "too large for a session"


def test_no_folder(store: SessionStore, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        import_sessions(store, tmp_path / "nowhere")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(values=st.fixed_dictionaries({}, optional=dict.fromkeys(DOCUMENTED, JSON)))
def test_anything_is_read_or_told(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / f"{ID}.json").write_text(json.dumps({**minimal(ID), **values, "id": ID}))
    with SessionStore.open(folder / "sessions.db") as store:
        report = import_sessions(store, folder)
        assert report.found == report.added == store.count() == 1 - len(report.broken)
