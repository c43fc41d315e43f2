"""The server: gunicorn, set up from the configuration alone.

There are two ways to start the same server.  ``clinvk serve`` runs :class:`Server` with its flags on top of environment
and file; ``gunicorn wsgi:app`` reads gunicorn.conf.py, which asks :func:`settings_in_force`, and takes the rest of its
own flags (``--daemon``, ``--pid``, …) from its own command line.
"""

import math
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication

from app.addresses import bind_address
from app.config import ConfigError, refuse
from app.hooks import hooks
from app.source import share_of_worker, source
from services.settings import Config

RESERVED_THREADS = 16
"""Threads for what needs no run: /health, /metrics, an end to a run."""
STOP_MARGIN_S = 5.0
"""After the grace: for runs to be ended and their clients told."""
HEARTBEAT_TIMEOUT_S = 60
"""A worker whose main loop does not turn for so long is replaced.  Requests are not in that loop."""
CONNECTIONS = 2048
OPEN_FILES = 8192
FILES_PER_RUN = 12  # pipes, the client, the database


def settings(config: Config) -> dict[str, Any]:
    """What gunicorn is to be set to."""
    server = config.server
    share = share_of_worker(config).server
    threads = share.max_concurrent_runs + share.max_queued_runs + RESERVED_THREADS
    spare_files = open_files() - FILES_PER_RUN * share.max_concurrent_runs
    own = {
        "wsgi_app": "wsgi:app",
        "bind": [bind_address(server.host, server.port)],
        "workers": server.workers,
        "worker_class": "app.worker.Worker",
        "threads": threads,
        "worker_connections": max(2 * threads, min(CONNECTIONS, spare_files)),
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
        "logger_class": "app.logs.Logger",
        "access_log_format": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %({x-request-id}o)s',
    }
    return own | hooks(server, own)


def open_files() -> int:
    """How many files a process may have open, after raising that as far as it is useful and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        return OPEN_FILES
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def settings_in_force() -> dict[str, Any]:
    """The settings for the configuration in force; ends the process (exit code 2) when it cannot be used.

    gunicorn asks at the start and at every HUP; by then the hooks have judged what the file says.
    """
    try:
        return settings(source.current())
    except ConfigError as error:
        refuse(str(error))


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn without its own command line and configuration file."""

    def load_config(self) -> None:
        """Take our settings."""
        for name, value in settings_in_force().items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, in a worker."""
        from wsgi import app  # noqa: PLC0415 - importing it makes the application, which only a worker may do

        return app


def serve(path: Path | None, overrides: Mapping[str, Any]) -> NoReturn:
    """Run the server until it is stopped; exit code 2 says that the configuration is at fault."""
    source.path = path
    source.overrides = dict(overrides)
    Server().run()
    raise SystemExit(0)
