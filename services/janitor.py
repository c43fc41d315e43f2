"""Cleans up behind runs, so that no client waits for it: a folder takes longer to remove than to make."""

import logging
import queue
import threading
from collections.abc import Callable

LONGEST_QUEUE = 64
SETTLE_S = 0.02
"""How long it waits for more to do, and for those to be done who answer: what is done together costs less."""

log = logging.getLogger(__name__)

Task = Callable[[], object]


class Janitor:
    """A thread that does tasks in their order; :meth:`close` waits for the last of them and is idempotent."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="janitor", daemon=True)
        self._thread.start()

    def __call__(self, task: Task) -> None:
        """Do a task soon; now, if the thread has fallen far behind or has been closed."""
        if self._closed or self._tasks.qsize() >= LONGEST_QUEUE:
            _do(task)
        else:
            self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._closing.wait(SETTLE_S)
            _do(task)
            for _ in range(self._tasks.qsize()):
                if (more := self._tasks.get()) is None:
                    return
                _do(more)

    def close(self) -> None:
        """Finish."""
        if not self._closed:
            self._closed = True
            self._closing.set()
            self._tasks.put(None)
            self._thread.join()


def _do(task: Task) -> None:
    try:
        task()
    except Exception:  # whatever it was, the other runs must be cleaned up behind
        log.exception("a run could not be cleaned up behind")
