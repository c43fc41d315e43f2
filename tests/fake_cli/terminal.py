"""The program's stdin and stdout, and its diary."""

from __future__ import annotations

import json
import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ_BYTES = 65536


class Terminal:
    """Reads lines while waiting, writes in large pieces, and notes what happens in the diary."""

    def __init__(self, diary: str) -> None:
        self.eof = False
        self._diary = diary
        self._unread = bytearray()
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._read_delay_s = 0.0
        self.split_bytes = 0
        # A signal that comes just before a wait would else be heeded only after it.
        self._signalled, wake_up = os.pipe()
        os.set_blocking(wake_up, False)
        signal.set_wakeup_fd(wake_up)

    def note(self, event: str, **fields: Any) -> None:
        """Append one line to the diary; a single write, so that lines of several processes do not mix."""
        entry = {"event": event, "pid": os.getpid(), "at": time.time(), **fields}
        handle = os.open(self._diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, json.dumps(entry).encode() + b"\n")
        finally:
            os.close(handle)

    def wait(self, seconds: float | None) -> bool:
        """Wait for input, at most so long, and take it in; False when none came."""
        watched = [self._signalled] if self.eof else [0, self._signalled]
        ready = select.select(watched, [], [], seconds)[0]
        if self._signalled in ready:
            os.read(self._signalled, 64)
        if 0 not in ready:
            return False
        time.sleep(self._read_delay_s)
        data = os.read(0, READ_BYTES)
        self.eof = not data
        self._unread += data
        if b"FAKE:readstdin=" in data:
            self._read_delay_s = float(data.split(b"FAKE:readstdin=")[1].split()[0].strip(b'"\\},'))
        return True

    def line(self, *, block: bool = True) -> bytes | None:
        """The next line of input; None at its end, or when it is not there yet and ``block`` is false."""
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if self.eof or not block:
                return None
            self.wait(None)
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def everything(self) -> bytes:
        """All input up to its end."""
        while not self.eof:
            self.wait(None)
        return bytes(self._unread)

    def write(self, data: bytes) -> None:
        """Queue bytes for stdout; they are written when enough are there, or by :meth:`flush`."""
        self._unwritten.append(data)
        self._unwritten_bytes += len(data)
        if self._unwritten_bytes >= READ_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is queued."""
        data = b"".join(self._unwritten)
        self._unwritten.clear()
        self._unwritten_bytes = 0
        step = self.split_bytes or len(data)
        while data:
            data = data[os.write(1, data[:step]) :]
            if self.split_bytes:
                time.sleep(0.0002)  # so that the reader sees the pieces apart

    def json(self, value: Any) -> None:
        """Write one line of JSON."""
        self.write(
            json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        )
