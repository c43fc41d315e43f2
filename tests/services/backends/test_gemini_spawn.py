"""gemini as it is started: its command line, and the files that stand for options."""

import json
from dataclasses import replace
from typing import Any

import pytest

from services.backends.base import InRun, Options
from tests.services.backends.gemini_lines import BACKEND, PLAIN


def changes(options: Options) -> dict[str, Any]:
    home = BACKEND.spawn(options).home
    assert home is not None
    changed: dict[str, Any] = json.loads(home.changes)
    return changed


def test_the_plain_command() -> None:
    spawn = BACKEND.spawn(replace(PLAIN, model=""))
    assert spawn.argv == ("gemini", "--acp", "--skip-trust")
    assert spawn.cwd == PLAIN.workdir
    assert [json.loads(line)["method"] for line in spawn.opening.splitlines()] == ["initialize", "session/new"]
    assert (spawn.files, spawn.warnings, spawn.leftovers) == ((), (), ())
    assert changes(PLAIN) == {
        "general": {"enableAutoUpdate": False, "maxAttempts": 3},
        "tools": {"shell": {"enableInteractiveShell": False}},
    }


def test_nothing_that_it_keeps_of_a_run_is_the_users() -> None:
    home = BACKEND.spawn(PLAIN).home
    assert home is not None
    assert (home.variable, home.folder, set(home.private)) == (
        "GEMINI_CLI_HOME",
        ".gemini",
        {"tmp", "history", "projects.json", "clinvk"},
    )


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (replace(PLAIN, model="-odd"), "--model=-odd"),
        (replace(PLAIN, approval_mode="auto"), "--approval-mode=auto_edit"),
        (replace(PLAIN, approval_mode="none"), "--approval-mode=yolo"),
        (replace(PLAIN, approval_mode="always"), "--approval-mode=default"),
        (replace(PLAIN, verbose=True), "--debug"),
    ],
)
def test_options_that_are_flags(options: Options, flag: str) -> None:
    assert flag in BACKEND.spawn(options).argv


def test_a_flag_in_extra_takes_the_place_of_the_option() -> None:
    extra = ("--model", "other", "--approval-mode=plan", "--debug")
    options = replace(PLAIN, approval_mode="none", verbose=True, extra=extra)
    assert BACKEND.spawn(options).argv == ("gemini", "--acp", "--skip-trust", *extra)


@pytest.mark.parametrize(
    ("options", "path", "value"),
    [
        (replace(PLAIN, max_retries=0), ("general", "maxAttempts"), 1),
        (replace(PLAIN, max_turns=4), ("model", "maxSessionTurns"), 4),
        (replace(PLAIN, allowed_tools=("glob",)), ("tools", "core"), ["glob"]),
        (replace(PLAIN, sandbox_mode="workspace"), ("tools", "exclude"), ["run_shell_command"]),
    ],
)
def test_options_that_are_settings(options: Options, path: tuple[str, str], value: object) -> None:
    assert changes(options)[path[0]][path[1]] == value


def test_the_limit_of_an_answer_holds_for_every_model() -> None:
    (override,) = changes(replace(PLAIN, max_tokens=77))["modelConfigs"]["customOverrides"]
    assert override["match"] == {"isChatModel": True}
    assert override["modelConfig"] == {"generateContentConfig": {"maxOutputTokens": 77}}


def test_system_prompts_are_files() -> None:
    spawn = BACKEND.spawn(replace(PLAIN, system_prompt="be @x", append_system_prompt="and ${y}"))
    assert spawn.files == (("system.md", "be @x"),)
    assert ("GEMINI_SYSTEM_MD", InRun("system.md")) in spawn.environment
    assert spawn.home is not None
    (name, text), _ = spawn.home.files
    assert text == "and ${y}"
    assert " " in name, "an @import could spell it"
    assert json.loads(spawn.home.changes)["context"] == {"fileName": ["GEMINI.md", name], "importFormat": "flat"}
    assert not [word for word in spawn.argv if "be" in str(word)]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (replace(PLAIN, sandbox_mode="read-only"), "sandbox_mode"),
        (replace(PLAIN, sandbox_mode="workspace"), "sandbox_mode"),
        (replace(PLAIN, system_prompt="list ${AvailableTools}"), "variables"),
        (replace(PLAIN, system_prompt="use ${glob_ToolName}"), "variables"),
        (replace(PLAIN, system_prompt="a\n\n\nb"), "blank lines"),
        (replace(PLAIN, append_system_prompt=" a"), "blank lines"),
    ],
)
def test_what_it_cannot_honour_is_told(options: Options, named: str) -> None:
    (warning,) = BACKEND.spawn(options).warnings
    assert named in warning
    assert BACKEND.spawn(replace(PLAIN, system_prompt="${other}", sandbox_mode="full")).warnings == ()


def test_equal_options_are_equal_spawns() -> None:
    assert BACKEND.spawn(PLAIN) == BACKEND.spawn(replace(PLAIN))
    assert BACKEND.spawn(PLAIN) != BACKEND.spawn(replace(PLAIN, max_tokens=1))
    assert BACKEND.spawn(PLAIN).in_advance
