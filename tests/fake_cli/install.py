"""Put the program into a folder, and read what it did there."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = """#!{python} -IS
import sys
sys.path.append({root!r})
from tests.fake_cli.program import main
main({name!r}, {dialect!r}, {diary!r}, {always!r})
"""


@dataclass(frozen=True, slots=True)
class FakeClis:
    """A folder ``bin`` of fake programs and, beside it, the diary of what they did."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def diary(self) -> Path:
        return self.folder / "diary.jsonl"

    def install(self, name: str, *, dialect: str = "", always: str = "") -> Path:
        """Install the program under this name; ``always`` are words added to every prompt."""
        self.bin.mkdir(parents=True, exist_ok=True)
        text = LAUNCHER.format(
            python=sys.executable,
            root=str(ROOT),
            name=name,
            dialect=dialect or name,
            diary=str(self.diary),
            always=always,
        )
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def entries(self, event: str = "") -> list[dict[str, Any]]:
        """What the programs noted: ``start prompt control request signal end version``."""
        if not self.diary.exists():
            return []
        entries = [json.loads(line) for line in self.diary.read_text().splitlines()]
        return [entry for entry in entries if event in ("", entry["event"])]

    def starts(self) -> list[dict[str, Any]]:
        """Every start that was no question for the version: ``pid argv env`` (names) ``cwd run_id``."""
        return self.entries("start")


def seen(output: str) -> Mapping[str, str]:
    """What an answer says the program saw: ``name turn chars sha256 model sys sys_sha256`` (and ``decision``)."""
    assert output.startswith("fake-cli "), output[:200]
    words = output.partition(" | ")[0].split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def told(output: str, what: str) -> Any:
    """What an answer tells about ``env``, ``argv`` or ``cwd``."""
    line = next(line for line in output.splitlines() if line.startswith(what + " "))
    return json.loads(line.removeprefix(what + " "))
