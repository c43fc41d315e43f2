"""The services, put together."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from services.at_start import prepare_at_start
from services.availability import Availability
from services.backends import create_backends
from services.descendants import worker_id
from services.key_ring import KeyRing
from services.keys import read_keys
from services.models import Models
from services.orchestration import Orchestrator
from services.planning import Planner
from services.pool import Pool
from services.process import Engine
from services.registry import Registry
from services.reports import Tell, log_run
from services.run_folder import RUNS_FOLDER
from services.running import Runner
from services.runs import Runs
from services.session_runs import SessionRuns
from services.settings import Config
from services.shelf import Bounds
from services.slots import Slots
from services.store_access import DATABASE, Housekeeping, StoreAccess

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Container:
    """What the application works with.  :meth:`close` gives everything back and is idempotent."""

    config: Config
    version: str
    keys: KeyRing
    runs: Runner
    registry: Registry
    models: Models
    availability: Availability
    orchestrator: Orchestrator
    store: StoreAccess
    sessions: SessionRuns
    housekeeping: Housekeeping
    started_s: float = field(default_factory=time.monotonic)

    @property
    def uptime_s(self) -> float:
        """How long it has been there."""
        return time.monotonic() - self.started_s

    def begin_stop(self) -> None:
        """The server is stopping: look at nothing any more, let the requests that are there end by themselves."""
        self.availability.close()
        self.runs.rest()
        log.info("stopping: runs have %g s; %s", self.config.server.graceful_timeout_secs, self._going_on())

    def _going_on(self) -> str:
        return f"{self.runs.slots.active} running, {self.runs.slots.queued} waiting"

    def end_all_runs(self) -> None:
        """The grace is over: end what runs or waits, and start nothing more."""
        log.warning("stopping: the time is up, ending the runs: %s", self._going_on())
        self.runs.stop()

    def close(self) -> None:
        """End everything that was started: runs, threads, folders."""
        self.availability.close()
        self.keys.close()
        self.housekeeping.stop()
        self.runs.close()
        self.registry.close()
        self.store.close()


def create_container(
    config: Config,
    version: str,
    environment: Mapping[str, str] = os.environ,
    *,
    tell: Iterable[Tell] = (),
    tell_waiting: Callable[[Mapping[str, int]], None] = lambda _: None,
) -> Container:
    """The services for a configuration.

    ``environment`` is the server's own, of which the CLIs get a part; ``tell`` are told of every run that has ended,
    ``tell_waiting`` how many CLIs of each backend wait for a prompt.
    """
    backends = create_backends(config.backends)
    server = config.server
    folder = config.home / RUNS_FOLDER
    engine = Engine(folder)
    keys = KeyRing(partial(read_keys, server, lambda argv, timeout_s: engine.capture(argv, environment, timeout_s)))
    keys.start()
    registry = Registry(folder, worker_id())
    pool = Pool(engine, bounds(config), tell=tell_waiting)
    pool.open()
    runs = Runs(
        Planner(backends, config.backends, config.unified_flags, server, config.home),
        engine,
        Slots(server.max_concurrent_runs, server.max_queued_runs, server.max_runs_per_key),
        server,
        environment=environment,
        registry=registry,
        tell=(partial(log_run, prompts=server.log_prompts), *tell),
        pool=pool,
    )
    runs.watch()
    registry.open(runs.cancel)
    availability = Availability(
        backends, config.backends, capture=engine.capture, environment=environment, pass_env=server.pass_env
    )
    availability.start()
    store = StoreAccess(database(config))
    sessions = SessionRuns(
        runs,
        backends,
        store=store,
        settings=config.session,
        folder=config.home / "work",
        worker=worker_id(),
    )
    housekeeping = Housekeeping(
        store, sessions.remove_unused, sessions.remove_lost_folders, config.session.retention_days
    )
    housekeeping.start()
    prepare_at_start(sessions, config)
    return Container(
        config=config,
        version=version,
        keys=keys,
        runs=runs,
        registry=registry,
        models=Models(backends, config.backends, config.default_backend),
        availability=availability,
        orchestrator=Orchestrator(runs, config.parallel, server),
        store=store,
        sessions=sessions,
        housekeeping=housekeeping,
    )


def bounds(config: Config) -> Bounds:
    """How many processes wait for a prompt, and for how long."""
    of_backends = {name: backend.warm for name, backend in config.backends.items()}
    return Bounds(config.server.warm_processes, config.server.warm_idle_secs, of_backends)


def database(config: Config) -> str | Path:
    """Where the sessions are: the URL of the configuration, or a file in the home folder."""
    return config.session.database_url or config.home / DATABASE
