"""Recordings on the disk: of each pinned version there is one of each scenario."""

import re
from pathlib import Path

import pytest

from services.backends import BUILT_IN
from tests.drift.recording import SUFFIX, Recording, folder_of, parse, read, write
from tests.drift.scenarios import CUT_SHORT, SCENARIOS
from tests.drift.trial import CLIS

PLACES = re.compile(r"127\.0\.0\.1:\d+|clinvk-drift-|(?<![\w>])/(?:home|root|tmp|work|Users)/[^\s\"]*")
"""Ports, and folders of a machine."""

TOOL = Recording(
    ({"argv": ["x"]}, {"to": {"ä": 1}}, {"exit": 0}, {"argv": ["x"]}, {"from": "text"}), {"text": "\u2028"}
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "new", {"tool": TOOL, "other": Recording((), {})})
    write(tmp_path / "new", {"tool": TOOL})
    assert read(tmp_path / "new") == {"tool": TOOL}


def test_of_what_is_not_there_nothing_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == {}


@pytest.mark.parametrize("lines", [[], ['{"argv": []}']])
def test_a_recording_without_an_answer_is_none(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="its answer"):
        parse(lines)


def test_each_process_begins_with_its_command() -> None:
    assert TOOL.processes() == [list(TOOL.lines[:3]), list(TOOL.lines[3:])]


@pytest.mark.parametrize("cli", CLIS)
def test_the_pinned_version_was_recorded_in_every_scenario(cli: str) -> None:
    recordings = read(folder_of(cli, BUILT_IN[cli].tested_version))
    assert recordings.keys() == SCENARIOS.keys() | {"server"}
    for name, recording in recordings.items():
        assert "failed" not in recording.answer, name
        assert bool(recording.lines) == (name not in CUT_SHORT | {"server"}), name


@pytest.mark.parametrize("cli", CLIS)
def test_no_place_and_no_port_is_in_a_recording(cli: str) -> None:
    for path in folder_of(cli, BUILT_IN[cli].tested_version).glob(f"*{SUFFIX}"):
        assert not PLACES.findall(path.read_text()), path.name
