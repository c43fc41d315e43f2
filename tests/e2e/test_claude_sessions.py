"""Sessions of the real claude: what its model sees of earlier turns, and what claude keeps."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conversing import CLAUDE, deleted, forked, session_of
from tests.e2e.conversing import claude_texts as texts_of
from tests.e2e.fake_upstream import ModelServer
from tests.e2e.test_claude import PROMPTS, SECRET, system_of
from tests.support.files import below
from tests.support.server import Server
from tests.support.waiting import wait_until

ASKED = ("claude",)
begun, continued, prompts_seen = CLAUDE.begun, CLAUDE.continued, CLAUDE.prompts_seen
SHELL: Mapping[str, Any] = {"extra": ["--allowed-tools=Bash"]}


def kept(server: Server) -> set[str]:
    """Everything in claude's home, with the folders that are always there and what is in them."""
    home = server.home / ".claude"
    found = {path.relative_to(home) for path in below(home)}
    return {str(path) for path in found if len(path.parts) > 1 and "backups" not in path.parts}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that would like its files to be read."""
    folder = tmp_path / "project"
    (folder / ".claude").mkdir(parents=True)
    settings = {"env": {"CLAUDE_CODE_DISABLE_ATTACHMENTS": ""}}
    (folder / ".claude" / "settings.json").write_text(json.dumps(settings))
    for path in (folder / "secret.txt", tmp_path / "outside.txt"):
        path.write_text(SECRET)
    return folder


# ---------------------------------------------------------------------- continuing


def test_the_model_sees_the_turns_before(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one FAKE:n=1")
    real_server.client.prompt("something else", ephemeral=True)
    continued(real_server, session_id, "two FAKE:tool", **SHELL)
    continued(real_server, session_id, "three")
    assert prompts_seen(model_server) == ["one FAKE:n=1", "two FAKE:tool", "three"]
    assert b"from-the-tool" in model_server.asked()[-1].body
    assert len(texts_of(model_server.asked()[-1], "assistant")) == 3, "a call of the tool, and two answers"


def test_usage_cost_and_turns_are_those_of_the_run(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one " * 400)
    for prompt in ("two FAKE:n=50", "three"):
        answer = continued(real_server, session_id, prompt)
    turn = model_server.turns()[-1]
    assert answer["token_usage"]["input_tokens"] == turn.input_tokens + 18, "18 of them come from caches"
    assert answer["token_usage"]["output_tokens"] == len(answer["output"]) // 4
    session = real_server.client.get(f"/api/v1/sessions/{session_id}").json()
    assert session["token_usage"]["input_tokens"] == sum(turn.input_tokens + 18 for turn in model_server.turns())
    assert session["turn_count"] == 3


@pytest.mark.parametrize("prompts", [PROMPTS[::2], PROMPTS[1::2]], ids=["even", "odd"])
def test_a_prompt_is_text_in_a_session_too(
    prompts: Sequence[str], real_server: Server, model_server: ModelServer, project: Path
) -> None:
    session_id = begun(real_server, "hello", workdir=str(project))
    told = ["hello"]
    for text in prompts:
        prompt = text.replace("{folder}", str(project)).replace("{outside}", str(project.parent / "outside.txt"))
        continued(real_server, session_id, prompt)
        told.append("\n" + prompt if prompt.startswith("/") else prompt)
        assert prompts_seen(model_server) == told
        assert SECRET.encode() not in model_server.asked()[-1].body


def test_a_system_prompt_is_that_of_its_turn(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one", system_prompt="be a pirate")
    continued(real_server, session_id, "two", system_prompt="be a poet @/etc/hostname")
    assert "be a poet @/etc/hostname" in system_of(model_server.asked()[-1])
    continued(real_server, session_id, "three")
    assert not [part for part in system_of(model_server.asked()[-1]) if "be a p" in part]


def test_what_a_turn_may_do_does_not_outlast_it(real_server: Server, project: Path) -> None:
    session_id = begun(real_server, "hello", workdir=str(project))
    for name, fields, may in (("a", {}, False), ("b", SHELL, True), ("c", {}, False)):
        continued(real_server, session_id, f'x FAKE:tool FAKE:cmd="touch {project / name}"', **fields)
        assert (project / name).exists() == may, name


def test_a_session_goes_on_after_a_turn_that_was_given_up(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one")
    with real_server.client.stream("two FAKE:hang", session_id=session_id) as exchange:
        wait_until(lambda: len(model_server.asked()) == 2, 30.0)
        exchange.vanish()
    real_server.wait_until_idle()
    wait_until(lambda: session_of(real_server, session_id)["status"] != "active")
    continued(real_server, session_id, "three")
    assert len(model_server.asked()) == 3, "nobody asked for the rest of the second turn"
    assert (prompts_seen(model_server)[0], prompts_seen(model_server)[-1]) == ("one", "three")


# ---------------------------------------------------------------------- copies


def test_a_copy_and_its_original_go_apart(real_server: Server, model_server: ModelServer) -> None:
    original = begun(real_server, "one")
    continued(real_server, original, "the second FAKE:tool", **SHELL)
    (file,) = [path for path in conversations(real_server) if "the second FAKE:tool" in path.read_text()]
    before, asked = file.read_bytes(), len(model_server.asked())
    copy = forked(real_server, original)
    assert file.read_bytes() == before
    assert len(model_server.asked()) == asked, "the model was not asked for the copy"
    continued(real_server, original, "three of the original")
    continued(real_server, copy, "three of the copy")
    assert prompts_seen(model_server) == ["one", "the second FAKE:tool", "three of the copy"]
    assert b"from-the-tool" in model_server.asked()[-1].body
    continued(real_server, original, "four of the original")
    expected = ["one", "the second FAKE:tool", "three of the original", "four of the original"]
    assert prompts_seen(model_server) == expected


def test_a_copy_of_a_copy(real_server: Server, model_server: ModelServer) -> None:
    original = begun(real_server, "one")
    again = forked(real_server, forked(real_server, original))
    continued(real_server, again, "two")
    assert prompts_seen(model_server) == ["one", "two"]


# ---------------------------------------------------------------------- what claude keeps


def conversations(server: Server) -> list[Path]:
    return list((server.home / ".claude" / "projects").glob("*/*.jsonl"))


def test_nothing_is_kept_of_a_session_that_is_deleted(real_server: Server) -> None:
    before = kept(real_server)
    session_id = begun(real_server, 'x FAKE:tool FAKE:cmd="seq 1 100000"', **SHELL)
    copy = forked(real_server, session_id)
    continued(real_server, copy, "more FAKE:tool", **SHELL)
    names = {Path(name).name for name in kept(real_server) - before}
    assert names >= {"tool-results"}, "an output that is too long has a file of its own"
    for ident in (session_id, copy):
        assert deleted(real_server, ident) is True
    assert kept(real_server) == before


def test_a_session_is_deleted_from_among_others_of_its_folder(real_server: Server, project: Path) -> None:
    stays, goes = (begun(real_server, prompt, workdir=str(project)) for prompt in ("stays", "goes"))
    (file,) = [path for path in conversations(real_server) if '"stays"' in path.read_text()]
    notes = file.parent / "memory" / "MEMORY.md"
    notes.parent.mkdir(exist_ok=True)
    notes.write_text("what the user's claude knows of the folder")
    assert deleted(real_server, goes)
    assert {path.name for path in file.parent.iterdir()} == {file.name, "memory"}
    assert deleted(real_server, stays)
    assert notes.exists(), "a memory is the folder's, not the session's"


def test_nothing_is_kept_of_an_ephemeral_run(real_server: Server) -> None:
    before = kept(real_server)
    answer = real_server.client.prompt('x FAKE:tool FAKE:cmd="seq 1 100000"', ephemeral=True, **SHELL).json()
    assert answer["exit_code"] == 0, answer
    wait_until(lambda: kept(real_server) <= before)  # of runs before, something may have been about to be removed


# ---------------------------------------------------------------------- lost sessions


def test_a_session_that_claude_has_lost_has_expired(real_server: Server, model_server: ModelServer) -> None:
    began_s = time.monotonic()
    session_id = begun(real_server, "a prompt to be lost")
    first_s = time.monotonic() - began_s
    for path in conversations(real_server):
        if "a prompt to be lost" in path.read_text():
            path.unlink()
    began_s = time.monotonic()
    answer = real_server.client.prompt("two", session_id=session_id)
    assert "session_expired" in answer.text
    assert time.monotonic() - began_s < first_s + 5, "nobody waits for what does not come"
    assert real_server.client.post(f"/api/v1/sessions/{session_id}/fork", {}).status == 410
    assert len(model_server.asked()) == 1
