"""Where a process of the server has its configuration from.

The arbiter (gunicorn's parent process) reads it; the workers it forks inherit it, so that a worker started later works
with what was checked, not with what stands in the file by then.
"""

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.config import load_config
from services.keys import Keys, list_keys, read_keys
from services.process import run_apart
from services.settings import Config

log = logging.getLogger("gunicorn.error")  # where gunicorn tells of its own work


@dataclass(slots=True)
class Source:
    """What was given at the start, and the last configuration that was good."""

    path: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    good: Config | None = None

    def current(self) -> Config:
        """The last good configuration, read now if none has been.  Raises ConfigError."""
        if self.good is None:
            self.good = self._read(self.overrides)
        return self.good

    def read_again(self) -> Config:
        """What it would be by now, but for the address this process listens on.  Raises ConfigError."""
        server = self.current().server
        wanted = self._read(self.overrides).server
        if (wanted.host, wanted.port) != (server.host, server.port):
            log.warning("server.host and server.port have changed: they take effect at the next start")
        return self._read(self.overrides | {"server.host": server.host, "server.port": server.port})

    def _read(self, overrides: Mapping[str, Any]) -> Config:
        return load_config(self.path, environ=os.environ, overrides=overrides, memory_bytes=memory_bytes())


source = Source()
"""The one piece of state shared by import: gunicorn.conf.py fills it in the arbiter, wsgi.py asks it in the workers,
and neither can be handed anything."""


def memory_bytes() -> int:
    """What this machine, or the container we are in, has of memory."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such controller; "max"
            continue
    return total


def keys_of(config: Config) -> Keys:
    """The API keys, where no worker is there to read them.  Raises ClinvkError when they cannot be read."""
    return read_keys(config.server, lambda argv, timeout_s: run_apart(argv, os.environ, timeout_s))


def first_key(config: Config) -> str:
    """One of the API keys, for a client on the server's own machine; "" without any.  Raises as :func:`keys_of`."""
    keys = list_keys(config.server, lambda argv, timeout_s: run_apart(argv, os.environ, timeout_s))
    return next(iter(keys), "")


def share_of_worker(config: Config) -> Config:
    """The configuration of one worker: what is limited in all is divided among them."""
    server = config.server
    if server.workers == 1:
        return config
    limited = ("max_concurrent_runs", "max_queued_runs", "max_runs_per_key", "warm_processes")
    shares = {name: math.ceil(getattr(server, name) / server.workers) for name in limited}
    backends = {
        name: replace(backend, warm=math.ceil(backend.warm / server.workers))
        for name, backend in config.backends.items()
    }
    return replace(config, server=replace(server, **shares), backends=backends)
