"""A program that stands in for another does as that one does, and writes it down."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.drift import tap

TALK = """
echo '{"type":"ready"}'
read line
printf 'heard %s\\n' "$line"
echo oops >&2
printf 'no newline'
exit 7
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "it's kept"


def stand_in(tmp_path: Path, kept: Path, script: str) -> Path:
    """A stand-in for a shell script."""
    program = tmp_path / "real" / "agent"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return tap.install(tmp_path / "bin", "agent", program, kept)


def noted(kept: Path) -> list[dict[str, Any]]:
    """What was written down of the only run."""
    (path,) = kept.iterdir()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_both_sides_of_a_talk(tmp_path: Path, kept: Path) -> None:
    program = stand_in(tmp_path, kept, TALK)
    done = subprocess.run([program, "-p", "a b"], input=b'{"id":1}\n', capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (
        7,
        b'{"type":"ready"}\nheard {"id":1}\nno newline',
        b"oops\n",
    )
    entries = noted(kept)
    assert (entries[0], entries[-1]) == ({"argv": ["agent", "-p", "a b"]}, {"exit": 7})
    assert [entry["from"] for entry in entries if "from" in entry] == [
        {"type": "ready"},
        'heard {"id":1}',
        "no newline",
    ]
    assert {"err": "oops"} in entries
    assert entries.index({"to": {"id": 1}}) < entries.index({"from": 'heard {"id":1}'})


def test_the_end_of_the_input_is_passed_on(tmp_path: Path, kept: Path) -> None:
    program = stand_in(tmp_path, kept, "cat >/dev/null; echo over")
    done = subprocess.run([program], input=b"x" * 1_000_000, capture_output=True, check=True, timeout=60)
    assert done.stdout == b"over\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_ends_it_as_it_ended_the_program(
    number: signal.Signals, tmp_path: Path, kept: Path
) -> None:
    program = stand_in(tmp_path, kept, "echo ready; exec sleep 60")
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(60) == -number
    assert noted(kept)[-1] == {"exit": -number}
