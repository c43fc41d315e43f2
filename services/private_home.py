"""Homes of a run's own: what the user has set up is there, what the CLI leaves in it goes away with the run."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.backends.base import PrivateHome

STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def furnish(home: PrivateHome, place: Path, environment: Mapping[str, str]) -> Path:
    """Make the home at ``place`` from the user's own, and give its path."""
    users_own = Path(environment.get(home.variable) or environment.get("HOME") or "/nonexistent")
    folder = place / home.folder
    folder.mkdir(mode=0o700, parents=True)
    for path in _shared(home, users_own):
        (place / path.relative_to(users_own)).symlink_to(path)
    _write(folder / home.settings, merged_settings(users_own / home.folder / home.settings, json.loads(home.changes)))
    for name, text in home.files:
        _write(folder / name, text)
    return place


def _shared(home: PrivateHome, users_own: Path) -> Iterator[Path]:
    """What the CLI is to find of the user's own home, as far as it is there."""
    kept_apart = {home.settings, *home.private, *(name.partition("/")[0] for name, _ in home.files)}
    with suppress(OSError):  # there may be none, or none that we may read: the CLI will say what it lacks
        yield from (path for path in (users_own / home.folder).iterdir() if path.name not in kept_apart)
    yield from (path for name in home.beside if (path := users_own / name).exists())


def merged_settings(path: Path, changes: Mapping[str, Any]) -> str:
    """The user's settings with changes over them, as text; unreadable ones are left for the CLI to complain about."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = "{}"
    try:
        return json.dumps(merge(json.loads(_without_comments(text)), changes))
    except ValueError:
        return text


def merge(value: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON value with a merge patch applied to it (RFC 7396)."""
    result = dict(value) if isinstance(value, dict) else {}
    for name, change in changes.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), change) if isinstance(change, dict) else change
    return result


def _without_comments(text: str) -> str:
    return STRING_OR_COMMENT.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8", newline="")
