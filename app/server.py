"""The server process: gunicorn, set up from the configuration alone.

``clinvk serve`` runs :class:`Server`; ``gunicorn wsgi:app`` reads gunicorn.conf.py, which asks :func:`settings` for the
same settings.  The arbiter (gunicorn's parent process) reads the configuration; the workers it forks inherit it, so
that a worker started later works with what was checked, not with what stands in the file by then.

HUP makes the arbiter read the configuration again.  One that cannot be used changes nothing and is logged; host and
port are those of the start, whatever the file says by then.
"""

import ctypes
import logging
import math
import os
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication

from app import __version__
from app.config import ConfigError, load_config
from app.config.checks import exposure
from app.worker import Limits, Worker
from services.process import become_subreaper, end_dead_instances, end_processes_of, instance_id
from services.settings import Config

log = logging.getLogger("gunicorn.error")  # where gunicorn tells of its own work

RESERVED_THREADS = 16
"""Threads for what needs no run: /health, /metrics, an end to a run."""
STOP_MARGIN_S = 5.0
"""After the grace: for runs to be ended and their clients told."""
HEARTBEAT_TIMEOUT_S = 60
"""A worker whose main loop does not turn for so long is replaced.  Requests are not in that loop."""
CONNECTIONS = 2048
FILES_PER_RUN = 12  # pipes, the client, the database
OPEN_FILES = 8192
EXIT_CONFIG = 2
PR_SET_DUMPABLE = 4  # <linux/prctl.h>


# ---------------------------------------------------------------------- configuration


@dataclass(slots=True)
class Source:
    """Where this process has its configuration from, and the last one that was good.

    The one piece of state that is shared by import: gunicorn.conf.py fills it in the arbiter, wsgi.py asks it in the
    workers, and neither can be handed anything.
    """

    path: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    good: Config | None = None

    def load(self) -> Config:
        """Read the configuration and keep it.  Raises ConfigError."""
        self.good = self._read(self.overrides)
        return self.good

    def load_again(self) -> Config:
        """Read it again, but for the address this process listens on, and keep nothing yet.  Raises ConfigError."""
        server = self.current().server
        wanted = self._read(self.overrides).server
        if (wanted.host, wanted.port) != (server.host, server.port):
            log.warning("server.host and server.port have changed: they take effect at the next start")
        return self._read(self.overrides | {"server.host": server.host, "server.port": server.port})

    def _read(self, overrides: Mapping[str, Any]) -> Config:
        return load_config(self.path, environ=os.environ, overrides=overrides, memory_bytes=memory_bytes())

    def current(self) -> Config:
        """The last good configuration, read now if none has been."""
        return self.good or self.load()


source = Source()


def memory_bytes() -> int:
    """What this machine, or the container we are in, has of memory."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such controller; "max"
            continue
    return total


def share_of_worker(config: Config) -> Config:
    """The configuration of one worker: what is limited in all is divided among them."""
    server = config.server
    if server.workers == 1:
        return config
    limited = ("max_concurrent_runs", "max_queued_runs", "warm_processes", "max_runs_per_key")
    shares = {name: math.ceil(getattr(server, name) / server.workers) for name in limited}
    return replace(config, server=replace(server, **shares))


# ---------------------------------------------------------------------- gunicorn's settings


def settings(config: Config) -> dict[str, Any]:
    """Gunicorn's settings for a configuration."""
    server = config.server
    share = share_of_worker(config).server
    threads = share.max_concurrent_runs + share.max_queued_runs + RESERVED_THREADS
    return {
        "wsgi_app": "wsgi:app",
        "bind": [bind_address(server.host, server.port)],
        "workers": server.workers,
        "worker_class": "app.worker.Worker",
        "threads": threads,
        "worker_connections": max(
            2 * threads, min(CONNECTIONS, open_files() - FILES_PER_RUN * share.max_concurrent_runs)
        ),
        "timeout": HEARTBEAT_TIMEOUT_S,
        "graceful_timeout": math.ceil(server.graceful_timeout_secs + STOP_MARGIN_S),
        "keepalive": math.ceil(server.idle_timeout_secs),
        "preload_app": False,  # threads and the database must be the worker's own
        "sendfile": False,  # it knows no time limit
        "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - heartbeats, not on a disk
        "control_socket_disable": True,
        "http_protocols": "h1",
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "forwarded_allow_ips": ",".join(server.trusted_proxies),
        "secure_scheme_headers": {"X-FORWARDED-PROTO": "https"},
        "forwarder_headers": "",
        "proc_name": "clinvk",
        **hooks(config),
    }


def open_files() -> int:
    """How many files a process may have open, after raising that as far as it is useful and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = OPEN_FILES
    if soft != resource.RLIM_INFINITY and soft < min(OPEN_FILES, hard):
        soft = min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def bind_address(host: str, port: int) -> str:
    """A host and a port as gunicorn writes them."""
    if host.startswith("unix:"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def hooks(config: Config) -> dict[str, Callable[..., None]]:
    """What happens at the turning points of the arbiter's and the workers' lives."""

    def post_fork(_arbiter: Any, worker: Worker) -> None:
        make_undumpable()
        become_subreaper()
        worker.limits = Limits(
            read_timeout_s=config.server.read_timeout_secs,
            write_timeout_s=config.server.write_timeout_secs,
            idle_timeout_s=config.server.idle_timeout_secs,
            graceful_timeout_s=config.server.graceful_timeout_secs,
        )

    return {
        "on_starting": _on_starting,
        "when_ready": _when_ready,
        "post_fork": post_fork,
        "child_exit": _child_exit,
        "worker_exit": _worker_exit,
        "on_exit": _on_exit,
    }


def _on_starting(arbiter: Any) -> None:
    """In the arbiter, before it listens."""
    ours = settings(source.current())
    for name in ("workers", "threads", "worker_class", "preload_app"):
        given = arbiter.cfg.settings[name].get()
        if given != ours[name]:
            refuse(f"gunicorn's {name} is {given}, the configuration makes it {ours[name]}: set it there alone")
    make_undumpable()
    become_subreaper()
    instance_id()  # now, so that the workers inherit it
    arbiter.reload = partial(_reload, arbiter, arbiter.reload)


def _when_ready(arbiter: Any) -> None:
    """In the arbiter, before the first worker."""
    config = source.current()
    if problem := _exposed(arbiter, config):
        refuse(f"configuration error: {problem}")
    if count := end_dead_instances():
        log.warning("ended %d processes that a server which no longer lives had left", count)
    server = config.server
    names = ", ".join(name for name, backend in config.backends.items() if backend.enabled)
    log.info("clinvk %s: %s; %d runs at once", __version__, names, server.max_concurrent_runs)


def _exposed(arbiter: Any, config: Config) -> str | None:
    """Why the configuration does not allow what is listened on in the end, by whatever way it was given."""
    names = [listener.getsockname() for listener in arbiter.LISTENERS]
    problems = [exposure(config.server, name[0]) for name in names if isinstance(name, tuple)]
    return next((problem for problem in problems if problem), None)


def _reload(arbiter: Any, reload: Callable[[], None]) -> None:
    """HUP: new workers with the new configuration, if it can be used; else nothing changes."""
    try:
        config = source.load_again()
    except ConfigError as error:
        log.error("%s\nnothing has changed: the last good configuration stays", error)
        return
    if problem := _exposed(arbiter, config):
        log.error("configuration error: %s\nnothing has changed: the last good configuration stays", problem)
        return
    source.good = config
    reload()


def _child_exit(arbiter: Any, worker: Worker) -> None:
    """In the arbiter, when a worker has ended: so does everything it left."""
    keep = (arbiter.pid, arbiter.reexec_pid, *arbiter.WORKERS)
    if count := end_processes_of(instance_id(), worker.pid, keep=keep):
        log.warning("ended %d processes that worker %s had left", count, worker.pid)


def _worker_exit(_arbiter: Any, worker: Worker) -> None:
    """In the worker, at its end."""
    if worker.services is not None:
        worker.services.close()


def _on_exit(arbiter: Any) -> None:
    """In the arbiter, at its end."""
    end_processes_of(instance_id(), None, keep=(arbiter.pid, arbiter.reexec_pid))


def make_undumpable() -> None:
    """Hide this process's memory and environment from others of the same user, such as an agent that a CLI runs.

    Inherited by fork and undone by exec, so that what we start is as usual.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


# ---------------------------------------------------------------------- the two ways to start


def refuse(message: str) -> NoReturn:
    """Say why there will be no server, and end."""
    print(f"clinvk: {message}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_CONFIG)


def settings_for_gunicorn() -> dict[str, Any]:
    """For gunicorn.conf.py, which is read at the start and at every HUP (after :func:`_reload` has judged)."""
    try:
        return settings(source.current())
    except ConfigError as error:
        refuse(str(error))


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn without its own command line and configuration file."""

    def load_config(self) -> None:
        """Take our settings (also at every HUP)."""
        for name, value in settings(source.current()).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, in a worker."""
        from wsgi import app  # noqa: PLC0415 - makes the application, which only a worker may do

        return app


def serve(path: Path | None, overrides: Mapping[str, Any]) -> NoReturn:
    """Run the server until it is stopped.  Never returns; exit code 2 says the configuration is at fault."""
    source.path = path
    source.overrides = dict(overrides)
    settings_for_gunicorn()
    Server().run()
    raise SystemExit(0)
