"""Server-sent events, as the HTML standard frames them."""

CONTENT_TYPE = "text/event-stream"
HEARTBEAT = b": still running\n\n"
"""A comment: it keeps the connection alive and no client sees it."""


def frame(data: bytes, event: bytes = b"") -> bytes:
    """One event; ``data`` is JSON and therefore has no line break."""
    if event:
        return b"event: %b\ndata: %b\n\n" % (event, data)
    return b"data: %b\n\n" % data
