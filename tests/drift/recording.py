"""One scenario with one version of a CLI, as a file of JSON lines."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parents[1] / "recordings"
SUFFIX = ".jsonl"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    """What was said and what came of it.

    ``lines`` are entries ``{"argv"|"to"|"from"|"err"|"exit": …}``, an ``argv`` beginning each process; ``answer`` is
    what a client of clinvk got, reduced to what must not change, or ``{"failed": why}``.
    """

    lines: tuple[Json, ...]
    answer: Json

    def processes(self) -> list[list[Json]]:
        """The entries of each process."""
        found: list[list[Json]] = []
        for line in self.lines:
            if "argv" in line or not found:
                found.append([])
            found[-1].append(line)
        return found


Recordings = Mapping[str, Recording]
"""By the names of the scenarios."""


def folder_of(cli: str, version: str) -> Path:
    """Where the recordings of a version are kept."""
    return RECORDINGS / cli / version / "drift"


def write(folder: Path, recordings: Recordings) -> None:
    """Put them into a folder, and nothing else of that kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*{SUFFIX}"):
        path.unlink()
    for name, recording in recordings.items():
        entries = (*recording.lines, {"answer": recording.answer})
        (folder / f"{name}{SUFFIX}").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def read(folder: Path) -> Recordings:
    """Those of a folder; none when it is not there.  ValueError when one has no answer."""
    return {path.stem: parse(path.read_text().splitlines()) for path in sorted(folder.glob(f"*{SUFFIX}"))}


def parse(lines: Iterable[str]) -> Recording:
    """A recording from the lines of its file."""
    *entries, last = [json.loads(line) for line in lines] or [{}]
    if "answer" not in last:
        raise ValueError("a recording ends with its answer")
    return Recording(tuple(entries), last["answer"])
