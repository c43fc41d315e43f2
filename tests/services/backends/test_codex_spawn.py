"""codex as it is started, and what it is told first."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.codex.backend import MAX_PROMPT_CHARS
from services.backends.codex.requests import Request
from services.backends.codex.threads import flag_values
from tests.services.backends.codex_recordings import BACKEND, RecordedRun, lines, options


def test_nothing_of_a_prompt_is_on_the_command_line() -> None:
    chosen = options(model="secret-model", system_prompt="secret system", append_system_prompt="secret rest")
    assert "secret" not in json.dumps(BACKEND.spawn(chosen).argv)


def test_a_process_is_started_without_its_thread_where_the_thread_must_wait_for_the_prompt() -> None:
    def methods(**chosen: Any) -> list[str]:
        opening = BACKEND.spawn(replace(options(), **chosen)).opening
        return [message["method"] for message in lines(opening)]

    assert methods() == ["initialize", "initialized", "thread/start"]
    assert methods(model="m", sandbox_mode="full") == ["initialize", "initialized", "thread/start"]
    assert methods(keep_session=True) == ["initialize", "initialized"]
    for late in ({"workdir": "/srv/demo"}, {"system_prompt": "s"}, {"append_system_prompt": "s"}):
        assert methods(**late) == ["initialize", "initialized"]
    assert BACKEND.spawn(options(system_prompt="a")) == BACKEND.spawn(options(system_prompt="b"))


def thread_params(**chosen: Any) -> Any:
    """What codex is asked to open a thread with."""
    conversation = BACKEND.conversation(options(**chosen), "hello")
    conversation.receive(orjson.dumps({"id": Request.INITIALIZE, "result": {}}))
    (request,) = lines(conversation.data_to_send())
    assert request["method"] == "thread/start"
    return request["params"]


@pytest.mark.parametrize(
    ("chosen", "params"),
    [
        ({}, {}),
        ({"model": "m"}, {"model": "m"}),
        ({"approval_mode": "auto"}, {"approvalPolicy": "on-request"}),
        ({"approval_mode": "none"}, {"approvalPolicy": "never"}),
        ({"approval_mode": "always"}, {"approvalPolicy": "untrusted"}),
        ({"sandbox_mode": "read-only"}, {"sandbox": "read-only"}),
        ({"sandbox_mode": "workspace"}, {"sandbox": "workspace-write"}),
        ({"sandbox_mode": "full"}, {"sandbox": "danger-full-access"}),
        ({"system_prompt": "s @/etc/hostname"}, {"baseInstructions": "s @/etc/hostname"}),
        ({"append_system_prompt": "a"}, {"developerInstructions": "a"}),
        ({"model": "m", "extra": ("--model", "n")}, {"model": "n"}),
        ({"extra": ("--sandbox=read-only", "--model=n=1")}, {"sandbox": "read-only", "model": "n=1"}),
    ],
)
def test_options(chosen: dict[str, Any], params: dict[str, Any]) -> None:
    assert thread_params(**chosen) == {"ephemeral": True, **params}


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"max_turns": 3}, "max_turns"),
        ({"max_tokens": 3}, "max_tokens"),
        ({"allowed_tools": ()}, "allowed_tools"),
        ({"verbose": True}, "verbose"),
        ({"extra": ("--profile", "p")}, "--profile"),
    ],
)
def test_what_codex_cannot_honour_is_a_warning(chosen: dict[str, Any], field: str) -> None:
    (warning,) = BACKEND.spawn(options(**chosen)).warnings
    assert warning.startswith(f"{field}: ")
    assert BACKEND.spawn(options()).warnings == ()


def test_a_prompt_too_long_for_codex_is_refused_here() -> None:
    assert BACKEND.objection("€" * MAX_PROMPT_CHARS) == ""
    assert str(MAX_PROMPT_CHARS) in BACKEND.objection("x" * (MAX_PROMPT_CHARS + 1))


@given(st.dictionaries(st.sampled_from(["--model", "--sandbox", "--profile"]), st.text(min_size=1)), st.booleans())
def test_flags_in_both_spellings(flags: dict[str, str], joined: bool) -> None:
    pairs = flags.items()
    words = [f"{n}={v}" for n, v in pairs] if joined else [w for pair in pairs for w in pair]
    assert flag_values(words) == flags or (not joined and any("=" in word for word in words))


def test_a_prompt_with_a_dollar_is_put_where_no_skill_is_looked_for() -> None:
    run = RecordedRun.load("skill-name")
    *_, added, turn = run.replay().sent
    assert added["method"] == "thread/inject_items"
    assert added["params"]["items"][0]["content"] == [{"type": "input_text", "text": run.prompt}]
    assert turn["method"] == "turn/start"
    assert turn["params"]["input"] == []
