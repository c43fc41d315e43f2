"""What happens at the turning points of the arbiter's and the workers' lives (gunicorn's server hooks).

HUP makes the arbiter read the configuration again.  One that cannot be used changes nothing and is logged; host and
port are those of the start, whatever the file says by then.
"""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from app import __version__
from app.addresses import why_not_listen
from app.config import ConfigError, refuse
from app.config.checks import exposure
from app.connection import Limits
from app.source import keys_of, source
from app.worker import Worker
from services.descendants import become_subreaper, end_processes_of, instance_id
from services.errors import ClinvkError, Problem
from services.metrics_folder import forget_worker, make_metrics_folder, remove_metrics_folder
from services.run_folder import RUNS_FOLDER, remove_folder_of
from services.settings import Config, ServerSettings

log = logging.getLogger("gunicorn.error")

PR_SET_DUMPABLE = 4  # <linux/prctl.h>
SWITCH_S = 0.001
"""How long a thread may compute before another that waits has its turn; with Python's 5 ms, one that has to wait for
twenty others at each of its steps takes a second for what is done in one of 5 ms."""


def hooks(server: ServerSettings, settings: Mapping[str, Any]) -> dict[str, Callable[..., None]]:
    """The hooks for a server with these of gunicorn's settings."""
    limits = Limits(
        read_timeout_s=server.read_timeout_secs,
        write_timeout_s=server.write_timeout_secs,
        idle_timeout_s=server.idle_timeout_secs,
        graceful_timeout_s=server.graceful_timeout_secs,
    )
    return {
        "on_starting": partial(_on_starting, dict(settings)),
        "when_ready": _when_ready,
        "post_fork": partial(_post_fork, limits),
        "worker_exit": _worker_exit,
        "child_exit": _child_exit,
        "on_exit": _on_exit,
    }


def _on_starting(settings: Mapping[str, Any], arbiter: Any) -> None:
    """In the arbiter, before it listens."""
    for name in ("workers", "threads", "worker_class", "preload_app"):
        given = arbiter.cfg.settings[name].get()
        if given != settings[name]:
            refuse(f"gunicorn's {name} is {given}, the configuration makes it {settings[name]}: set it there alone")
    try:
        config = source.current()
        _check_keys(config)
    except ConfigError as error:
        refuse(str(error))
    _check_addresses(arbiter)
    _make_home(config.home)
    make_undumpable()
    become_subreaper()
    instance_id()  # now, so that the workers inherit it
    make_metrics_folder(config.home)
    arbiter.reload = partial(_reload, arbiter, arbiter.reload)


def _check_addresses(arbiter: Any) -> None:
    """See that we can listen where we are to; gunicorn would try for five seconds, and tell ten lines of it."""
    inherited = arbiter.master_pid or "LISTEN_PID" in os.environ  # USR2; systemd
    for address in () if inherited else arbiter.cfg.address:
        if isinstance(address, tuple) and (problem := why_not_listen(*address)):
            refuse(problem)


def _make_home(home: Path) -> None:
    """The folder of all that is ours, for this user alone."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        refuse(f"configuration error: the home folder {home} cannot be made: {error.strerror} (CLINVK_HOME moves it)")


def _when_ready(arbiter: Any) -> None:
    """In the arbiter, before the first worker."""
    config = source.current()
    if problem := _exposed(arbiter, config):
        refuse(f"configuration error: {problem}")
    from app.readiness import make_ready  # noqa: PLC0415 - most of our code; a start that fails does without

    make_ready(config)
    keep_what_is_loaded()
    log.info("clinvk %s: %s", __version__, _in_force(config))


def _in_force(config: Config) -> str:
    """What of a configuration somebody who reads the log wants to know."""
    names = ", ".join(name for name, backend in config.backends.items() if backend.enabled)
    return f"{names}; {config.server.max_concurrent_runs} runs at once"


def _exposed(arbiter: Any, config: Config) -> str | None:
    """Why the configuration does not allow what is listened on in the end, by whatever way it was given."""
    names = [listener.getsockname() for listener in arbiter.LISTENERS]
    problems = [exposure(config.server, name[0]) for name in names if isinstance(name, tuple)]
    return next((problem for problem in problems if problem), None)


def _reload(arbiter: Any, reload: Callable[[], None]) -> None:
    """HUP: new workers with the new configuration, if it can be used; else nothing changes."""
    try:
        config = source.read_again()
        _check_keys(config)
        problem = _exposed(arbiter, config)
    except ConfigError as error:
        problem = str(error)
    if problem:
        log.error("%s\nnothing has changed: the last good configuration stays", problem)
        return
    source.good = config
    log.info("reloading; in force now: %s", _in_force(config))
    reload()


def _check_keys(config: Config) -> None:
    """See that the workers will find the API keys; a worker that does not takes the arbiter down with it.

    Raises ConfigError.
    """
    try:
        keys_of(config)
    except ClinvkError as error:
        raise ConfigError([Problem("", error.message)]) from error


def _post_fork(limits: Limits, _arbiter: Any, worker: Worker) -> None:
    """In the worker, first."""
    make_undumpable()
    become_subreaper()
    sys.setswitchinterval(SWITCH_S)
    worker.limits = limits


def _worker_exit(_arbiter: Any, worker: Worker) -> None:
    """In the worker, at its end."""
    worker.finish()


def _child_exit(arbiter: Any, worker: Worker) -> None:
    """In the arbiter, when a worker has ended: so does everything it left."""
    if count := end_processes_of(instance_id(), worker.pid, keep=_own(arbiter)):
        log.warning("ended %d processes that worker %s had left", count, worker.pid)
    remove_folder_of(source.current().home / RUNS_FOLDER, worker.pid)
    forget_worker(worker.pid)


def _on_exit(arbiter: Any) -> None:
    """In the arbiter, at its end."""
    end_processes_of(instance_id(), None, keep=_own(arbiter))
    remove_folder_of(source.current().home / RUNS_FOLDER, None)
    remove_metrics_folder()


def keep_what_is_loaded() -> None:
    """Take all there is by now out of garbage collection: it stays until the end, and most of it is code.

    No collection looks through it again, which would also copy the pages that workers share; the one at a process's end
    takes a third of a second otherwise.
    """
    gc.freeze()


def _own(arbiter: Any) -> tuple[int, ...]:
    """The arbiter's processes that are not to be ended: itself, its workers, its successor (USR2)."""
    return (arbiter.pid, arbiter.reexec_pid, *arbiter.WORKERS)


def make_undumpable() -> None:
    """Hide this process's memory and environment from others of the same user, such as an agent that a CLI runs.

    Inherited by fork and undone by exec, so that what we start is as usual.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
