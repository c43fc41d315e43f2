"""All runs of one worker: everything that answers a prompt goes through :meth:`Runs.start`, whatever the dialect."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from services.backends.base import Errand, Options
from services.deadline import Deadline
from services.environment import child_environment, find_program
from services.errors import ClinvkError, ErrorCode
from services.events import Done, Failed, Outcome, TokenUsage
from services.janitor import Janitor
from services.planning import Kept, Plan, Planner, command_line
from services.pool import Pool
from services.process import Engine
from services.prompts import Prompt
from services.registry import Registry, RunRecord
from services.reports import RunReport, Tell
from services.run import INTERRUPT_GRACE_S, Result, Run
from services.run_folder import remove_empty_folders, remove_leftovers
from services.settings import ServerSettings
from services.shelf import Bounds
from services.slots import Slots
from services.warm import Order, order_for

WATCH_EVERY_S = 0.25
BROKEN = (ErrorCode.BACKEND_UNAVAILABLE, ErrorCode.BACKEND_AUTH_FAILED, ErrorCode.BACKEND_FAILED)
"""How a run fails whose CLI is not worth starting before it is asked for."""

__all__ = ["Plan", "Result", "Run", "Runs"]


class Runs:
    """All runs of one worker."""

    def __init__(
        self,
        planner: Planner,
        engine: Engine,
        slots: Slots,
        limits: ServerSettings,
        *,
        environment: Mapping[str, str],
        registry: Registry,
        tell: Iterable[Tell] = (),
        pool: Pool | None = None,
    ) -> None:
        """``tell`` are told of every run that has ended; without ``pool`` nothing is started in advance."""
        self._planner = planner
        self._engine = engine
        self._slots = slots
        self._limits = limits
        self._environment = environment
        self._child_environments: dict[str, Mapping[str, str]] = {}
        self._registry = registry
        self._tell = tuple(tell)
        self._clean = Janitor()
        self._pool = pool if pool is not None else Pool(engine, Bounds(0, 0.0))
        self._active: dict[str, Run] = {}
        self._changed = threading.Condition()
        self._ended = threading.Event()

    @property
    def slots(self) -> Slots:
        """The run slots."""
        return self._slots

    def active(self) -> list[Run]:
        """The runs that wait or go on in this worker."""
        return list(self._active.values())

    def check(self, prompt: Prompt, kept: Kept | None = None) -> Plan:
        """Validate and resolve a prompt, starting nothing.  Raises ClinvkError naming the field at fault."""
        return self._planner.plan(prompt, kept)

    def perform(self, prompt: Prompt, options: Options, errand: Errand) -> tuple[Outcome, str]:
        """Do an errand for whom the prompt names: how it ended, and the CLI's id of a session that came of it.

        Raises ClinvkError as :meth:`start` does.
        """
        outcome: Outcome = Done(turn_count=0)
        cli_session_id = ""
        if errand.spawn is not None:
            with self.start(self._planner.errand(prompt, options, errand)) as run:
                outcome = run.collect().outcome
            cli_session_id = run.cli_session_id
        home = self._environment.get("HOME")
        if home:
            remove_leftovers(home, errand.leftovers, options.resume)
            remove_empty_folders(Path(home), errand.empty_folders)
        return outcome, cli_session_id

    def dry_run(self, plan: Plan) -> str:
        """The command line that would be run."""
        return command_line(plan.spawn)

    def start(
        self,
        plan: Plan,
        *,
        run_id: str = "",
        client_fd: int | None = None,
        deadline: Deadline | None = None,
        announce: Callable[[Run], None] | None = None,
    ) -> Run:
        """Wait for a slot and start the CLI.

        ``client_fd`` is the client's socket: when it closes, the run ends.  ``deadline`` is the request's, if it began
        earlier.  ``announce`` gets the run before the wait, so that another thread can cancel it there.  Raises
        ClinvkError (``backend_unavailable``, ``overloaded``, ``timeout``, ``canceled``).
        """
        environment = self.environment(plan)
        program = self._program(plan, environment)
        own = Deadline.after(plan.timeout_s)
        run = Run(
            plan,
            self._limits,
            run_id=run_id,
            client_fd=client_fd,
            deadline=min(own, deadline) if deadline is not None else own,
            on_close=self._closed,
        )
        self._active[run.run_id] = run
        try:
            if announce is not None:
                announce(run)
            at_once = run.ask_for_slot(self._slots)
            if not at_once:
                self._registry.put(_record(run))
                run.wait_for_slot(self._slots)
            run.launch(
                self._engine, program, environment, pool=self._pool, order=self._order(plan, program, environment)
            )
            self._registry.put(_record(run, run.is_warm))  # now, while the CLI starts
        except OSError as error:  # of the run's own folder: the disk is full
            run.refused = ErrorCode.BACKEND_UNAVAILABLE
            run.close()
            message = f"{run.backend} cannot be started: {error.strerror}"
            raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, message) from error
        except BaseException as error:
            run.refused = error.code if isinstance(error, ClinvkError) else ErrorCode.INTERNAL
            run.close()
            raise
        return run

    def environment(self, plan: Plan) -> Mapping[str, str]:
        """What the CLI may see of the server's environment, which does not change."""
        backend = plan.backend
        found = self._child_environments.get(backend.name)
        if found is None:
            found = child_environment(self._environment, (*backend.environment, *self._limits.pass_env))
            self._child_environments[backend.name] = found
        return found

    def _program(self, plan: Plan, environment: Mapping[str, str]) -> str:
        """Where the CLI is.  Raises ClinvkError ``backend_unavailable``."""
        backend = plan.backend
        if not plan.settings.enabled:
            message = f"{backend.name} is switched off (backends.{backend.name}.enabled)"
            raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, message)
        name = plan.spawn.argv[0]
        assert isinstance(name, str)
        program = find_program(name, environment)
        if program is None:
            message = f"{backend.name} is not installed ({name} was not found or is not executable)"
            raise ClinvkError(ErrorCode.BACKEND_UNAVAILABLE, f"{message}: {backend.install_hint}".removesuffix(": "))
        return program

    def _order(self, plan: Plan, program: str, environment: Mapping[str, str]) -> Order | None:
        """What could have been started in advance for this plan; None when nothing could."""
        keeps = self._pool.keeps(plan.backend.name)
        return order_for(self._planner, plan, program, environment) if keeps else None

    def _prepare_next(self, run: Run) -> None:
        """A run has ended: let the next one like it find its process there, unless that would only fail as well.

        There is none like that of a conversation, which has gone on.
        """
        if run.order is None or run.order.turn or (isinstance(run.outcome, Failed) and run.outcome.code in BROKEN):
            return
        self._pool.prepare(run.order)

    def prepare(self, plan: Plan, idle_s: float | None = None) -> None:
        """Start the process of a plan in advance, if that can be done; it may wait for ``idle_s`` without use."""
        with suppress(ClinvkError):  # whoever asks for it will be told
            environment = self.environment(plan)
            order = self._order(plan, self._program(plan, environment), environment)
            if order is not None:
                self._pool.prepare(replace(order, idle_s=idle_s))

    def drop(self, backend: str, conversation: str) -> None:
        """End what was started in advance for a conversation, which is to go: the CLI's id of it."""
        self._pool.drop(backend, conversation)

    # ------------------------------------------------------------------ ending

    def rest(self) -> None:
        """Start nothing in advance any more, and end what was; runs go on.  Does not wait."""
        self._pool.stop()

    def watch(self) -> None:
        """Start the watchdog: the thread that ends overdue runs while their own is blocked in a write to a client."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_EVERY_S):
            late_s = time.monotonic() - 2 * INTERRUPT_GRACE_S
            for run in self.active():
                if run.deadline.at_s < late_s:
                    run.expire()

    def stop(self, message: str = "the server is stopping") -> None:
        """End all runs, waiting ones too, and start no more."""
        self._slots.close(message)
        runs = self.active()
        for run in runs:
            run.cancel(message)
        with self._changed:
            self._changed.wait_for(lambda: not self._active, timeout=2 * INTERRUPT_GRACE_S)
        for run in self.active():
            run.expire()

    def cancel(self, run_id: str) -> None:
        """End a run of this worker's as its client's going away would; its client is told."""
        run = self._active.get(run_id)
        if run is not None:
            run.cancel("the run was canceled")

    def close(self) -> None:
        """End all runs and whatever else was started.  Idempotent."""
        self._ended.set()
        self.stop()
        self._pool.close()
        self._clean.close()
        self._engine.close()

    def _closed(self, run: Run) -> None:
        self._registry.remove(run.run_id)
        self._clean(run.tidy)
        self._prepare_next(run)
        with self._changed:
            self._active.pop(run.run_id, None)
            self._changed.notify_all()
        if run.plan.conversation is None:  # an errand is nobody's prompt
            report = _report(run)
            for tell in self._tell:
                tell(report)


def _record(run: Run, warm: bool | None = None) -> RunRecord:
    """What others see of a run; ``warm`` is known once it has its CLI."""
    prompt = run.plan.prompt
    return RunRecord(
        run_id=run.run_id,
        backend=run.backend,
        model=run.model,
        session_id=prompt.session_id,
        owner=prompt.owner,
        started_at=run.started_at,
        state="queued" if warm is None else "running",
        queued_ms=0 if warm is None else round(run.queued_s * 1000),
        warm=warm,
    )


def _report(run: Run) -> RunReport:
    prompt, outcome = run.plan.prompt, run.outcome
    failure = outcome.code if isinstance(outcome, Failed) else run.refused or ErrorCode.CANCELED
    return RunReport(
        run_id=run.run_id,
        backend=run.backend,
        model=run.model,
        session_id=run.session_id or prompt.session_id,
        owner=prompt.owner,
        outcome="done" if isinstance(outcome, Done) else failure.value,
        exit_code=None if outcome is None else outcome.exit_code,
        queued_s=run.queued_s,
        first_text_s=run.first_text_s,
        duration_s=run.duration_ms / 1000,
        usage=TokenUsage() if outcome is None else outcome.usage,
        cost_usd=None if outcome is None else outcome.cost_usd,
        prompt=prompt.text,
        warm=run.is_warm,
    )
