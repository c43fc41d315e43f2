"""Homes of a run's own."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.backends.base import KeptFile, PrivateHome
from services.private_home import furnish, keep, merge

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


HIDING = PrivateHome("TOOL_HOME", "", (), ("memory.md",), "", "{}", usual=".tool", only_to_hide=True)


def test_a_home_that_only_hides_is_the_users_own_when_there_is_nothing_to_hide(tmp_path: Path, users_own: Path) -> None:
    for environment in ({"HOME": str(users_own)}, {"TOOL_HOME": str(users_own / ".tool"), "HOME": "/nonexistent"}):
        assert furnish(HIDING, tmp_path / "place", environment) == users_own / ".tool"
    assert not (tmp_path / "place").exists()


def test_a_home_that_only_hides_has_all_but_that(tmp_path: Path, users_own: Path) -> None:
    (users_own / ".tool" / "memory.md").write_text("be a pirate")
    place = furnish(HIDING, tmp_path / "place", {"HOME": str(users_own)})
    assert sorted(path.name for path in place.iterdir()) == ["login", "state", "state.json"]
    (place / "login").write_text("newer token")
    assert (users_own / ".tool" / "login").read_text() == "newer token"


def test_a_home_that_only_hides_is_made_when_the_user_has_none(tmp_path: Path) -> None:
    assert furnish(HIDING, tmp_path / "place", {"HOME": str(tmp_path)}).is_dir()
    assert furnish(HIDING, tmp_path / "place", {}) == Path("/nonexistent/.tool")


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


# ---------------------------------------------------------------------- what outlives a home

KEPT = KeptFile(".tool/kept/{session}.log", "talk/*.log", "talk/before.log", lambda text: text.strip())


def a_home(tmp_path: Path, users_own: Path, resume: str = "") -> tuple[PrivateHome, Path]:
    home = replace(HOME, kept=replace(KEPT, resume=resume))
    return home, furnish(home, tmp_path / f"home-{resume}", {"HOME": str(users_own)})


def written(place: Path, **files: str) -> None:
    (place / "talk").mkdir(exist_ok=True)
    for name, text in files.items():
        (place / "talk" / f"{name}.log").write_text(text)


def test_a_conversation_outlives_its_home(tmp_path: Path, users_own: Path) -> None:
    home, place = a_home(tmp_path, users_own)
    written(place, a=" ", b=" said \n", c="")
    keep(home, place, users_own, "s-1")
    kept = users_own / ".tool" / "kept"
    assert [(path.name, path.read_text()) for path in kept.iterdir()] == [("s-1.log", "said")]
    assert stat.S_IMODE((kept / "s-1.log").stat().st_mode) == 0o600
    home, place = a_home(tmp_path, users_own, "s-1")
    assert (place / "talk" / "before.log").read_text() == "said"
    written(place, before="said more")
    assert (kept / "s-1.log").read_text() == "said", "not before the run has ended"
    keep(home, place, users_own, "s-1")
    assert [(path.name, path.read_text()) for path in kept.iterdir()] == [("s-1.log", "said more")]


@pytest.mark.parametrize("session_id", ["unknown", "../login", "a/b", "", "."])
def test_a_conversation_that_was_not_kept_is_not_there(tmp_path: Path, users_own: Path, session_id: str) -> None:
    home = replace(HOME, kept=replace(KEPT, resume=session_id))
    place = furnish(home, tmp_path / "home", {"HOME": str(users_own)})
    assert not (place / "talk").exists()


@pytest.mark.parametrize("session_id", ["../login", "a/b", "", ".", ".."])
def test_a_name_that_is_none_is_not_written_to(tmp_path: Path, users_own: Path, session_id: str) -> None:
    home, place = a_home(tmp_path, users_own)
    written(place, a="said")
    before = sorted(users_own.rglob("*"))
    keep(home, place, users_own, session_id)
    assert sorted(users_own.rglob("*")) == before


def test_nothing_is_kept_of_what_says_nothing(tmp_path: Path, users_own: Path) -> None:
    home, place = a_home(tmp_path, users_own)
    keep(home, place, users_own, "s-1")
    written(place, a="  ")
    keep(home, place, users_own, "s-1")
    keep(HOME, place, users_own, "s-1")
    keep(None, place, users_own, "s-1")
    assert not (users_own / ".tool" / "kept").exists()


def test_a_conversation_that_cannot_be_kept_is_logged(
    tmp_path: Path, users_own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home, place = a_home(tmp_path, users_own)
    written(place, a="said")
    (users_own / ".tool" / "kept").write_text("in the way")
    keep(home, place, users_own, "s-1")
    assert "s-1 could not be kept" in caplog.text


def test_the_users_settings_go_over_the_defaults(tmp_path: Path, users_own: Path) -> None:
    (users_own / ".tool" / "settings.json").write_text('{"b": {"c": 1}}')
    home = replace(HOME, defaults='{"a": 9, "b": {"c": 2, "d": 3}}')
    place = furnish(home, tmp_path / "home", {"HOME": str(users_own)})
    assert json.loads((place / ".tool" / "settings.json").read_text()) == {"a": 1, "b": {"c": 1, "d": 3}}
