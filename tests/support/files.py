"""What there is on disk."""

import os
from pathlib import Path


def below(folder: Path) -> set[Path]:
    """Everything below a folder.  What is being removed meanwhile may be in it or not; a glob would fail on it."""
    found = set()
    for parent, folders, files in os.walk(folder):
        found |= {Path(parent, name) for name in (*folders, *files)}
    return found
