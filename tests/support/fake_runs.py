"""Runs without processes: they give the events that a test has written for them."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from flask import Flask

from app.factory import create_app
from services.availability import Availability
from services.backends.base import Backend, Conversation, Errand, Options, Spawn
from services.container import Container
from services.deadline import Deadline
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Event, Failed, Init, Message, Outcome, TokenUsage
from services.key_ring import KeyRing
from services.keys import Keys
from services.models import Models
from services.orchestration import Orchestrator
from services.planning import Kept, Plan, Planner, command_line
from services.prompts import Prompt
from services.registry import Registry
from services.run import Result
from services.running import Running
from services.session_runs import SessionRuns
from services.settings import BackendSettings, Config, ParallelSettings, ServerSettings, UnifiedFlags
from services.slots import Slots
from services.store_access import Housekeeping, StoreAccess

USAGE = TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2)
CANCELED = Failed(ErrorCode.CANCELED, "canceled", -1)

Batch = Sequence[Event]
Script = Sequence[Batch | Callable[["FakeRun"], Batch]] | ClinvkError
"""What a run does: batches, or functions that wait for something and give one; or why it does not start."""


def saying(*texts: str, outcome: Outcome | None = None) -> Script:
    """A run that says these texts, one a batch, and ends."""
    last = outcome or Done(usage=USAGE, cost_usd=0.25)
    return [[Init(model="model-1")], *([Message(text)] for text in texts), [last]]


class FakeBackend(Backend):
    """A backend that is only planned, never spoken to."""

    install_hint = "install it"
    takes_messages = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = "nobody"
        self.executable = f"/nowhere/{name}"
        self.extra_flags = {"--effort": True}

    def spawn(self, options: Options) -> Spawn:
        """A command with the options that tests look at."""
        warnings = ("max_turns: it has no such limit",) if options.max_turns else ()
        return Spawn(argv=(self.executable, "--model", options.model), cwd=options.workdir, warnings=warnings)

    def conversation(self, options: Options, prompt: str) -> Conversation:
        """No test gets here."""
        raise AssertionError("a fake backend does not speak")


class FakeRun:
    """A run that follows its script, cancelable between batches and, in functions, by :attr:`canceled`."""

    def __init__(self, run_id: str, plan: Plan, script: Sequence[Batch | Callable[["FakeRun"], Batch]]) -> None:
        self.run_id = run_id
        self.session_id = ""
        self.cli_session_id = ""
        self.plan = plan
        self.backend = plan.backend.name
        self.model = plan.options.model
        self.warnings = plan.warnings
        self.ignored = plan.ignored
        self.workdir = plan.options.workdir
        self.duration_ms = 7
        self.canceled = threading.Event()
        self.cancel_message = ""
        self.closed = threading.Event()
        self._script = script

    def batches(self) -> Iterator[Batch]:
        """The script's batches, with a cancellation in the place of what follows it."""
        try:
            for item in self._script:
                batch = item(self) if callable(item) else item
                if self.canceled.is_set():
                    batch = [Failed(ErrorCode.CANCELED, self.cancel_message, -1)]
                for event in batch:
                    if isinstance(event, Init):
                        self.model = event.model
                        self.cli_session_id = event.cli_session_id
                yield batch
                if batch and isinstance(batch[-1], Done | Failed):
                    return
        finally:
            self.close()

    def collect(self) -> Result:
        """Run to the end."""
        events = [event for batch in self.batches() for event in batch]
        outcome = events[-1]
        assert isinstance(outcome, Done | Failed)
        return Result("".join(e.text for e in events if isinstance(e, Message)), outcome, self.duration_ms)

    def cancel(self, message: str = "canceled") -> None:
        """End the run."""
        self.cancel_message = message
        self.canceled.set()

    def close(self) -> None:
        """Note that it was closed."""
        self.closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class FakeRuns:
    """Starts fake runs: what each backend does is in ``scripts``, by name."""

    scripts: dict[str, Script]
    server: ServerSettings = field(default_factory=ServerSettings)
    defaults: UnifiedFlags = field(default_factory=UnifiedFlags)
    started: list[FakeRun] = field(default_factory=list)
    deadlines: list[Deadline | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backends: Mapping[str, Backend] = {name: FakeBackend(name) for name in ("claude", "codex", "gemini")}
        self.settings = {name: BackendSettings() for name in self.backends}
        self.slots = Slots(4, 8)
        self._planner = Planner(self.backends, self.settings, self.defaults, self.server)
        self._lock = threading.Lock()

    def check(self, prompt: Prompt, kept: Kept | None = None) -> Plan:
        """Plan as the real ones do."""
        return self._planner.plan(prompt, kept)

    def perform(self, prompt: Prompt, options: Options, errand: Errand) -> tuple[Outcome, str]:
        """Every errand succeeds."""
        return Done(), f"{options.resume}-copy"

    def start(
        self,
        plan: Plan,
        *,
        run_id: str = "",
        client_fd: int | None = None,
        deadline: Deadline | None = None,
        announce: Callable[[Running], None] | None = None,
    ) -> FakeRun:
        """Begin the backend's script."""
        script = self.scripts[plan.backend.name]
        if isinstance(script, ClinvkError):
            raise script
        with self._lock:
            run = FakeRun(run_id or f"run-{len(self.started)}", plan, script)
            self.started.append(run)
            self.deadlines.append(deadline)
        if announce is not None:
            announce(run)
        return run

    def dry_run(self, plan: Plan) -> str:
        """The command line."""
        return command_line(plan.spawn)

    def prepare(self, plan: Plan, idle_s: float | None = None) -> None:
        """Nothing is started in advance."""

    def drop(self, backend: str, conversation: str) -> None:
        """Nothing waits."""

    def rest(self) -> None:
        """Nothing is started in advance."""

    def stop(self) -> None:
        """Cancel all."""
        for run in self.started:
            run.cancel("the server is stopping")

    def close(self) -> None:
        """There is nothing to close."""


def never_captured(*_: object) -> tuple[int, str, str]:
    """No program is asked for its version."""
    raise AssertionError("a program was started")


def fake_app(runs: FakeRuns, home: Path | None = None, keys: Sequence[str] = ()) -> Flask:
    """The application on top of fake runs, with a session store in the test's own home."""
    home = home or Path(tempfile.mkdtemp(prefix="clinvk-fake-"))
    config = Config(home=home, backends=runs.settings, server=runs.server)
    store = StoreAccess(home / "sessions.db")
    sessions = SessionRuns(
        runs, runs.backends, store=store, settings=config.session, folder=home / "work", worker="nobody"
    )
    container = Container(
        config=config,
        version="1.2.3",
        keys=KeyRing(lambda: Keys(keys)),
        runs=runs,
        registry=Registry(home / "runs", "nobody"),
        models=Models(runs.backends, runs.settings, config.default_backend),
        availability=Availability(runs.backends, runs.settings, capture=never_captured, environment={}),
        orchestrator=Orchestrator(runs, ParallelSettings(), runs.server),
        store=store,
        sessions=sessions,
        housekeeping=Housekeeping(store, sessions.remove_unused, sessions.remove_lost_folders, 30),
    )
    return create_app(config, container=container)
