"""Cleans up behind runs, so that no client waits for it: a folder takes longer to remove than to make."""

import logging
import queue
import threading
from collections.abc import Callable

LONGEST_QUEUE = 64

log = logging.getLogger(__name__)

Task = Callable[[], object]


class Janitor:
    """A thread that does tasks in their order; :meth:`close` waits for the last of them and is idempotent."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="janitor", daemon=True)
        self._thread.start()
        self._closed = False

    def __call__(self, task: Task) -> None:
        """Do a task soon; now, if the thread has fallen far behind or has been closed."""
        if self._closed or self._tasks.qsize() >= LONGEST_QUEUE:
            _do(task)
        else:
            self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            _do(task)

    def close(self) -> None:
        """Finish."""
        if not self._closed:
            self._closed = True
            self._tasks.put(None)
            self._thread.join()


def _do(task: Task) -> None:
    try:
        task()
    except Exception:  # whatever it was, the other runs must be cleaned up behind
        log.exception("a run could not be cleaned up behind")
