"""claude as it is started: its command line and its environment."""

import json
from dataclasses import replace

import pytest

from services.settings import ApprovalMode
from tests.services.backends.claude_lines import PLAIN, argv_of, flags_of, sent, spawn, talk


def test_a_plain_run() -> None:
    plain = spawn(PLAIN)
    assert plain.argv[:2] == ("claude", "-p")
    assert "--no-session-persistence" in plain.argv
    assert plain.in_advance
    assert plain.cwd == PLAIN.workdir
    assert not plain.warnings


GUARD = ("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1")


def test_attachments_are_off_where_no_file_can_switch_them_on() -> None:
    request = json.loads(spawn(PLAIN).opening)["request"]
    assert request["subtype"] == "apply_flag_settings"
    assert GUARD in request["settings"]["env"].items()
    assert GUARD in spawn(PLAIN).environment


def test_a_limit_does_not_take_the_place_of_the_guard() -> None:
    request, *_ = sent(talk(replace(PLAIN, max_tokens=5)))
    assert GUARD in request["request"]["settings"]["env"].items()


def test_retries_are_limited() -> None:
    assert ("CLAUDE_CODE_MAX_RETRIES", "5") in spawn(replace(PLAIN, max_retries=5)).environment


@pytest.mark.parametrize(("mode", "told"), [("auto", "acceptEdits"), ("none", "dontAsk"), ("always", "default")])
def test_approval_modes(mode: ApprovalMode, told: str) -> None:
    assert flags_of(replace(PLAIN, approval_mode=mode)) == [f"--permission-mode={told}"]


def test_what_is_chosen_at_the_start() -> None:
    options = replace(PLAIN, model="--resume", max_turns=3, verbose=True)
    assert flags_of(options) == ["--model=--resume", "--max-turns=3"]


def test_allowed_tools_are_the_only_ones() -> None:
    options = replace(PLAIN, allowed_tools=("Bash(git *)", "Bash(ls *)", "Read", "mcp__db__query"))
    assert flags_of(options) == [
        "--tools=Bash,Read",
        "--allowed-tools=Bash(git *)",
        "--allowed-tools=Bash(ls *)",
        "--allowed-tools=Read",
        "--allowed-tools=mcp__db__query",
    ]
    assert flags_of(replace(PLAIN, allowed_tools=())) == ["--tools="]


def test_extra_flags_come_last_in_one_word_each() -> None:
    extra = ("--verbose", "--model", "b", "--max-budget-usd=1", "--allowedTools", "Bash(ls *) Read")
    flags = argv_of(replace(PLAIN, model="a", extra=extra))
    assert flags[-5:] == ["--model=a", "--verbose", "--model=b", "--max-budget-usd=1", "--allowedTools=Bash(ls *) Read"]


@pytest.mark.parametrize(
    ("extra", "flags"),
    [
        (("--add-dir", "/a", "/b", "--effort", "low"), ["--add-dir=/a", "--add-dir=/b", "--effort=low"]),
        (("--append-system-prompt", "- be brief", "--ide"), ["--ide"]),
        (("--effort=low", "--ide"), ["--effort=low", "--ide"]),
        (("stray", "--ide"), ["--ide"]),
    ],
)
def test_flags_of_the_configuration_may_be_any(extra: tuple[str, ...], flags: list[str]) -> None:
    assert flags_of(replace(PLAIN, extra=extra)) == flags


def test_a_sandbox_is_not_to_be_had() -> None:
    warned = spawn(replace(PLAIN, sandbox_mode="read-only"))
    assert [warning.partition(":")[0] for warning in warned.warnings] == ["sandbox_mode"]
    assert warned == spawn(PLAIN), "a warning makes no other process"


def test_prompts_and_limits_leave_the_process_the_same() -> None:
    later = replace(PLAIN, max_tokens=5, system_prompt="a", append_system_prompt="b", verbose=True)
    assert spawn(later) == spawn(PLAIN)
