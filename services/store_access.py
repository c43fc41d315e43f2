"""The session store as a worker uses it: opened when first needed, tried again when it failed, kept in order."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from services import descendants
from services.sessions.errors import StoreError
from services.sessions.store import SessionStore

TRY_AGAIN_S = 5.0
DAY_S = 86_400.0
DATABASE = "sessions.db"

log = logging.getLogger(__name__)


class StoreAccess:
    """Gives the store of one worker.  Safe to use from any thread; :meth:`close` is idempotent."""

    def __init__(self, url_or_path: str | Path) -> None:
        self._url_or_path = url_or_path
        self._lock = threading.Lock()
        self._store: SessionStore | None = None
        self._failure: StoreError | None = None
        self._failed_at_s = 0.0

    def __call__(self) -> SessionStore:
        """The store.  Raises StoreError, at once when it could not be opened a moment ago."""
        store = self._store
        if store is not None:
            return store
        with self._lock:
            if self._store is None:
                self._store = self._open()
            return self._store

    def _open(self) -> SessionStore:
        if self._failure is not None and time.monotonic() - self._failed_at_s < TRY_AGAIN_S:
            raise StoreError(self._failure.message, passing=self._failure.passing)
        try:
            store = SessionStore.open(self._url_or_path)
        except StoreError as error:
            self._failure, self._failed_at_s = error, time.monotonic()
            raise
        self._failure = None
        return store

    def close(self) -> None:
        """Close the store if it is open."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


class Housekeeping:
    """What has to be done to the sessions without being asked: at the start, and then every day.

    Sessions that a dead worker was working on are marked as failed; those that nobody has used for
    ``retention_days`` are removed (0: never), and so are private folders that no session knows.  Where the database did
    not let that be done, or an ending be recorded, it is tried again soon.
    """

    def __init__(
        self,
        store: Callable[[], SessionStore],
        remove_unused: Callable[[float], int],
        remove_lost_folders: Callable[[float], int],
        days: int,
        *,
        try_again_s: float = TRY_AGAIN_S,
    ) -> None:
        self._store = store
        self._remove_unused = remove_unused
        self._remove_lost_folders = remove_lost_folders
        self._days = days
        self._try_again_s = try_again_s
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin, in a thread."""
        threading.Thread(target=self._run, name="housekeeping", daemon=True).start()

    def stop(self) -> None:
        """Do no more.  Idempotent."""
        self._ended.set()

    def _run(self) -> None:
        due_s = time.monotonic()
        told = ""
        while True:
            try:
                if time.monotonic() >= due_s:
                    self.tidy()
                    due_s = time.monotonic() + DAY_S
                self._store().catch_up()
                told = ""
            except StoreError as error:
                if error.message != told:
                    log.warning("the sessions could not be put in order: %s", error.message)
                told = error.message
            if self._ended.wait(self._try_again_s):
                return

    def tidy(self) -> None:
        """Do it once.  Raises StoreError."""
        for session in self._store().interrupt_dead(worker_lives):
            log.warning("session %s was interrupted: its worker has died", session.id)
        if self._days > 0 and (count := self._remove_unused(time.time() - self._days * DAY_S)):
            log.info("removed %d sessions that were not used for %d days", count, self._days)
        if count := self._remove_lost_folders(time.time() - DAY_S):
            log.info("removed %d folders of sessions that a killed server had not recorded", count)


def worker_lives(worker: str) -> bool:
    """Whether the worker with this name (see ``process.worker_id``) still runs."""
    instance, _, pid = worker.rpartition(".")
    if not descendants.is_alive(instance) or not pid.isdigit():
        return False
    arbiter = int(instance.partition("-")[0])
    try:
        return int(pid) == arbiter or psutil.Process(int(pid)).ppid() == arbiter
    except psutil.NoSuchProcess:
        return False
