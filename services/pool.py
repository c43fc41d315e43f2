"""Processes that are started in advance, so that a prompt need not wait until its CLI is there.

A warm process is one like that which a prompt would start (an equal :class:`~services.backends.base.Spawn` for the same
owner), in a fresh folder of its own.  It has been told its opening and nothing else; it serves one run, and ends with
it.  What it prints meanwhile stays in its pipes, which the kernel bounds, until a run reads it as it would read that of
a process of its own: so whatever is wrong with it shows there, before it has got the prompt.
"""

import logging
import math
import os
import queue
import select
import shutil
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from services.deadline import Deadline
from services.errors import ClinvkError
from services.memory import available_bytes
from services.process import Engine
from services.shelf import Bounds, Shelf
from services.stamps import stamp, watched_files
from services.warm import Order, Waiting

DISMISS_GRACE_S = 0.5
"""How long one that is not needed any more may take to end by itself."""
SETTLE_S = 0.01
"""How long after a run the next process is started: doing it takes the processor, and the client is to have its answer
first."""
SPARE_BYTES = 600 * 1024 * 1024
"""Nothing waits where less memory is left: two CLIs at their peak."""

log = logging.getLogger(__name__)


class Pool:
    """The warm processes of one worker.

    A thread of its own starts and ends them, and sees at once when one dies; without it :meth:`tend` does what is due.
    Every method may be called from any thread; none but these two and :meth:`close` waits for a process.
    """

    def __init__(
        self,
        engine: Engine,
        bounds: Bounds,
        *,
        clock: Callable[[], float] = time.monotonic,
        available: Callable[[], int | None] = available_bytes,
        settle_s: float = SETTLE_S,
        tell: Callable[[Mapping[str, int]], None] = lambda _: None,
    ) -> None:
        """``available`` says how many bytes of memory are left, None where that is not known.

        ``tell`` is told how many wait of each backend, whenever that has changed.
        """
        self._engine = engine
        self._bounds = bounds
        self._clock = clock
        self._available = available
        self._settle_s = settle_s
        self._tell = tell
        self._told: Mapping[str, int] = {}
        self._shelf: Shelf[Waiting] = Shelf(bounds)
        self._lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._tasks: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._to_start: deque[tuple[float, Order]] = deque()  # and from when on
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return len(self._shelf)

    def keeps(self, backend: str) -> bool:
        """Whether processes of this backend are started in advance at all."""
        return not self._stopped.is_set() and self._bounds.of(backend) > 0

    def open(self) -> None:
        """Start the thread, if there is anything for it to do."""
        if self._bounds.total > 0:
            self._thread = threading.Thread(target=self._work, name="pool", daemon=True)
            self._thread.start()

    # ------------------------------------------------------------------ for runs

    def take(self, order: Order) -> Waiting | None:
        """A process for a run, which owns it from now on; None when none is fit.

        One that was started for nobody in particular has served nobody, and is anybody's.
        """
        while True:
            with self._lock:
                waiting = None if self._stopped.is_set() else self._fitting(order)
            if waiting is None:
                return None
            self._tell_waiting()
            if waiting.is_good():
                waiting.started.child.idle = False
                if waiting.folder:
                    with suppress(OSError):  # the folder is a session's by now, however long it has been there
                        os.utime(waiting.folder)
                return waiting
            self.give_up(waiting)

    def _fitting(self, order: Order) -> Waiting | None:
        now_s = self._clock()
        own = self._shelf.take(order, now_s)
        return self._shelf.take(replace(order, owner=""), now_s) if own is None and order.owner else own

    def give_up(self, waiting: Waiting) -> None:
        """End one that was taken and is of no use."""
        log.debug("a warm %s is of no use", waiting.order.backend)
        self._do(lambda: _end([waiting]))

    def drop(self, backend: str, conversation: str) -> None:
        """End what waits on a conversation, which is to go: the CLI's id of it."""

        def end() -> None:
            for due in list(self._to_start):
                if _waits_on(due[1], backend, conversation):
                    self._to_start.remove(due)
            with self._lock:
                gone = [one for one in self._shelf if _waits_on(one.order, backend, conversation)]
                for waiting in gone:
                    self._shelf.remove(waiting)
            _end(gone)

        self._do(end)

    def prepare(self, order: Order) -> None:
        """Start one like this soon, if there is room."""
        self._to_start.append((self._clock() + self._settle_s, order))
        self._wake()

    def relieve(self) -> None:
        """A process is about to be started for a run: where memory is short, warm ones make room."""
        if self.waiting:
            self._do(self._make_room)

    def _do(self, task: Callable[[], object]) -> None:
        self._tasks.put(task)
        self._wake()

    def _wake(self) -> None:
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    # ------------------------------------------------------------------ in the thread

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._sleep()
            self.tend()
        self._end_all()  # at once: whoever closes the pool may come to that only later

    def _sleep(self) -> None:
        """Until there is something to do: a task, a death, or one that has waited for too long."""
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        with self._lock:
            due_s = self._shelf.next_due_s() or math.inf
            for waiting in self._shelf:
                poll.register(waiting.started.child.pidfd, select.POLLIN)
        if self._to_start:
            due_s = min(due_s, self._to_start[0][0])
        poll.poll(None if due_s == math.inf else max(0.0, due_s - self._clock()) * 1000 + 1)
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def tend(self) -> None:
        """Do what is due: tasks, and ending those that are dead or have waited for too long."""
        self._do_tasks()
        while self._to_start and self._to_start[0][0] <= self._clock():
            _, order = self._to_start.popleft()
            _try(partial(self._start, order))
        with self._lock:
            gone = self._shelf.overdue(self._clock())
            for waiting in [one for one in self._shelf if one.started.child.exit_code is not None]:
                log.warning("a warm %s has ended by itself: %s", waiting.order.backend, _ending(waiting))
                self._shelf.remove(waiting)
                gone.append(waiting)
        _end(gone)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Tell how many wait, if that is news."""
        with self._lock:
            counts = Counter(waiting.group for waiting in self._shelf)
            if counts != self._told:
                self._told = counts
                self._tell(counts)

    def _do_tasks(self) -> None:
        with suppress(queue.Empty):
            while True:
                _try(self._tasks.get_nowait())

    def _start(self, order: Order) -> None:
        if self._stopped.is_set():
            return
        with self._lock:
            has_room, gone = self._shelf.room_for(order, order.backend)
        _end(gone)
        if not has_room or self._make_room():
            return
        watched = watched_files(order.program, order.login, order.environment)
        as_found = stamp(watched)
        folder, spawn = "", order.spawn
        if order.folders:
            folder = str(Path(order.folders) / uuid.uuid4().hex)
            spawn = order.spawn_in(folder)
        try:
            if folder:
                Path(folder).mkdir(mode=0o700, parents=True)
            started = self._engine.start(order.program, spawn, order.environment, uuid.uuid4().hex[:16])
        except (ClinvkError, OSError) as error:  # the next run will tell its client
            log.warning("no %s could be started in advance: %s", order.backend, error)
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
            return
        started.child.idle = True
        waiting = Waiting(order, started, folder, watched, as_found)
        with self._lock:
            if not self._stopped.is_set():
                self._shelf.put(waiting, self._clock())
                return
        _end([waiting])

    def _make_room(self) -> bool:
        """While memory is short let the least recently used one go; whether it was."""
        was_short = False
        while (left := self._available()) is not None and left < SPARE_BYTES:
            was_short = True
            with self._lock:
                waiting = self._shelf.oldest()
            if waiting is None:
                break
            log.warning("memory is short (%d MiB are left): a warm %s ends", left >> 20, waiting.order.backend)
            _end([waiting])
        return was_short

    # ------------------------------------------------------------------ ending

    def stop(self) -> None:
        """Let all of them end, and start no more; does not wait for it."""
        self._stopped.set()
        self._wake()

    def close(self) -> None:
        """End all of them.  Idempotent."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._end_all()
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def _end_all(self) -> None:
        with self._lock:
            gone = self._shelf.clear()
        self._to_start.clear()
        self._tell_waiting()
        _end(gone)
        self._do_tasks()


def _end(gone: Sequence[Waiting]) -> None:
    """End them, all at once: those that can be told go by themselves, which leaves less behind."""
    told = [waiting for waiting in gone if waiting.dismiss()]
    patience = Deadline.after(DISMISS_GRACE_S)
    while (pidfds := [one.started.child.pidfd for one in told if one.started.child.exit_code is None]) and (
        not patience.passed
    ):
        poll = select.poll()
        for pidfd in pidfds:
            poll.register(pidfd, select.POLLIN)
        poll.poll(patience.remaining_s * 1000)
    for waiting in gone:
        _try(waiting.end)


def _waits_on(order: Order, backend: str, conversation: str) -> bool:
    return order.turn is not None and (order.backend, order.turn[0]) == (backend, conversation)


def _ending(waiting: Waiting) -> str:
    return f"exit code {waiting.started.child.exit_code}"


def _try(task: Callable[[], object]) -> None:
    try:
        task()
    except Exception:  # whatever it was, the other processes are still to be looked after
        log.exception("a process that was started in advance could not be looked after")
