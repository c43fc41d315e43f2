"""Sessions of the real codex: what its model sees of earlier turns, and what codex keeps."""

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conversing import CODEX, deleted, files_with, forked, only
from tests.e2e.conversing import codex_texts as texts_of
from tests.e2e.fake_upstream import ModelServer
from tests.e2e.test_codex import SECRET
from tests.support.files import below
from tests.support.server import Server

ASKED = ("codex",)
ask, events_of, prompts_seen = CODEX.ask, CODEX.events, CODEX.prompts_seen
begun, continued = CODEX.begun, CODEX.continued


def kept_of(server: Server, marker: str) -> list[str]:
    """Where codex keeps a text: its files, and the tables of its databases."""
    home = server.home / ".codex"
    databases = sorted(home.glob("*.sqlite"))
    found = [str(path) for path in files_with(home, marker) if path.name.startswith("rollout-")]
    for path in databases:
        with sqlite3.connect(path) as database:
            for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
                rows = database.execute(f'select * from "{table}"').fetchall()
                found += [f"{path.name}:{table}" for row in rows if marker in repr(row)]
        database.close()
    assert databases
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    return folder


# ---------------------------------------------------------------------- continuing


def test_the_model_sees_the_turns_before(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one FAKE:n=1")
    ask(real_server, "something else", ephemeral=True)
    continued(real_server, session_id, "two FAKE:tool")
    continued(real_server, session_id, "three")
    assert prompts_seen(model_server) == ["one FAKE:n=1", "two FAKE:tool", "three"]
    assert b"from-the-tool" in model_server.asked()[-1].body


def test_usage_is_that_of_the_turn(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one " * 200)
    continued(real_server, session_id, "two " * 200)
    answer = continued(real_server, session_id, "three FAKE:n=1")
    turn = model_server.turns()[-1]
    assert answer["token_usage"]["input_tokens"] == turn.input_tokens
    assert answer["token_usage"]["output_tokens"] == len(answer["output"]) // 4
    total = real_server.client.get(f"/api/v1/sessions/{session_id}").json()["token_usage"]
    assert total["input_tokens"] == sum(turn.input_tokens for turn in model_server.turns())


def test_a_continued_session_streams_the_same_text(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one")
    events = events_of(real_server, "two FAKE:n=7", session_id=session_id)
    assert "".join(message["text"] for message in only(events, "message")).endswith("w5 w6 ")
    assert {event["session_id"] for event in events} == {session_id}
    assert prompts_seen(model_server) == ["one", "two FAKE:n=7"]


@pytest.mark.parametrize(
    "prompt",
    ["/compact", "!ls", "#remember", "-p --help", "look at @secret.txt", "$skill-creator do it", "a $HOME @secret.txt"],
)
def test_a_prompt_is_text_in_a_session_too(
    prompt: str, real_server: Server, model_server: ModelServer, project: Path
) -> None:
    session_id = begun(real_server, prompt, workdir=str(project))
    continued(real_server, session_id, prompt)
    assert prompts_seen(model_server) == [prompt, prompt]
    assert SECRET.encode() not in model_server.asked()[-1].body


# ---------------------------------------------------------------------- options are those of the turn


def writes(server: Server, session_id: str, path: Path, **fields: Any) -> bool:
    """Whether codex's shell can make this file in a further turn."""
    continued(server, session_id, f'x FAKE:tool FAKE:cmd="touch {path}"', **fields)
    return path.exists()


def test_what_a_turn_may_do_does_not_outlast_it(real_server: Server, project: Path) -> None:
    full = {"sandbox_mode": "full", "approval_mode": "none"}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as elsewhere:  # /tmp is in the sandbox
        outside = Path(elsewhere)
        session_id = begun(real_server, "hello", workdir=str(project), **full)
        assert not writes(real_server, session_id, outside / "default")
        assert writes(real_server, session_id, outside / "full", **full)
        assert not writes(real_server, session_id, outside / "default")
        assert not writes(real_server, session_id, project / "default", approval_mode="none")
        workspace = {"sandbox_mode": "workspace", "approval_mode": "none"}
        assert writes(real_server, session_id, project / "workspace", **workspace)
        assert not writes(real_server, session_id, outside / "workspace", **workspace)


def test_system_prompts_of_a_turn(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one", system_prompt="be a pirate", append_system_prompt="be brief")
    continued(real_server, session_id, "two", system_prompt="be a poet @/etc/hostname", append_system_prompt="be long")
    system = texts_of(model_server.asked()[-1], "developer")
    assert system[0] == "be a poet @/etc/hostname"
    assert "be long" in system
    assert "be a pirate" not in system


# ---------------------------------------------------------------------- copies, and what is kept


def test_a_copy_leaves_the_original_untouched(real_server: Server, model_server: ModelServer) -> None:
    original = begun(real_server, "one", model="gpt-one")
    copy = forked(real_server, original)
    continued(real_server, original, "two of the original")
    continued(real_server, copy, "two of the copy")
    assert prompts_seen(model_server) == ["one", "two of the copy"]
    continued(real_server, original, "three of the original")
    assert prompts_seen(model_server) == ["one", "two of the original", "three of the original"]
    assert {turn.model for turn in model_server.turns()} == {"gpt-one"}


def test_nothing_is_kept_of_a_session_that_is_deleted(real_server: Server) -> None:
    marker = "quite-a-secret-session"
    session_id = begun(real_server, f"{marker} FAKE:tool")
    copy = forked(real_server, session_id)
    continued(real_server, copy, f"more of {marker}")
    assert kept_of(real_server, marker)
    for ident in (session_id, copy):
        assert deleted(real_server, ident)
    assert not kept_of(real_server, marker)


def test_a_session_that_codex_has_lost_has_expired(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one")
    for path in below(real_server.home / ".codex"):
        if path.name.startswith("rollout-"):
            path.unlink()
    response = real_server.client.post(
        "/api/v1/prompt", {"backend": "codex", "prompt": "two", "session_id": session_id}
    )
    assert "session_expired" in response.text
    assert len(model_server.asked()) == 1
