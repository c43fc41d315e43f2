"""Homes of a run's own."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.backends.base import PrivateHome
from services.private_home import furnish, merge

HOME = PrivateHome("TOOL_HOME", ".tool", (".also", ".not-there"), ("state", "state.json"), "settings.json", '{"a":1}')


@pytest.fixture
def users_own(tmp_path: Path) -> Path:
    """A user's home, with something in it."""
    folder = tmp_path / "user"
    for name, text in ((".tool/login", "token"), (".tool/state/old", "x"), (".tool/state.json", "x"), (".also/x", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_users_things_are_there_and_the_state_is_not(tmp_path: Path, users_own: Path) -> None:
    place = furnish(HOME, tmp_path / "home", {"HOME": str(users_own)})
    assert sorted(path.name for path in place.iterdir()) == [".also", ".tool"]
    assert sorted(path.name for path in (place / ".tool").iterdir()) == ["login", "settings.json"]
    (place / ".tool" / "login").write_text("newer token")
    assert (users_own / ".tool" / "login").read_text() == "newer token"
    assert stat.S_IMODE((place / ".tool").stat().st_mode) == 0o700
    assert stat.S_IMODE((place / ".tool" / "settings.json").stat().st_mode) == 0o600


def test_the_variable_may_say_where_the_users_own_is(tmp_path: Path, users_own: Path) -> None:
    place = furnish(HOME, tmp_path / "home", {"HOME": "/nonexistent", "TOOL_HOME": str(users_own)})
    assert (place / ".tool" / "login").read_text() == "token"


def test_a_user_without_a_home_gets_the_settings(tmp_path: Path) -> None:
    place = furnish(HOME, tmp_path / "home", {})
    assert json.loads((place / ".tool" / "settings.json").read_text()) == {"a": 1}


def test_files_are_written_over_what_the_user_has_there(tmp_path: Path, users_own: Path) -> None:
    (users_own / ".tool" / "login").unlink()
    (users_own / ".tool" / "own").mkdir()
    place = furnish(replace(HOME, files=(("own/text.md", "é\r\n"),)), tmp_path / "home", {"HOME": str(users_own)})
    assert (place / ".tool" / "own" / "text.md").read_bytes() == "é\r\n".encode()
    assert not list((users_own / ".tool" / "own").iterdir())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"b": {"c": 1}} // "said"', {"a": 1, "b": {"c": 1}}),
        ('/* "a": 5 */ {"url": "http://x/*y*/", "a": 2}', {"a": 1, "url": "http://x/*y*/"}),
        ('{"q": "\\"// no comment"}', {"a": 1, "q": '"// no comment'}),
        ("[]", {"a": 1}),
    ],
)
def test_the_users_settings_may_have_comments(tmp_path: Path, users_own: Path, text: str, expected: object) -> None:
    (users_own / ".tool" / "settings.json").write_text(text)
    place = furnish(HOME, tmp_path / "home", {"HOME": str(users_own)})
    assert json.loads((place / ".tool" / "settings.json").read_text()) == expected


def test_broken_settings_are_left_for_the_cli_to_complain_about(tmp_path: Path, users_own: Path) -> None:
    (users_own / ".tool" / "settings.json").write_text('{"a": ')
    place = furnish(HOME, tmp_path / "home", {"HOME": str(users_own)})
    assert (place / ".tool" / "settings.json").read_text() == '{"a": '


@pytest.mark.parametrize(
    ("value", "changes", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_changes_are_merged(value: Any, changes: dict[str, Any], expected: object) -> None:
    assert merge(value, changes) == expected
