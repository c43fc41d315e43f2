"""Which request is being worked on: its id, for responses and every log line, and the trace that it is part of."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Empty outside a request.  A thread that works for a request is started in a copy of its context."""

trace_parent: ContextVar[str] = ContextVar("trace_parent", default="")
"""What the client sent as ``traceparent`` (W3C Trace Context), unjudged; empty where it sent none."""

NO_REQUEST = "-"


class RequestIdFilter(logging.Filter):
    """Gives every record a ``request_id``, for the format of a handler; :data:`NO_REQUEST` where there is none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, with the id."""
        record.request_id = request_id.get() or NO_REQUEST
        return True
