"""Logging: gunicorn's own, with the id of the request on every line, and everything else the same way."""

import logging
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from services.tracing import RequestIdFilter

OURS = ("app", "blueprints", "services")
"""The loggers that tell as much as gunicorn does; of others only warnings count."""


class Logger(GunicornLogger):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn's logger, whose handlers are those of the whole process."""

    error_fmt = "%(asctime)s [%(process)d] [%(levelname)s] [%(request_id)s] %(message)s"
    syslog_fmt = "[%(process)d] [%(request_id)s] %(message)s"

    def setup(self, cfg: Any) -> None:
        """Make the handlers, at the start and after each HUP."""
        super().setup(cfg)
        handlers = self.error_log.handlers
        for handler in handlers:
            handler.addFilter(RequestIdFilter())
        logging.getLogger().handlers[:] = handlers
        for name in OURS:
            logging.getLogger(name).setLevel(self.loglevel)
