"""What the dialects need of runs, and what stands in when there is none.

The protocols keep the dialects and the orchestration apart from processes: in tests they get runs of their own.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from services.backends.base import Errand, Options
from services.deadline import Deadline
from services.events import Done, Event, Failed, Message, Outcome
from services.planning import Kept, Plan
from services.prompts import Prompt
from services.run import Result
from services.slots import Slots


class Running(Protocol):
    """A run that was started; see :class:`services.runs.Run`."""

    @property
    def run_id(self) -> str:
        """Its id; "" when nothing was started."""

    @property
    def session_id(self) -> str:
        """The session it is recorded in; "" when it is in none."""

    @property
    def workdir(self) -> str:
        """The folder it works in, "" for one of its own."""

    @property
    def backend(self) -> str:
        """The backend's name."""

    @property
    def model(self) -> str:
        """The model, as far as it is known."""

    @property
    def cli_session_id(self) -> str:
        """The CLI's own id of the session, as far as it is known."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the CLI cannot honour."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """What was asked for of the sampling and ``max_tokens`` and does not act, by name."""

    @property
    def duration_ms(self) -> int:
        """How long it has taken."""

    def batches(self) -> Iterator[Sequence[Event]]:
        """The events as they come; an empty batch is a heartbeat, the last one ends with the outcome."""

    def collect(self) -> Result:
        """Run to the end."""

    def cancel(self, message: str = "canceled") -> None:
        """Let the run end, from any thread."""

    def close(self) -> None:
        """End it and give everything back.  Idempotent."""

    def __enter__(self) -> Self:
        """Enter the run's context."""

    def __exit__(self, *_: object) -> None:
        """Close it."""


class Runner(Protocol):
    """Who starts runs; see :class:`services.runs.Runs`."""

    @property
    def slots(self) -> Slots:
        """The run slots."""

    def check(self, prompt: Prompt, kept: Kept | None = None) -> Plan:
        """Validate and resolve a prompt, starting nothing.  Raises ClinvkError."""

    def perform(self, prompt: Prompt, options: Options, errand: Errand) -> tuple[Outcome, str]:
        """Do an errand: how it ended, and the CLI's id of a session that came of it.  Raises ClinvkError."""

    def start(
        self,
        plan: Plan,
        *,
        run_id: str = "",
        client_fd: int | None = None,
        deadline: Deadline | None = None,
        announce: Callable[[Running], None] | None = None,
    ) -> Running:
        """Wait for a slot and start the CLI.  Raises ClinvkError.

        ``announce`` gets the run before the wait, so that another thread can cancel it there.
        """

    def dry_run(self, plan: Plan) -> str:
        """The command line that would be run."""

    def prepare(self, plan: Plan, idle_s: float | None = None) -> None:
        """Start the process of a plan in advance, if that can be done; it may wait for ``idle_s`` without use."""

    def drop(self, backend: str, conversation: str) -> None:
        """End what was started in advance for a conversation, which is to go: the CLI's id of it."""

    def rest(self) -> None:
        """Start nothing in advance any more; runs go on."""

    def stop(self) -> None:
        """End all runs and start no more."""

    def close(self) -> None:
        """Give everything back.  Idempotent."""


class Around:
    """A run that stands around another one; what it does not change is as the other has it.

    Who derives from it brings :meth:`Running.batches` and :meth:`Running.collect`.
    """

    def __init__(self, run: Running) -> None:
        self._run = run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def session_id(self) -> str:
        """The session it is recorded in."""
        return self._run.session_id

    @property
    def workdir(self) -> str:
        """The folder it works in."""
        return self._run.workdir

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._run.backend

    @property
    def model(self) -> str:
        """The model, as far as it is known."""
        return self._run.model

    @property
    def cli_session_id(self) -> str:
        """The CLI's own id of the session, as far as it is known."""
        return self._run.cli_session_id

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the CLI cannot honour."""
        return self._run.warnings

    @property
    def ignored(self) -> tuple[str, ...]:
        """What was asked for of the sampling and ``max_tokens`` and does not act, by name."""
        return self._run.ignored

    @property
    def duration_ms(self) -> int:
        """How long it has taken."""
        return self._run.duration_ms

    def cancel(self, message: str = "canceled") -> None:
        """Let the run end, from any thread."""
        self._run.cancel(message)

    def close(self) -> None:
        """End it and give everything back.  Idempotent."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StandIn:
    """In the place of a run when nothing is started; it has its few events ready."""

    run_id = ""
    session_id = ""
    cli_session_id = ""
    workdir = ""
    duration_ms = 0

    def __init__(
        self,
        backend: str,
        model: str,
        *,
        text: str = "",
        outcome: Outcome,
        warnings: tuple[str, ...] = (),
        ignored: tuple[str, ...] = (),
    ) -> None:
        self.backend = backend
        self.model = model
        self.warnings = warnings
        self.ignored = ignored
        self._text = text
        self._outcome = outcome

    @classmethod
    def dry_run(cls, plan: Plan, command_line: str) -> Self:
        """A run that only says what would be run."""
        return cls(
            plan.backend.name,
            plan.options.model,
            text=command_line,
            outcome=Done(turn_count=0),
            warnings=plan.warnings,
            ignored=plan.ignored,
        )

    @classmethod
    def not_started(cls, prompt: Prompt, reason: Failed) -> Self:
        """A run that did not come about."""
        return cls(prompt.backend, prompt.model, outcome=reason)

    def batches(self) -> Iterator[Sequence[Event]]:
        """All there is, at once."""
        yield [Message(self._text), self._outcome] if self._text else [self._outcome]

    def collect(self) -> Result:
        """All there is."""
        return Result(self._text, self._outcome, self.duration_ms)

    def cancel(self, message: str = "canceled") -> None:
        """There is nothing to cancel."""

    def close(self) -> None:
        """There is nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(
    runs: Runner,
    plan: Plan,
    *,
    client_fd: int | None = None,
    deadline: Deadline | None = None,
    announce: Callable[[Running], None] | None = None,
) -> Running:
    """Start what a plan asks for: a run, or a dry one.  Raises ClinvkError."""
    if plan.prompt.dry_run:
        return StandIn.dry_run(plan, runs.dry_run(plan))
    return runs.start(plan, client_fd=client_fd, deadline=deadline, announce=announce)
