"""claude and the sessions that it keeps: continued, copied and forgotten."""

from dataclasses import replace

import pytest

from services.backends.base import Errand, Options
from services.events import Done, Init, TokenUsage
from tests.services.backends.claude_lines import (
    BACKEND,
    KEPT,
    PLAIN,
    RESUMED,
    SESSION,
    argv_of,
    flags_of,
    replay,
    sent,
    spawn,
    stdout_of,
    talk,
)


def test_a_session_is_kept_only_when_it_is_to_be() -> None:
    assert "--no-session-persistence" in argv_of(PLAIN)
    assert "--no-session-persistence" not in argv_of(KEPT)
    assert spawn(KEPT).in_advance


def test_a_session_is_continued_by_its_id() -> None:
    assert flags_of(replace(RESUMED, model="opus")) == [f"--resume={SESSION}", "--model=opus"]
    assert sent(talk(RESUMED, "/more")) == sent(talk(PLAIN, "/more"))


def test_a_continued_session_counts_this_run_alone() -> None:
    first, second = replay("session-first"), replay("session-second")
    assert first.of(Init)[0].cli_session_id == second.of(Init)[0].cli_session_id == SESSION
    assert (first.outcome.usage.output_tokens, second.outcome.usage.output_tokens) == (15, 1 + 20)
    assert isinstance(second.outcome, Done)
    assert second.outcome.turn_count == 2, "one that asks for the tool, and one with its result"
    assert replay("session-third").outcome.usage == TokenUsage(5 + 7 + 11, 15, 11, 7)


def test_a_copy_is_made_without_asking_the_model() -> None:
    errand = BACKEND.fork(RESUMED)
    assert errand.spawn is not None
    assert errand.conversation is not None
    assert set(errand.spawn.argv) - set(argv_of(KEPT)) == {f"--resume={SESSION}", "--fork-session"}
    errand.conversation.start()
    (message,) = sent(errand.conversation)
    assert (message["shouldQuery"], message["message"]["content"]) == (False, [])


def test_a_copy_tells_its_id() -> None:
    conversation = BACKEND.fork(RESUMED).conversation
    assert conversation is not None
    events = [event for line in stdout_of("session-copy") for event in conversation.receive(line)]
    assert events == [Init("claude-opus-4-8", "e9507bd5-13ac-40fe-86d0-00c32477c0ae")]
    assert conversation.stdin_done
    assert conversation.finish(0, "") == Done(TokenUsage(), 0.0)
    assert replay("session-of-a-copy").of(Init) == events


def test_forgetting_is_left_to_no_process() -> None:
    errand = BACKEND.forget(RESUMED)
    assert errand.spawn is None
    assert ".claude/projects/*/{session}.jsonl" in errand.leftovers


@pytest.mark.parametrize("name", ["..", "*", "", "a/../..", SESSION + "/..", SESSION + "\n"])
def test_what_is_no_id_names_no_file(name: str) -> None:
    assert BACKEND.forget(replace(RESUMED, resume=name)) == Errand()


def test_a_run_that_keeps_nothing_leaves_nothing_named_by_its_session() -> None:
    left = spawn(PLAIN).leftovers
    assert ".claude/session-env/{session}" in left
    assert all("{session}" in pattern for pattern in left)


@pytest.mark.parametrize("options", [KEPT, RESUMED, replace(PLAIN, resume=SESSION)])
def test_nothing_of_a_kept_session_is_removed_by_a_run(options: Options) -> None:
    assert spawn(options).leftovers == ()


NO_MEMORY = ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1")


def test_a_folder_that_goes_away_needs_no_memory() -> None:
    assert NO_MEMORY in spawn(replace(PLAIN, workdir="")).environment
    assert NO_MEMORY in spawn(replace(KEPT, private_folder=True)).environment
    assert NO_MEMORY not in spawn(PLAIN).environment
