"""Streams: when the headers go out, and that whatever is behind a stream ends with it."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from flask import Response

from blueprints.errors import of_failure
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Message, Thinking, ToolResult, ToolUse
from services.running import Running

CONTENT = (Message, Thinking, ToolUse, ToolResult, Done)
"""What a client waits for.  An Init, a Progress or a Usage tells it nothing that a failure could not follow."""

BROKEN = Failed(ErrorCode.INTERNAL, "an error of the server; its log says more under this request id", -1)

log = logging.getLogger(__name__)

Write = Callable[[Sequence[Event]], bytes]
"""Turns a batch of events into the bytes of a dialect; an empty batch into its heartbeat."""


def stream_run(run: Running, write: Write, *, content_type: str, headers_after_s: float) -> Response:
    """Answer with a run's events as they come.

    Waits for the first content, the end, or ``headers_after_s`` of neither.  Raises ClinvkError when the run has
    failed by then: nothing was sent, so the failure can have its HTTP status.
    """
    try:
        batches = run.batches()
        held = _until_content(batches, headers_after_s)
    except BaseException:
        run.close()
        raise

    def chunks() -> Iterator[bytes]:
        yield write(held)
        try:
            for batch in batches:
                yield write(batch)
        except Exception:  # a fault of ours: the stream must still say that it failed
            log.exception("the stream of run %s broke", run.run_id)
            yield write([BROKEN])

    response = stream(chunks(), content_type=content_type, close=run.close)
    if run.run_id:
        response.headers["X-Clinvk-Run"] = run.run_id
    return response


def stream(chunks: Iterator[bytes], *, content_type: str, close: Callable[[], None]) -> Response:
    """Answer with chunks as they come, each sent at once.

    ``close`` is called in the end, whatever the end is: also when the client is gone before the first chunk, in which
    case no code of the iterator ever runs.
    """
    response = Response(chunks, content_type=content_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(close)
    return response


def _until_content(batches: Iterator[Sequence[Event]], headers_after_s: float) -> Sequence[Event]:
    """The events up to the first content; fewer when it does not come in time.  Raises ClinvkError."""
    began_s = time.monotonic()
    held: list[Event] = []
    for batch in batches:
        held.extend(batch)
        if any(isinstance(event, CONTENT) for event in batch):
            break
        if batch and isinstance(failed := batch[-1], Failed):
            raise of_failure(failed)
        if not batch or time.monotonic() - began_s >= headers_after_s:
            break
    return held
