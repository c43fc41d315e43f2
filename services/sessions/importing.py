"""Reading the sessions of clinvoker: a folder with one JSON file each, and an index that we do not need."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.events import TokenUsage
from services.sessions.queries import is_session_id
from services.sessions.records import Session, Status
from services.sessions.store import SessionStore

_INDEX = "index.json"
_MOST_BYTES = 16 * 1024 * 1024


class _BrokenError(ValueError):
    """Why a file is no session."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that was skipped, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an import did: files that hold sessions, how many of those were new, and the files that hold none."""

    found: int
    added: int
    broken: tuple[Broken, ...]


def import_sessions(store: SessionStore, folder: Path, *, owner: str = "") -> Report:
    """Add the sessions of clinvoker's folder (its home, or ``sessions`` within) that the store does not have yet.

    The files stay as they are, so this can be repeated.  Raises StoreError, and OSError when the folder cannot be read.
    """
    within = folder / "sessions"
    paths = _session_files(within if within.is_dir() else folder)
    broken: list[Broken] = []
    found = 0

    def readable() -> Iterator[Session]:
        nonlocal found
        for path in paths:
            try:
                session = read_session(path, owner)
            except (_BrokenError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                broken.append(Broken(path, reason or "cannot be read"))
            else:
                found += 1
                yield session

    added = store.adopt(readable())
    return Report(found, added, tuple(broken))


def read_session(path: Path, owner: str) -> Session:
    """The session of one file.  Raises ValueError with the reason when it holds none, and OSError."""
    status = path.stat()
    if status.st_size > _MOST_BYTES:
        raise _BrokenError("too large for a session")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise _BrokenError("not JSON") from None
    if not isinstance(content, dict):
        raise _BrokenError("not a JSON object")
    return _Record(content, used=status.st_mtime).session(path.stem, owner)


def _session_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix == ".json" and path.name != _INDEX and not path.name.startswith(".") and not path.is_dir()
    )


class _Record:
    """Typed access to the fields of a file; null and a missing field are the same."""

    def __init__(self, content: dict[str, Any], used: float) -> None:
        self._content = content
        self._used = used

    def session(self, name: str, owner: str) -> Session:
        """The session, whose file must bear its id as its name."""
        session_id, backend = self._text("id"), self._text("backend")
        if session_id != name:
            raise _BrokenError(f"id: does not agree with the name of the file, {name!r}")
        if not is_session_id(session_id):
            raise _BrokenError("id: not letters, digits, - and _, at most 64")
        if not backend:
            raise _BrokenError("backend: missing")
        last_used = self._time("last_used", self._used)
        cli_session_id, turn_count = self._text("backend_session_id"), self._count(self._content, "turn_count")
        return Session(
            id=session_id,
            backend=backend,
            owner=owner,
            created_at=self._time("created_at", last_used),
            last_used=last_used,
            # What clinvoker calls active or paused is a session that can go on: nothing runs in it now.
            status=Status.ERROR if self._text("status") == Status.ERROR else Status.COMPLETED,
            cli_session_id=cli_session_id,
            working_dir=self._text("working_dir"),
            model=self._text("model"),
            initial_prompt=self._text("initial_prompt"),
            error_message=self._text("error_message"),
            turn_count=turn_count,
            usage=self._usage(),
            tags=self._tags(),
            title=self._text("title"),
            metadata=self._metadata(),
            parent_id=self._text("parent_id"),
            # Without the CLI's id the conversation so far cannot be found again.
            expired=turn_count > 0 and not cli_session_id,
        )

    def _text(self, name: str) -> str:
        value = self._content.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _BrokenError(f"{name}: not a string")
        return value

    def _time(self, name: str, default: float) -> float:
        text = self._text(name)
        if not text:
            return default
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise _BrokenError(f"{name}: not a time") from None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return seconds if seconds > 0 else default  # Go's zero time stands for none

    def _usage(self) -> TokenUsage:
        value = self._content.get("token_usage") or {}
        if not isinstance(value, dict):
            raise _BrokenError("token_usage: not an object")
        return TokenUsage(
            input_tokens=self._count(value, "input_tokens"),
            output_tokens=self._count(value, "output_tokens"),
            cached_tokens=self._count(value, "cached_tokens"),
            reasoning_tokens=self._count(value, "reasoning_tokens"),
        )

    @staticmethod
    def _count(content: dict[str, Any], name: str) -> int:
        value = content.get(name)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _BrokenError(f"{name}: not a number")
        return max(0, min(int(value), 2**31 - 1))  # what every column can hold

    def _tags(self) -> tuple[str, ...]:
        value = self._content.get("tags") or []
        if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
            raise _BrokenError("tags: not a list of strings")
        return tuple(value)

    def _metadata(self) -> dict[str, str]:
        value = self._content.get("metadata") or {}
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise _BrokenError("metadata: not an object of strings")
        return value
