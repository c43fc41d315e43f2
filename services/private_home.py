"""Homes of a run's own: what the user has set up is there, what the CLI leaves in it goes away with the run."""

import json
import logging
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.backends.base import KeptFile, PrivateHome
from services.backends.lenient import without_comments

log = logging.getLogger(__name__)

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def furnish(home: PrivateHome, place: Path, environment: Mapping[str, str]) -> Path:
    """Make the home at ``place`` from the user's own, and give the path of the one that the CLI is to have."""
    users_own = _users_own(home, environment)
    if home.only_to_hide and not any((users_own / home.folder / name).exists() for name in home.private):
        with suppress(OSError):  # there is a CLI that makes its home, but not one that it is told of
            users_own.mkdir(mode=0o700, exist_ok=True)
        return users_own
    folder = place / home.folder
    folder.mkdir(mode=0o700, parents=True)
    for path in _shared(home, users_own):
        (place / path.relative_to(users_own)).symlink_to(path)
    if home.settings:
        settings = users_own / home.folder / home.settings
        _write(folder / home.settings, merged_settings(settings, json.loads(home.changes), json.loads(home.defaults)))
    for name, text in home.files:
        _write(folder / name, text)
    if home.kept is not None and home.kept.resume:
        _bring(home.kept, place, Path(environment.get("HOME") or "/nonexistent"))
    return place


def _users_own(home: PrivateHome, environment: Mapping[str, str]) -> Path:
    named = environment.get(home.variable)
    return Path(named) if named else Path(environment.get("HOME") or "/nonexistent") / home.usual


def keep(home: PrivateHome | None, place: Path, users_home: Path, session_id: str) -> None:
    """Put the conversation that the CLI wrote in the home at ``place`` to where it outlives it, if it is to be kept."""
    if home is None or home.kept is None:
        return
    target = _place(home.kept, users_home, session_id)
    try:
        texts = (home.kept.tidy(path.read_bytes()) for path in sorted(place.glob(home.kept.written)))
        text = next((text for text in texts if text), b"")
        if target is not None and text:
            _replace(target, text)
    except OSError:
        log.exception("the conversation %s could not be kept", session_id)


def _replace(path: Path, text: bytes) -> None:
    """Write a file so that whoever reads it finds either the old text or the new."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{uuid.uuid4().hex}")
    new.touch(mode=0o600)
    new.write_bytes(text)
    new.replace(path)


def _bring(kept: KeptFile, place: Path, users_home: Path) -> None:
    """Let the CLI find the conversation, if it was kept: a copy, so that no run can leave half a file behind."""
    source = _place(kept, users_home, kept.resume)
    if source is not None and source.is_file():
        target = place / kept.read
        target.parent.mkdir(mode=0o700, parents=True)
        target.touch(mode=0o600)
        target.write_bytes(source.read_bytes())


def _place(kept: KeptFile, users_home: Path, session_id: str) -> Path | None:
    """Where a conversation is kept; None when its id is no name of a file."""
    if not PLAIN_NAME.fullmatch(session_id):
        return None
    return users_home / kept.place.replace("{session}", session_id)


def _shared(home: PrivateHome, users_own: Path) -> Iterator[Path]:
    """What the CLI is to find of the user's own home, as far as it is there."""
    kept_apart = {home.settings, *home.private, *(name.partition("/")[0] for name, _ in home.files)}
    with suppress(OSError):  # there may be none, or none that we may read: the CLI will say what it lacks
        yield from (path for path in (users_own / home.folder).iterdir() if path.name not in kept_apart)
    yield from (path for name in home.beside if (path := users_own / name).exists())


def merged_settings(path: Path, changes: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The user's settings between defaults and changes; unreadable ones are left for the CLI to complain about."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = "{}"
    try:
        own = json.loads(without_comments(text))
        return json.dumps(merge(merge(defaults, own if isinstance(own, dict) else {}), changes))
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


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8", newline="")
