"""Sessions of codex behind a real server, with the fake codex, which keeps its threads as the real one does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fake_cli.install import seen
from tests.support.server import Server


def ask(server: Server, prompt: str, **fields: Any) -> Mapping[str, Any]:
    response = server.client.prompt(prompt, "codex", **fields)
    assert response.status == 200, response.text
    answer: Mapping[str, Any] = response.json()
    assert answer["exit_code"] == 0, answer
    return answer


def kept(server: Server) -> list[Path]:
    """The files of the threads that codex keeps."""
    return list((server.home / ".codex").rglob("rollout-*"))


def requests(server: Server) -> list[str]:
    """What codex was asked so far."""
    return [entry["method"] for entry in server.clis.entries("request")]


def test_a_session_goes_on_in_later_processes(server: Server) -> None:
    first = ask(server, "one")
    assert len(kept(server)) == 1
    for number in (2, 3):
        answer = ask(server, f"number {number}", session_id=first["session_id"])
        assert answer["session_id"] == first["session_id"]
        assert seen(answer["output"])["turn"] == str(number)
        assert answer["token_usage"] == first["token_usage"]
    assert seen(ask(server, "another")["output"])["turn"] == "1"


def test_an_ephemeral_run_keeps_no_thread(server: Server) -> None:
    before = kept(server)
    assert "session_id" not in ask(server, "one", ephemeral=True)
    assert kept(server) == before


@pytest.mark.parametrize("prompt", ["plain", "with a $HOME in it"])
def test_the_prompt_and_the_instructions_of_a_turn_arrive(prompt: str, server: Server) -> None:
    session_id = ask(server, "one", model="m1")["session_id"]
    answer = ask(server, prompt, session_id=session_id, append_system_prompt="be brief", system_prompt="be a poet")
    told = seen(answer["output"])
    assert (told["chars"], told["turn"], told["model"]) == (str(len(prompt)), "2", "m1")
    assert told["sys"] == str(len("be brief" + "be a poet"))


def test_codex_is_asked_for_its_own_modes_unless_both_are_named(server: Server) -> None:
    session_id = ask(server, "one", sandbox_mode="full", approval_mode="none")["session_id"]
    seen_before = len(requests(server))
    ask(server, "two", session_id=session_id, sandbox_mode="full", approval_mode="none")
    ask(server, "three", session_id=session_id, sandbox_mode="full")
    assert requests(server)[seen_before:] == [
        *("initialize", "thread/resume", "turn/start"),
        *("initialize", "thread/start", "thread/resume", "turn/start"),
    ]


def test_a_copy_goes_its_own_way(server: Server) -> None:
    session_id = ask(server, "one", model="m1")["session_id"]
    response = server.client.post(f"/api/v1/sessions/{session_id}/fork", {})
    assert response.status in (200, 201), response.text
    copy = response.json()["id"]
    ask(server, "two", session_id=session_id)
    for session, turn in ((session_id, "3"), (copy, "2")):
        told = seen(ask(server, "more", session_id=session)["output"])
        assert (told["turn"], told["model"]) == (turn, "m1")


def test_the_thread_of_a_deleted_session_is_gone(server: Server) -> None:
    before = set(kept(server))
    session_id = ask(server, "one")["session_id"]
    assert set(kept(server)) > before
    assert server.client.request("DELETE", f"/api/v1/sessions/{session_id}").status == 200
    assert set(kept(server)) == before


def test_a_session_whose_thread_is_lost_has_expired(server: Server) -> None:
    before = set(kept(server))
    session_id = ask(server, "one")["session_id"]
    for path in set(kept(server)) - before:
        path.unlink()
    response = server.client.prompt("two", "codex", session_id=session_id)
    assert response.json()["error_code"] == "session_expired"
    assert "codex no longer has this session" in response.text
