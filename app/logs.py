"""Logging: gunicorn's own and everything else, a line each: text on a terminal, JSON otherwise."""

import logging
import re
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

from app.source import source
from services.tracing import NO_REQUEST, RequestIdFilter

OURS = ("app", "blueprints", "services")
"""The loggers that tell as much as gunicorn does; of others only warnings count."""
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What a terminal could take for a command, or a reader for another line."""


class JsonLines(OrjsonFormatter):
    """One JSON object a line: time (RFC 3339), level, logger, pid, message, request_id, and what a line says more."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger", "process": "pid"}
        super().__init__([*names, "message"], rename_fields=names, timestamp="time")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """What is written of a line: the request's id only where there is one."""
        if log_data.get("request_id") == NO_REQUEST:
            del log_data["request_id"]
        return log_data


class TextLines(logging.Formatter):
    """gunicorn's line, with the id of the request, and what a line says more as ``name=value``."""

    def __init__(self, date_format: str) -> None:
        line = "%(asctime)s [%(process)d] [%(levelname)s] [%(request_id)s] %(message)s"
        super().__init__(line, date_format)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as in the base
        """The line but for a traceback."""
        more = {name: value for name, value in vars(record).items() if name not in KNOWN}
        return " ".join([super().formatMessage(record), *(f"{name}={_value(value)}" for name, value in more.items())])


KNOWN = {*RESERVED_ATTRS, "request_id", "message", "asctime"}


def _value(value: object) -> str:
    text = NOT_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(value))
    return f'"{text}"' if " " in text or not text else text


class Logger(GunicornLogger):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn's logger, whose handlers are those of the whole process."""

    def setup(self, cfg: Any) -> None:
        """Make the handlers, at the start and after each HUP."""
        super().setup(cfg)
        handlers = self.error_log.handlers
        for handler in handlers:
            handler.addFilter(RequestIdFilter())
            handler.setFormatter(TextLines(self.datefmt) if _is_for_people(handler) else JsonLines())
        logging.getLogger().handlers[:] = handlers
        for name in OURS:
            logging.getLogger(name).setLevel(self.loglevel)


def _is_for_people(handler: logging.Handler) -> bool:
    wanted = source.current().server.log_format
    if wanted != "auto":
        return wanted == "text"
    return isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
