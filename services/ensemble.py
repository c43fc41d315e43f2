"""Several runs for one request, as one stream: side by side, or one after the other."""

import logging
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from io import StringIO

from services.channel import Channel
from services.deadline import Deadline
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Event, Failed, Message
from services.planning import Plan
from services.process import GONE
from services.run import Result
from services.running import Runner, Running, StandIn, start
from services.settings import ServerSettings

PREVIOUS = "{{previous}}"
"""In a step of a chain: the output of the last step that succeeded."""

LOOK_AT_CLIENT_S = 0.5
WAITING_BATCHES = 64
CANCELED = Failed(ErrorCode.CANCELED, "canceled", -1)
CLIENT_GONE = Failed(ErrorCode.CANCELED, "the client went away", -1)
BROKEN = Failed(ErrorCode.INTERNAL, "an error of the server; its log says more under this request id", -1)
TIMED_OUT = Failed(ErrorCode.TIMEOUT, "the request timed out before this was started", -1)
NO_PREVIOUS = Failed(ErrorCode.INVALID_REQUEST, "no step before this one succeeded: there is no previous output")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """One run of the ensemble, validated.  ``index`` is its place in the request."""

    index: int
    plan: Plan
    name: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A batch of events of one of the runs."""

    index: int
    run: Running
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one task: its run, which has ended, and what came of it."""

    task: Task
    run: Running
    result: Result


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom it all is: the client's socket, watched, the time by which the request must be answered, whose it is."""

    client_fd: int | None = None
    deadline: Deadline = field(default_factory=Deadline)
    owner: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether the client has closed its socket."""
        if self.client_fd is None:
            return False
        poll = select.poll()
        poll.register(self.client_fd, select.POLLRDHUP)
        return any(events & GONE for _, events in poll.poll(0))


class Ensemble(ABC):
    """The runs of one request, for the thread that asks; :meth:`close` ends whatever still goes on."""

    def __init__(self, runs: Runner, tasks: Sequence[Task], caller: Caller, limits: ServerSettings) -> None:
        self._runs = runs
        self._tasks = tasks
        self._caller = caller
        self._limits = limits
        self._began_s = time.monotonic()
        self._entries: dict[int, Entry] = {}
        self._live: set[Running] = set()
        self._stopped: Failed | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def parts(self) -> Iterator[Part | None]:
        """The events of all runs as they come; None is a heartbeat.  The last events of each are its outcome."""

    def finish(self) -> None:
        """Run to the end."""
        for _ in self.parts():
            pass

    @property
    def entries(self) -> list[Entry]:
        """What became of the tasks so far, in their order."""
        return [self._entries[index] for index in sorted(self._entries)]

    @property
    def duration_ms(self) -> int:
        """How long it has taken."""
        return round((time.monotonic() - self._began_s) * 1000)

    def close(self) -> None:
        """End what goes on and start nothing more.  Idempotent, from any thread."""
        self.stop(CANCELED)

    def stop(self, reason: Failed) -> None:
        """End the runs that go on; the tasks that have not begun end with this reason."""
        with self._lock:
            self._stopped = self._stopped or reason
            live = list(self._live)
        for run in live:
            run.cancel(reason.message)

    def _reason_not_to_start(self) -> Failed | None:
        if self._stopped is None and self._caller.is_gone:
            self.stop(CLIENT_GONE)
        if self._stopped is None and self._caller.deadline.passed:
            return TIMED_OUT  # what goes on finds that out for itself
        return self._stopped

    def _open(self, plan: Plan) -> Running:
        """Start a run; a stand-in says why when that cannot be."""
        reason = self._reason_not_to_start()
        if reason is None:
            try:
                return start(
                    self._runs,
                    plan,
                    client_fd=self._caller.client_fd,
                    deadline=self._caller.deadline,
                    announce=self._announced,
                )
            except ClinvkError as error:
                ended_by_us = error.code in (ErrorCode.CANCELED, ErrorCode.TIMEOUT)
                reason = Failed(error.code, error.message, -1 if ended_by_us else 1)
        return StandIn.not_started(plan.prompt, reason)

    def _announced(self, run: Running) -> None:
        with self._lock:
            self._live.add(run)
            stopped = self._stopped
        if stopped is not None:
            run.cancel(stopped.message)

    def _perform(self, task: Task, begin: Callable[[], Running]) -> Iterator[Part | None]:
        """The events of a task's run, from its start; keeps its entry.  A fault of ours is a failure of the task."""
        run: Running = StandIn.not_started(task.plan.prompt, BROKEN)
        output = StringIO()
        try:
            run = begin()
            with run:
                for batch in run.batches():
                    self._note(task, run, batch, output)
                    if output.tell() > self._limits.max_output_bytes:
                        run.cancel(f"canceled: more than {self._limits.max_output_bytes >> 20} MiB of text")
                    yield Part(task.index, run, batch) if batch else None
        except Exception:
            log.exception("task %d broke", task.index)
            self._note(task, run, [BROKEN], output)
            yield Part(task.index, run, [BROKEN])
        finally:
            with self._lock:
                self._live.discard(run)

    def _note(self, task: Task, run: Running, batch: Sequence[Event], output: StringIO) -> None:
        """Keep what a batch adds to the output, and with the last one the entry."""
        for event in batch:
            match event:
                case Message(text):
                    output.write(text)
                case Done() | Failed():
                    self._entries[task.index] = Entry(task, run, Result(output.getvalue(), event, run.duration_ms))


class SideBySide(Ensemble):
    """A few runs at once, in threads of their own.  They start in the order of the tasks."""

    def __init__(
        self,
        runs: Runner,
        tasks: Sequence[Task],
        caller: Caller,
        limits: ServerSettings,
        *,
        at_once: int,
        fail_fast: bool = False,
    ) -> None:
        super().__init__(runs, tasks, caller, limits)
        self._at_once = at_once
        self._fail_fast = fail_fast
        self._channel: Channel[Part] = Channel(WAITING_BATCHES)
        self._turn = threading.Condition()
        self._next_to_start = 0

    def parts(self) -> Iterator[Part | None]:
        """The events of all runs as they come; None is a heartbeat."""
        with ThreadPoolExecutor(min(self._at_once, len(self._tasks)), thread_name_prefix="task") as threads:
            try:
                for task in self._tasks:
                    threads.submit(copy_context().run, self._work, task)
                going_on = len(self._tasks)
                quiet_s = self._limits.headers_after_secs
                while going_on:
                    part = self._next(quiet_s)
                    quiet_s = self._limits.heartbeat_secs
                    yield part
                    if part is not None and isinstance(part.events[-1], Done | Failed):
                        going_on -= 1
            finally:
                self.close()
                self._channel.close()

    def _next(self, quiet_s: float) -> Part | None:
        """The next events; None after a silence.  Looks at the client meanwhile."""
        until = Deadline.after(quiet_s)
        while not until.passed:
            part = self._channel.get(min(LOOK_AT_CLIENT_S, until.remaining_s))
            if part is not None:
                return part
            if self._caller.is_gone:
                self.stop(CLIENT_GONE)
        return None

    def _work(self, task: Task) -> None:
        """Run one task in a thread of its own."""
        for part in self._perform(task, partial(self._open_in_turn, task)):
            if part is not None:
                self._channel.put(part)
        if self._fail_fast and isinstance(self._entries[task.index].result.outcome, Failed):
            self.stop(CANCELED)

    def _open_in_turn(self, task: Task) -> Running:
        """Start the run of a task once the tasks before it have been started."""
        with self._turn:
            self._turn.wait_for(lambda: self._next_to_start == task.index)
        try:
            return self._open(task.plan)
        finally:
            with self._turn:
                self._next_to_start += 1
                self._turn.notify_all()


class OneByOne(Ensemble):
    """A chain: each step may use what the last successful one said."""

    def __init__(
        self,
        runs: Runner,
        tasks: Sequence[Task],
        caller: Caller,
        limits: ServerSettings,
        *,
        stop_on_failure: bool = False,
    ) -> None:
        super().__init__(runs, tasks, caller, limits)
        self._stop_on_failure = stop_on_failure

    def parts(self) -> Iterator[Part | None]:
        """The events of one step after the other; None is a heartbeat."""
        previous: str | None = None
        for task in self._tasks:
            yield from self._perform(task, partial(self._open_step, task, previous))
            result = self._entries[task.index].result
            if isinstance(result.outcome, Done):
                previous = result.output
            elif self._stop_on_failure or self._reason_not_to_start() is not None:
                return

    def _open_step(self, task: Task, previous: str | None) -> Running:
        prompt = task.plan.prompt
        if PREVIOUS not in prompt.text:
            return self._open(task.plan)
        if previous is None:
            return StandIn.not_started(prompt, NO_PREVIOUS)
        prompt = replace(prompt, text=prompt.text.replace(PREVIOUS, previous))
        try:
            return self._open(self._runs.check(prompt))
        except ClinvkError as error:  # what the step before said may be more than this backend takes
            return StandIn.not_started(prompt, Failed(error.code, error.message))
