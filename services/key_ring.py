"""The API keys as they are now: read again every few minutes, so that one can be added or withdrawn without a stop."""

import logging
import threading
from collections.abc import Callable

from services.errors import ClinvkError
from services.keys import Keys

READ_EVERY_S = 300.0

log = logging.getLogger(__name__)


class KeyRing:
    """Keys that are read again in a thread of their own; :meth:`close` is idempotent.

    A source that fails later leaves the last good keys in force: nobody gets in who could not before, and nobody is
    locked out by a file that is just being written.
    """

    def __init__(self, read: Callable[[], Keys], *, every_s: float = READ_EVERY_S) -> None:
        """Read them for the first time.  Raises ClinvkError when that fails."""
        self._read = read
        self._every_s = every_s
        self._keys = read()
        self._closed = threading.Event()

    def start(self) -> None:
        """Read them again from now on; what an open server has does not change."""
        if self.required:
            threading.Thread(target=self._watch, name="keys", daemon=True).start()

    def _watch(self) -> None:
        while not self._closed.wait(self._every_s):
            try:
                keys = self._read()
            except ClinvkError as error:
                log.error("%s; the last good keys stay", error.message)
            else:
                self._keys = keys

    @property
    def required(self) -> bool:
        """Whether a request needs a key."""
        return self._keys.required

    def owner_of(self, presented: str) -> str:
        """What stands for the key in records and logs.  Raises ClinvkError ``unauthorized``."""
        return self._keys.owner_of(presented)

    def close(self) -> None:
        """Read them no more."""
        self._closed.set()
