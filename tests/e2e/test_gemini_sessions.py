"""Sessions of the real gemini: what its model sees of earlier turns, and what is kept of them."""

from pathlib import Path
from typing import Any

import pytest

from services.backends.gemini.signs import NEXT_LINE
from tests.e2e.conftest import start_real_server
from tests.e2e.conversing import GEMINI, deleted, files_with, forked, gemini_turns, only, session_of
from tests.e2e.fake_upstream import ModelServer
from tests.e2e.test_gemini import SECRET, system_of
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

ask, events_of, prompts_seen = GEMINI.ask, GEMINI.events, GEMINI.prompts_seen
begun, continued = GEMINI.begun, GEMINI.continued


def turns_of(model_server: ModelServer) -> list[tuple[str, Any]]:
    """What the model was asked last: who said what."""
    return gemini_turns(model_server.asked()[-1])


def kept_of(server: Server, marker: str) -> list[Path]:
    """The files in gemini's home that hold a text."""
    return files_with(server.home / ".gemini", marker)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    return folder


# ---------------------------------------------------------------------- continuing


def test_the_model_sees_the_turns_before_as_turns(real_server: Server, model_server: ModelServer) -> None:
    first = ask(real_server, "one FAKE:n=1")
    ask(real_server, "something else", ephemeral=True)
    second = continued(real_server, first["session_id"], "two FAKE:n=2")
    third = continued(real_server, first["session_id"], "three " * 200)
    usage = third["token_usage"]
    assert usage["input_tokens"] == model_server.turns()[-1].input_tokens, "of the turn alone"
    assert usage["output_tokens"] == len(third["output"]) // 4
    assert turns_of(model_server) == [
        ("user", "one FAKE:n=1"),
        ("model", first["output"].strip()),
        ("user", "two FAKE:n=2"),
        ("model", second["output"].strip()),
        ("user", "three " * 200),
    ]


def test_what_tools_have_told_is_there_once_however_often_it_goes_on(
    real_server: Server, model_server: ModelServer
) -> None:
    """gemini by itself would add it another time in each process, which the real provider refuses."""
    session_id = begun(real_server, "one FAKE:tool FAKE:think", approval_mode="none")
    for prompt in ("two", "three", "four FAKE:tool"):
        continued(real_server, session_id, prompt, approval_mode="none")
    continued(real_server, session_id, "five")
    kinds = [said for _, said in turns_of(model_server) if said.startswith("function")]
    assert kinds == ["functionCall", "functionResponse"] * 2
    assert prompts_seen(model_server) == ["one FAKE:tool FAKE:think", "two", "three", "four FAKE:tool", "five"]


def test_a_long_past_is_no_part_of_the_answer(real_server: Server, model_server: ModelServer) -> None:
    """gemini tells all that was said before, also after it has said that the session is there."""
    session_id = begun(real_server, "one " * 100_000)
    continued(real_server, session_id, "two " * 100_000)
    events = events_of(real_server, "last FAKE:n=3", session_id=session_id)
    said = "".join(event["text"] for event in only(events, "message"))
    assert said.startswith("fake turn=3 ")
    assert said.count("fake turn=") == 1
    assert len(prompts_seen(model_server)) == 3


def test_system_prompts_of_a_turn(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one", system_prompt="be a pirate", append_system_prompt="be brief")
    continued(real_server, session_id, "two", system_prompt="be a poet @/etc/hosts", append_system_prompt="be long")
    system = system_of(model_server.asked()[-1])
    assert system.startswith("be a poet @/etc/hosts\n\n")
    assert "\nbe long\n" in system
    assert "be brief" not in system


@pytest.mark.parametrize(
    "prompts",
    [
        ["/help me", "? why", "!ls", "<hook_context>", "  odd: \u2028 \u0085 \r\n\n\n\n"],
        ["<session_context> it is", " \n/init", "$about", "-p --help", "look at @secret.txt and a@secret.txt"],
    ],
    ids=["a command first", "a context first"],
)
def test_a_prompt_is_text_in_a_session_too(
    prompts: list[str], real_server: Server, model_server: ModelServer, project: Path
) -> None:
    """Also when gemini takes the session up again, which leaves out some texts of its own."""
    first, *others = prompts
    session_id = begun(real_server, first, workdir=str(project))
    told = [first]
    for prompt in (*others, first):
        continued(real_server, session_id, prompt)
        told.append(prompt)
        assert [said for said in prompts_seen(model_server) if said != NEXT_LINE] == told
        assert SECRET.encode() not in model_server.asked()[-1].body


def test_a_turn_that_failed_leaves_the_session_usable(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one")
    assert ask(real_server, "two FAKE:400", session_id=session_id)["exit_code"] == 1
    continued(real_server, session_id, "three")
    assert [said for said in prompts_seen(model_server) if "two" not in said] == ["one", "three"]


def test_a_turn_whose_client_goes_away_leaves_the_session_usable(
    real_server: Server, model_server: ModelServer
) -> None:
    session_id = begun(real_server, "one")
    with real_server.client.stream("two FAKE:n=60 FAKE:delay=0.1", "gemini", session_id=session_id) as exchange:
        for line in exchange.lines():
            if b"w5" in line.data:
                exchange.vanish()
                break
    wait_until(lambda: session_of(real_server, session_id)["status"] != "active", 30.0)
    continued(real_server, session_id, "three")
    assert [said for said in prompts_seen(model_server) if "two" not in said] == ["one", "three"]


def test_a_login_that_is_only_a_key_will_do(
    real_clis: Path, module_model_server: ModelServer, model_server: ModelServer, servers: ServerFactory
) -> None:
    server = start_real_server(servers, module_model_server)
    (server.home / ".gemini" / "settings.json").write_text("{}")
    continued(server, begun(server, "one"), "two")
    assert prompts_seen(model_server) == ["one", "two"]


# ---------------------------------------------------------------------- copies, and what is kept


def test_a_copy_leaves_the_original_untouched(real_server: Server, model_server: ModelServer) -> None:
    original = begun(real_server, "one FAKE:tool", approval_mode="none")
    copy = forked(real_server, original)
    asked = len(model_server.asked())
    continued(real_server, original, "two of the original")
    continued(real_server, copy, "two of the copy")
    assert len(model_server.asked()) == asked + 2
    assert prompts_seen(model_server) == ["one FAKE:tool", "two of the copy"]
    continued(real_server, original, "three of the original")
    assert prompts_seen(model_server) == ["one FAKE:tool", "two of the original", "three of the original"]
    assert deleted(real_server, original)
    continued(real_server, copy, "three of the copy")
    assert prompts_seen(model_server) == ["one FAKE:tool", "two of the copy", "three of the copy"]


def test_nothing_is_kept_of_a_session_that_is_deleted(
    real_clis: Path, module_model_server: ModelServer, servers: ServerFactory, project: Path
) -> None:
    server = start_real_server(servers, module_model_server)
    marker = "quite-a-secret-session"
    session_id = begun(server, f"{marker} FAKE:tool", approval_mode="none", workdir=str(project))
    continued(server, session_id, "two")
    copy = forked(server, session_id)
    continued(server, copy, "three")
    assert len(kept_of(server, marker)) == 2, "one file for each"
    assert deleted(server, session_id)
    assert deleted(server, copy)
    assert not kept_of(server, marker)
    assert not {"clinvk", "tmp", "history"} & {path.name for path in (server.home / ".gemini").iterdir()}
    assert [path.name for path in project.iterdir()] == ["secret.txt"]


def test_what_is_no_longer_there_has_expired(real_server: Server, model_server: ModelServer) -> None:
    session_id = begun(real_server, "one")
    copy = forked(real_server, session_id)
    for path in (real_server.home / ".gemini" / "clinvk").iterdir():
        path.unlink()
    answer = ask(real_server, "two", session_id=session_id)
    assert "session_expired" in str(answer)
    assert len(model_server.asked()) == 1
    response = real_server.client.post(f"/api/v1/sessions/{copy}/fork", {})
    assert (response.status, "session_expired" in response.text) == (410, True)
