"""A client that costs little: HTTP/1.1 on a socket."""

import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

RECEIVE_BYTES = 1 << 20
LAST_CHUNK = b"\r\n0\r\n\r\n"


def request_bytes(path: str, body: Mapping[str, Any]) -> bytes:
    """A whole POST."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


class Connection:
    """A kept-alive connection that reads answers of a known length, or streams piece by piece."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return self._read_whole()

    def send(self, path: str, body: Mapping[str, Any]) -> None:
        """Send a POST and do not read yet."""
        self._socket.sendall(request_bytes(path, body))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a POST.  Raises RuntimeError when it is no success."""
        self.send(path, body)
        answer = json.loads(self._read_whole())
        if answer.get("exit_code", 0) != 0 or "error" in answer:
            raise RuntimeError(answer)
        return answer

    def pieces(self) -> Iterator[bytes]:
        """What comes, as it comes, until the last chunk of a stream.  RuntimeError when there is no stream."""
        first = self._receive()
        if not first.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(first.decode(errors="replace"))
        yield first
        yield from self.rest(first)

    def rest(self, before: bytes = b"") -> Iterator[bytes]:
        """The same of a stream of which the beginning has been read, ``before`` being the last of it."""
        tail = before[-len(LAST_CHUNK) :]
        while tail != LAST_CHUNK:
            data = self._receive()
            tail = (tail + data)[-len(LAST_CHUNK) :]
            yield data

    def _receive(self) -> bytes:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the answer broke off")
        return data

    def _read_whole(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        length = int(found[1]) if found else 0
        while len(body) < length:
            body += self._receive()
        return body

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for_mark(pieces: Iterator[bytes], mark: bytes) -> float:
    """Read until ``mark`` has come; the :func:`time.perf_counter` of that.  RuntimeError when it never does."""
    seen = b""
    for piece in pieces:
        seen += piece
        if mark in seen:
            return time.perf_counter()
        seen = seen[-4096:]
    raise RuntimeError(f"no {mark.decode()} came: {seen.decode(errors='replace')}")
