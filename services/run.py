"""One run: one prompt, one process, from the queue to the last of its descendants."""

import os
import select
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from services.backends.base import Conversation, Phase
from services.deadline import Deadline
from services.environment import mask
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Event, Failed, Init, Message, Outcome, Thinking, TokenUsage, ToolUse
from services.framing import LineSplitter, LineTooLongError
from services.planning import Plan
from services.pool import Pool
from services.private_home import keep
from services.process import GONE, Child, Engine, StartedRun
from services.run_folder import remove_leftovers
from services.settings import ServerSettings
from services.slots import Slots, Ticket
from services.warm import Order, Waiting

INTERRUPT_GRACE_S = 0.5
"""How long an interrupted CLI may clean up before it is killed."""
EXIT_GRACE_S = 2.0
"""How long a CLI may take to exit after its last word."""

ABANDONED = Failed(ErrorCode.CANCELED, "canceled", -1)
LONG_S = 3600.0
CONTENT = (Message, Thinking, ToolUse, Done, Failed)
"""Events that show a client something; an Init or a Progress alone does not."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run."""

    output: str
    outcome: Outcome
    duration_ms: int

    @property
    def usage(self) -> TokenUsage:
        """The tokens it took."""
        return self.outcome.usage


def new_run_id() -> str:
    """An id for a run."""
    return uuid.uuid4().hex[:16]


class Run:
    """One run, owned by the thread that iterates over it.  A context manager; :meth:`close` is idempotent.

    :meth:`cancel` and :meth:`expire` may be called from any thread.
    """

    def __init__(
        self,
        plan: Plan,
        limits: ServerSettings,
        *,
        run_id: str = "",
        client_fd: int | None,
        deadline: Deadline,
        on_close: Callable[["Run"], None],
    ) -> None:
        self.run_id = run_id or new_run_id()
        self.plan = plan
        self.backend = plan.backend.name
        self.model = plan.options.model
        self.warnings = plan.warnings
        self.ignored = plan.ignored
        self.started_at = time.time()
        self.deadline = deadline
        self.session_id = ""
        self.cli_session_id = ""
        self._limits = limits
        self._client_fd = client_fd
        self._on_close = on_close
        self._began_s = time.monotonic()
        self._ended_s: float | None = None
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._stop: Failed | None = None
        self._ticket: Ticket | None = None
        self._slot_since_s = 0.0
        self._started: StartedRun | None = None
        self._warm: Waiting | None = None
        self.order: Order | None = None
        self._start_cold: Callable[[], None] = lambda: None
        self._early: list[Event] = []
        self._conversation: Conversation | None = None
        self._home = ""
        self._splitter = LineSplitter(limits.max_line_bytes)
        self._exit_by = Deadline()
        self._line_by = Deadline()
        self._content_seen = False
        self._closing = False
        self._closed = False
        self.outcome: Outcome | None = None
        self.refused: ErrorCode | None = None
        self.first_text_s: float | None = None

    # ------------------------------------------------------------------ starting

    def ask_for_slot(self, slots: Slots) -> bool:
        """Take a slot, or a place in the queue: whether there was one.  Raises ClinvkError ``overloaded``."""
        self._ticket = slots.enter(self._wake, self.plan.prompt.owner)
        self._slot_since_s = time.monotonic()
        return self._ticket.granted

    def wait_for_slot(self, slots: Slots) -> None:
        """Wait for a slot that was asked for.  Raises ClinvkError ``overloaded``, ``timeout`` or ``canceled``."""
        assert self._ticket is not None
        give_up = min(self.deadline, Deadline.after(self._limits.queue_timeout_secs))
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        if self._client_fd is not None:
            poll.register(self._client_fd, select.POLLRDHUP)
        while not self._ticket.granted:
            for fd, events in poll.poll(min(give_up.remaining_s, LONG_S) * 1000):
                if fd == self._client_fd and events & GONE:
                    raise ClinvkError(ErrorCode.CANCELED, "the client went away")
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
            self._ticket.check()
            if self._stop is not None:
                raise ClinvkError(self._stop.code, self._stop.message)
            if give_up.passed and not self._ticket.granted:
                if self.deadline.passed:
                    raise ClinvkError(ErrorCode.TIMEOUT, "no run slot became free before the request timed out")
                raise slots.overloaded(f"no run slot became free within {self._limits.queue_timeout_secs:g} s")
        self._slot_since_s = time.monotonic()

    @property
    def workdir(self) -> str:
        """The folder it works in, "" for one of its own."""
        return self.plan.options.workdir

    @property
    def is_warm(self) -> bool:
        """Whether its CLI was started in advance."""
        return self._warm is not None

    def launch(
        self,
        engine: Engine,
        program: str,
        environment: Mapping[str, str],
        *,
        pool: Pool | None = None,
        order: Order | None = None,
    ) -> None:
        """Get the CLI, which is at ``program``, and say the first word.  Raises ClinvkError.

        One of the ``pool`` that fits the ``order`` is taken if it is as good as a fresh one.
        """
        self._home = environment.get("HOME", "/nonexistent")
        self.order = order
        as_planned = self.plan

        def start_cold() -> None:
            started = engine.start(program, self.plan.spawn, environment, self.run_id, self.plan.prompt.text)
            child, conversation = self._begin(started)
            self._answer(child, conversation)

        self._start_cold = start_cold
        if pool is not None and order is not None:
            while (waiting := pool.take(order)) is not None:
                if self._take_over(waiting):
                    return
                self.plan = as_planned
                pool.give_up(waiting)
            pool.relieve()
        self._start_cold()

    def _begin(self, started: StartedRun) -> tuple[Child, Conversation]:
        """Own a process, and have a conversation for it that has begun, though not a word of it is written."""
        child, plan = started.child, self.plan
        child.watch(self._wake_fd, select.POLLIN)
        if self._client_fd is not None:
            child.watch(self._client_fd, select.POLLRDHUP)
        options = replace(plan.options, workdir=child.cwd)
        conversation = plan.conversation or plan.backend.conversation(options, plan.prompt.text)
        conversation.start()
        self._splitter = LineSplitter(self._limits.max_line_bytes)
        self._started, self._conversation = started, conversation
        return child, conversation

    def _take_over(self, waiting: Waiting) -> bool:
        """Go on with a process that was started in advance, unless it is seen to be of no use."""
        if waiting.folder:
            options = replace(self.plan.options, workdir=waiting.folder)
            self.plan = replace(self.plan, options=options, spawn=waiting.order.spawn_in(waiting.folder))
        child, conversation = self._begin(waiting.started)
        wake = child.wait(0.0)
        self._early = list(self._feed(conversation, wake.chunks))
        if wake.ended or conversation.phase is not Phase.TALKING:
            child.unwatch()
            self._started, self._conversation, self._early = None, None, []
            return False
        self._warm = waiting
        self._answer(child, conversation)
        return True

    def _start_again(self) -> bool:
        """The warm process has died before it said anything: the client is to notice nothing but the time.

        Whether there is another process now.  The folder of a session is in the session's record, and stays.
        """
        warm = self._warm
        assert warm is not None
        self._line_by = Deadline()
        try:
            self._start_cold()
        except (ClinvkError, OSError):
            return False
        self._warm = None
        replace(warm, folder="").end()
        return True

    # ------------------------------------------------------------------ running

    def batches(self) -> Iterator[Sequence[Event]]:
        """The events as they come, in batches; an empty one is a heartbeat.  The last ends with the outcome.

        When that last batch is given, the processes are gone and the slot is free.
        """
        headers_by_s = time.monotonic() + self._limits.headers_after_secs
        try:
            while self.outcome is None:
                now_s = time.monotonic()
                quiet_until_s = now_s + self._limits.heartbeat_secs
                if not self._content_seen and now_s < headers_by_s:
                    quiet_until_s = min(quiet_until_s, headers_by_s)
                yield self._advance(Deadline(quiet_until_s))
        finally:
            self.close()

    def collect(self) -> Result:
        """Run to the end."""
        pieces: list[str] = []
        size = 0
        for batch in self.batches():
            for event in batch:
                if isinstance(event, Message):
                    pieces.append(event.text)
                    size += len(event.text)
            if size > self._limits.max_output_bytes:
                limit_mib = self._limits.max_output_bytes >> 20
                self._stop = Failed(ErrorCode.BACKEND_FAILED, f"more than {limit_mib} MiB of text: stream it", -1)
        assert self.outcome is not None
        return Result("".join(pieces), self.outcome, self.duration_ms)

    def _advance(self, quiet_until: Deadline) -> Sequence[Event]:
        """Wait for the next events; none when there was silence until then."""
        assert self._started is not None
        assert self._conversation is not None
        child, conversation = self._started.child, self._conversation
        events, self._early = self._early, []
        while (reason := self._stop_reason()) is None:
            until = min(quiet_until, self.deadline, self._exit_by, self._line_by)
            wake = child.wait(until.remaining_s, self._client_fd)
            events.extend(self._feed(conversation, wake.chunks))
            if wake.chunks:
                self._line_by = Deadline.after(conversation.patience_s or 0.0)
            elif self._line_by.passed:
                conversation.phase = Phase.ABANDONED
            self._answer(child, conversation)
            if self._stop_reason() is not None:
                continue
            if wake.client_gone:
                self._stop = Failed(ErrorCode.CANCELED, "the client went away", -1)
            elif wake.ended and self._died_early(conversation, events) and self._start_again():
                events.clear()
                child, conversation = self._started.child, self._conversation
            elif wake.ended or self._exit_by.passed:
                events.extend(self._finish(child, conversation, ended_itself=wake.ended))
                break
            elif self.deadline.passed:
                self._stop = self._timed_out()
            elif events or quiet_until.passed:
                break
        else:
            events.append(self._interrupt(child, conversation, reason))
        if not self._content_seen and any(isinstance(event, CONTENT) for event in events):
            self._content_seen = True
        if self.first_text_s is None and any(isinstance(event, Message) for event in events):
            self.first_text_s = time.monotonic() - self._began_s
        return events

    def _died_early(self, conversation: Conversation, events: list[Event]) -> bool:
        """Whether a warm process has ended without an outcome, and without anything that a client could have seen.

        A last line without its newline becomes events as well.
        """
        events.extend(self._rest(conversation))
        said_nothing = not self._content_seen and not any(isinstance(event, CONTENT) for event in events)
        return self.is_warm and said_nothing and conversation.phase is Phase.TALKING

    def _feed(self, conversation: Conversation, chunks: Sequence[bytes]) -> Iterator[Event]:
        for chunk in chunks:
            if conversation.framing == "raw":
                yield from self._noted(conversation.receive(chunk))
                continue
            try:
                for line in self._splitter.feed(chunk):
                    yield from self._noted(conversation.receive(line))
            except LineTooLongError:
                limit_mib = self._limits.max_line_bytes >> 20
                self._stop = Failed(ErrorCode.BACKEND_FAILED, f"{self.backend} printed a line over {limit_mib} MiB", -1)
                return

    def _rest(self, conversation: Conversation) -> Sequence[Event]:
        rest = self._splitter.rest()
        self._splitter = LineSplitter(self._limits.max_line_bytes)
        return self._noted(conversation.receive(rest)) if rest else ()

    def _noted(self, events: Sequence[Event]) -> Sequence[Event]:
        for event in events:
            if isinstance(event, Init):
                self.model = event.model or self.model
                self.cli_session_id = event.cli_session_id or self.cli_session_id
        return events

    def _answer(self, child: Child, conversation: Conversation) -> None:
        """Write what the conversation wants to say, and see whether it is over."""
        child.write(conversation.data_to_send())
        if conversation.phase is not Phase.TALKING and self._exit_by == Deadline():
            patience_s = EXIT_GRACE_S if conversation.phase is Phase.SETTLED else 0.0
            self._exit_by = Deadline(time.monotonic() + patience_s)
            conversation.stdin_done = True
        if conversation.stdin_done:
            child.close_stdin()

    def _finish(self, child: Child, conversation: Conversation, *, ended_itself: bool) -> Iterator[Event]:
        """The CLI has ended, or has said its last word and does not."""
        if ended_itself:
            yield from self._rest(conversation)
            code = child.exit_code
            assert code is not None
        else:
            code = 0
        child.close()
        yield self._end(conversation.finish(code, child.stderr_tail))

    def _interrupt(self, child: Child, conversation: Conversation, reason: Failed) -> Outcome:
        """End the CLI before its time: in its own way first, then by force."""
        child.unwatch()
        with_descendants = child.snapshot()
        wanted = conversation.interrupt()
        child.write(conversation.data_to_send())
        if wanted is not None:
            with suppress(ProcessLookupError):
                child.signal(wanted)
        patience = Deadline.after(INTERRUPT_GRACE_S)
        ended = False
        while not ended and not patience.passed:
            wake = child.wait(patience.remaining_s)
            ended = wake.ended
            for _ in self._feed(conversation, wake.chunks):
                pass  # only its usage still matters
            self._answer(child, conversation)
        child.kill(with_descendants)
        child.close()
        told = conversation.finish(-9, "")
        return self._end(replace(reason, usage=told.usage, cost_usd=told.cost_usd))

    def _end(self, outcome: Outcome) -> Outcome:
        """Note the outcome and give everything back."""
        if isinstance(outcome, Failed):
            assert self._started is not None
            outcome = replace(outcome, message=mask(outcome.message, self._started.secrets))
        self.outcome = outcome
        self.close()
        return outcome

    def _stop_reason(self) -> Failed | None:
        """Why the run is to end before its time, whoever said so."""
        return self._stop

    def _timed_out(self) -> Failed:
        return Failed(ErrorCode.TIMEOUT, f"{self.backend} did not finish within {self.plan.timeout_s:g} s", -1)

    # ------------------------------------------------------------------ ending

    def cancel(self, message: str = "canceled") -> None:
        """Let the run end as soon as its thread sees it."""
        if self._stop is None:
            self._stop = Failed(ErrorCode.CANCELED, message, -1)
        self._wake()

    def expire(self) -> None:
        """End the processes of a run whose thread cannot (it is blocked in a write to its client)."""
        with self._lock:
            if self._closed:
                return
            if self._stop is None:
                self._stop = self._timed_out()
            if self._started is not None:
                self._started.child.kill()
            self._free_slot()

    @property
    def duration_ms(self) -> int:
        """How long it has taken, the queue included; final once it has ended."""
        end_s = self._ended_s if self._ended_s is not None else time.monotonic()
        return round((end_s - self._began_s) * 1000)

    @property
    def queued_s(self) -> float:
        """How long it has waited for a slot."""
        return max(0.0, (self._slot_since_s or self._ended_s or time.monotonic()) - self._began_s)

    def _wake(self) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._wake_fd, 1)

    def _free_slot(self) -> None:
        if self._ticket is not None:
            held_s = time.monotonic() - self._slot_since_s if self._ticket.granted and self._slot_since_s else None
            self._ticket.leave(held_s)

    def close(self) -> None:
        """End the processes and give the slot back; :meth:`tidy` is what is left to do.  Idempotent."""
        if self._closed or self._closing:
            return
        self._closing = True
        if self._started is not None:
            if self.outcome is None and self._conversation is not None:
                self._interrupt(self._started.child, self._conversation, self._stop or ABANDONED)
            self._started.child.close()
            if (home := self.plan.spawn.home) is not None:
                keep(home, Path(self._started.folder.path, "home"), Path(self._home), self.cli_session_id)
        with self._lock:
            self._closed = True
            os.close(self._wake_fd)
        self._free_slot()
        self._ended_s = time.monotonic()
        self._on_close(self)

    def tidy(self) -> None:
        """Once it is closed: remove what it has left on disk."""
        if self._started is not None:
            self._started.folder.remove()
            remove_leftovers(self._home, self.plan.spawn.leftovers, self.cli_session_id)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
