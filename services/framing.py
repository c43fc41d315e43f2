"""Bytes of a stream to lines."""

from collections.abc import Iterator


class LineTooLongError(Exception):
    """A line is longer than there is room for."""


class LineSplitter:
    """Cuts chunks into lines of any length up to ``max_bytes``; an unfinished line costs no copying."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._held_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that the chunk completes, without their newlines.  Raises LineTooLongError."""
        first, *rest = chunk.split(b"\n")
        self._parts.append(first)
        self._held_bytes += len(first)
        if self._held_bytes > self._max_bytes:
            raise LineTooLongError
        if not rest:
            return
        yield b"".join(self._parts)
        yield from rest[:-1]
        self._parts = [rest[-1]]
        self._held_bytes = len(rest[-1])

    def rest(self) -> bytes:
        """What follows the last newline."""
        return b"".join(self._parts)
