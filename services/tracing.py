"""The id of the request that is being worked on, for responses and for every log line."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Empty outside a request.  A thread that works for a request is started in a copy of its context."""

NO_REQUEST = "-"


class RequestIdFilter(logging.Filter):
    """Gives every record a ``request_id``, for the format of a handler; :data:`NO_REQUEST` where there is none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, with the id."""
        record.request_id = request_id.get() or NO_REQUEST
        return True
