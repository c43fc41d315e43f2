"""Which runs there are, in every worker of the server, and how to end one from any of them.

Each worker has a folder of its own below ``<home>/runs``; in it a small file describes each of its runs, and a FIFO
takes the ids of runs to be canceled.  So a run costs two file operations, no worker needs to know of another, and
what a killed worker leaves is told by its folder's name, which holds the instance and the worker's pid.
"""

import logging
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import orjson

from services import descendants

DESCRIPTION = ".run"
CONTROL = "control"
LONGEST_ID = 64
"""Characters of the ids that are looked for: a longer one would be too long for a file's name."""

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

    def add(self, record: RunRecord) -> None:
        """A run has come; where that cannot be written down (the disk is full), it goes on unseen."""
        try:  # whoever reads it before it is whole takes it for a run that has not come yet
            with open(self._description(record.run_id), "wb", buffering=0) as file:  # noqa: PTH123 - for every run
                file.write(orjson.dumps(record))
        except OSError as error:
            log.warning("run %s will not be listed: %s", record.run_id, error)
            self.remove(record.run_id)

    def change(self, record: RunRecord) -> None:
        """Something of a run is different now; whoever looks sees it as it was or as it is."""
        path = self._description(record.run_id)
        try:
            Path(f"{path}~").write_bytes(orjson.dumps(record))
            os.replace(f"{path}~", path)  # noqa: PTH105 - as the others
        except OSError as error:
            log.warning("run %s is listed as it was: %s", record.run_id, error)

    def remove(self, run_id: str) -> None:
        """A run has gone."""
        with suppress(FileNotFoundError):
            os.unlink(self._description(run_id))  # noqa: PTH108 - for every run

    def _description(self, run_id: str) -> str:
        return f"{self._own}/{run_id}{DESCRIPTION}"

    def list(self, owner: str) -> list[RunRecord]:
        """All runs of an owner, the oldest first."""
        found = [record for path in self._descriptions("*") if (record := _read(path)) and record.owner == owner]
        return sorted(found, key=lambda record: record.started_at)

    def count(self) -> Counter[str]:
        """How many runs there are in each state, whoever's."""
        return Counter(record.state for path in self._descriptions("*") if (record := _read(path)))

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
        if not run_id.isalnum() or len(run_id) > LONGEST_ID:
            return
        for path in self._descriptions(run_id):
            record = _read(path)
            if record is not None and record.owner == owner:
                yield path.parent, record

    def _descriptions(self, run_id: str) -> Iterator[Path]:
        for path in self._folder.glob(f"*/{run_id}{DESCRIPTION}"):
            if descendants.is_alive(path.parent.name.partition(".")[0]):
                yield path

    def close(self) -> None:
        """Listen no more."""
        if self._control is not None:
            self._control = None
            _tell(self._own / CONTROL, CONTROL)


def _read(path: Path) -> RunRecord | None:
    """The description in a file, with the state that shows in whether the run has a folder."""
    try:
        record = RunRecord(**orjson.loads(path.read_bytes()))
        if record.warm is None:
            record = replace(record, queued_ms=max(0, round((time.time() - record.started_at) * 1000)))
        return replace(record, state="running") if path.with_suffix("").is_dir() else record
    except (OSError, ValueError, TypeError):  # it has just ended
        return None


def _tell(control: Path, word: str) -> None:
    with suppress(OSError):  # the worker is gone, and its runs with it
        fd = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, f"{word}\n".encode("ascii"))
        finally:
            os.close(fd)
