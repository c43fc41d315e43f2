"""Which runs there are, in every worker of the server, and how to end one from any of them.

Each worker has a folder of its own below ``<home>/runs``; in it a file describes each of its runs, and a FIFO takes the
ids of runs to be canceled.  So a run costs two writes, no worker needs to know of another, and what a killed worker
leaves is told by its folder's name, which holds the instance and the worker's pid.
"""

import itertools
import logging
import os
import select
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import orjson

from services import descendants

CONTROL = "control"
LIST = "list"
PLACE_BYTES = 2048
"""What a run has in the file: a checksum, its description, a newline; a NUL stands first where there is none."""
CHECKSUM_BYTES = 8
LONGEST_TEXT = PLACE_BYTES - CHECKSUM_BYTES - 1
LONGEST_NAME = 200
"""Characters of a model's name that are told of a run."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as clients see it.  ``started_at`` is in Unix seconds; ``owner`` is whose key it was made with.

    ``queued_ms`` is how long it has waited for a slot, so far or in all.  ``warm`` says whether its CLI had been
    started in advance; None before it has one.
    """

    run_id: str
    backend: str
    model: str
    session_id: str
    owner: str
    started_at: float
    state: Literal["queued", "running"] = "queued"
    queued_ms: int = 0
    warm: bool | None = None


class Registry:
    """The runs of one worker, for the others to see; :meth:`close` is idempotent.

    ``folder`` is where every worker has one of its own, named after it; the engine has made this worker's.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        self._folder = folder
        self._own = folder / worker
        self._cancel: Callable[[str], None] | None = None
        self._control: int | None = None
        self._list: int | None = None
        self._closed = False
        self._places: dict[str, int] = {}
        self._free: deque[int] = deque()
        self._new_places = itertools.count()
        self._lock = threading.Lock()

    def open(self, cancel: Callable[[str], None]) -> None:
        """Begin to listen to the other workers; ``cancel`` is called with the id of a run that is to be ended."""
        self._cancel = cancel
        path = self._own / CONTROL
        os.mkfifo(path, 0o600)
        self._control = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # a writer of its own: the end never comes
        threading.Thread(target=self._listen, args=(self._control, cancel), name="control", daemon=True).start()

    def _listen(self, control: int, cancel: Callable[[str], None]) -> None:
        while True:
            for run_id in os.read(control, select.PIPE_BUF).decode("ascii", "replace").split():
                if run_id == CONTROL:
                    os.close(control)
                    return
                cancel(run_id)

    # ------------------------------------------------------------------ this worker's

    def put(self, record: RunRecord) -> None:
        """A run has come, or is not as it was; where that cannot be written (the disk is full), it goes on unseen."""
        if len(record.model) > LONGEST_NAME:
            record = replace(record, model=record.model[:LONGEST_NAME])
        text = orjson.dumps(record)
        try:
            self._write(self._place_of(record.run_id), b"%08x%b\n" % (zlib.crc32(text), text[:LONGEST_TEXT]))
        except OSError as error:
            log.warning("run %s is not listed as it is: %s", record.run_id, error)

    def _place_of(self, run_id: str) -> int:
        """The place that it has, or has now been given."""
        place = self._places.get(run_id)
        if place is None:
            try:
                place = self._free.pop()
            except IndexError:
                place = next(self._new_places)
            self._places[run_id] = place
        return place

    def remove(self, run_id: str) -> None:
        """A run has gone."""
        place = self._places.pop(run_id, None)
        if place is not None:
            with suppress(OSError):  # then the place stays taken
                self._write(place, b"\0")
                self._free.append(place)

    def _write(self, place: int, data: bytes) -> None:
        """Write into the file, which is made for the first run; nothing any more once it is closed.  Raises OSError."""
        with self._lock:  # so that its descriptor is not closed meanwhile, and another file's by then
            if self._closed:
                return
            if self._list is None:
                self._list = os.open(self._own / LIST, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._list, data, place * PLACE_BYTES)

    # ------------------------------------------------------------------ all workers'

    def list(self, owner: str) -> list[RunRecord]:
        """All runs of an owner, the oldest first."""
        found = [record for _, record in self._all() if record.owner == owner]
        return sorted(found, key=lambda record: record.started_at)

    def count(self) -> Counter[str]:
        """How many runs there are in each state, whoever's."""
        return Counter(record.state for _, record in self._all())

    def get(self, run_id: str, owner: str) -> RunRecord | None:
        """A run of an owner's, wherever it goes on; None when there is none."""
        return next((record for _, record in self._find(run_id, owner)), None)

    def cancel(self, run_id: str, owner: str) -> RunRecord | None:
        """Let a run be ended, wherever it goes on; None when there is none."""
        for folder, record in self._find(run_id, owner):
            if folder == self._own and self._cancel is not None:
                self._cancel(run_id)
            else:
                _tell(folder / CONTROL, run_id)
            return record
        return None

    def _find(self, run_id: str, owner: str) -> Iterator[tuple[Path, RunRecord]]:
        for _ in range(2):  # one that is being written the first time is there the second
            for folder, record in self._all():
                if (record.run_id, record.owner) == (run_id, owner):
                    yield folder, record
                    return

    def _all(self) -> Iterator[tuple[Path, RunRecord]]:
        """The runs of all living workers, each with its worker's folder."""
        for path in self._folder.glob(f"*/{LIST}"):
            if descendants.is_alive(path.parent.name.partition(".")[0]):
                yield from ((path.parent, record) for record in _read(path))

    def close(self) -> None:
        """Listen no more, and write no more."""
        control, self._control = self._control, None
        if control is not None:
            os.write(control, f"{CONTROL}\n".encode("ascii"))
        with self._lock:
            self._closed = True
            if self._list is not None:
                os.close(self._list)
                self._list = None


def _read(path: Path) -> Iterator[RunRecord]:
    """The runs in a worker's file."""
    try:
        data = path.read_bytes()
    except OSError:  # the worker has just ended
        return
    for start in range(0, len(data), PLACE_BYTES):
        if data[start] and (record := _described(data[start : start + PLACE_BYTES])) is not None:
            yield record


def _described(place: bytes) -> RunRecord | None:
    """The run in a place; None when it is being written."""
    text = place[CHECKSUM_BYTES : place.find(b"\n")]
    if place[:CHECKSUM_BYTES] != b"%08x" % zlib.crc32(text):
        return None
    record = RunRecord(**orjson.loads(text))
    if record.warm is None:
        return replace(record, queued_ms=max(0, round((time.time() - record.started_at) * 1000)))
    return record


def _tell(control: Path, word: str) -> None:
    with suppress(OSError):  # the worker is gone, and its runs with it
        fd = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, f"{word}\n".encode("ascii"))
        finally:
            os.close(fd)
