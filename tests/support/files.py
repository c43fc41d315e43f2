"""What there is on disk."""

import os
from pathlib import Path

from services.run_folder import SPARE


def below(folder: Path) -> set[Path]:
    """Everything below a folder.  What is being removed meanwhile may be in it or not; a glob would fail on it."""
    found = set()
    for parent, folders, files in os.walk(folder):
        found |= {Path(parent, name) for name in (*folders, *files)}
    return found


def run_folders(place: Path) -> list[Path]:
    """The folders of runs that go on or wait, of all workers; those that are empty and wait for a run are no such."""
    return [path for path in place.glob("*/*") if path.is_dir() and not path.name.startswith(SPARE)]
