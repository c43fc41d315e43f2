"""How a question is answered over HTTP, whatever the provider."""

import json
import time
import uuid
from collections.abc import Iterator
from threading import Event
from typing import Any, Protocol

from tests.e2e.fake_upstream.turn import Json, Turn

HANG_S = 600.0
Header = tuple[str, str]


class Wire(Protocol):
    """The connection that an answer is written to."""

    def send_json(self, value: Json, status: int = 200, headers: tuple[Header, ...] = ()) -> None: ...

    def start_stream(self) -> None: ...

    def chunk(self, data: bytes) -> None: ...

    def end_stream(self) -> None: ...


class Dropped(ConnectionAbortedError):  # noqa: N818 - no error: it is asked for
    """The connection is to be closed in the middle of the answer."""


class Answer:
    """One answer in a provider's shape; ``closing`` is set when the server stops."""

    def __init__(self, wire: Wire, turn: Turn, closing: Event) -> None:
        self.wire = wire
        self.turn = turn
        self.closing = closing
        self.deltas = 0

    def error(self, status: int) -> None:
        """Fail with this status."""
        raise NotImplementedError

    def too_long(self) -> None:
        """Fail because the context is too long."""
        raise NotImplementedError

    def whole(self) -> None:
        """Answer in one piece."""
        raise NotImplementedError

    def stream(self) -> None:
        """Answer in deltas."""
        raise NotImplementedError

    def failure(self, status: int) -> str:
        """The provider's words for it."""
        return f"fake {status}"

    def retry_after(self, status: int) -> tuple[Header, ...]:
        return (("retry-after", "1"),) if status == 429 else ()

    def begin(self) -> None:
        """Send the headers of a stream."""
        self.closing.wait(self.turn.words.number("first"))
        self.wire.start_stream()

    def event(self, value: Json, name: str = "") -> None:
        """Send one server-sent event."""
        head = f"event: {name}\n" if name else ""
        self.wire.chunk(f"{head}data: {json.dumps(value)}\n\n".encode())

    def paced(self) -> Iterator[str]:
        """The text deltas at the asked pace; hangs or drops half-way when asked to.  Raises Dropped."""
        turn = self.turn
        delay_s, middle = turn.words.number("delay"), (turn.count() + 1) / 2
        for index, piece in enumerate(turn.pieces()):
            if index >= middle:
                if turn.has("hang"):
                    self.closing.wait(HANG_S)
                if turn.has("drop"):
                    raise Dropped
            if delay_s:
                time.sleep(delay_s)
            self.deltas += 1
            yield f"t{time.monotonic_ns()} " if turn.has("stamp") and index else piece


def ident(prefix: str, length: int = 16) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:length]}"


def error_type(names: dict[int, str], status: int, default: str) -> Any:
    return names.get(status, default)
