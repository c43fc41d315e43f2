"""A small HTTP client that sees when each piece arrives, and can vanish."""

import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer.  ``headers`` ignores case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """The values of an NDJSON body."""
        return [json.loads(line) for line in self.body.splitlines()]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a body and when they arrived (monotonic seconds)."""

    at_s: float
    data: bytes


@dataclass(slots=True)
class Exchange:
    """One request on a connection of its own, being answered.  Close it, or let it vanish."""

    connection: http.client.HTTPConnection
    socket: socket.socket
    sent_s: float
    _answer: http.client.HTTPResponse | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def answer(self) -> http.client.HTTPResponse:
        """The status and the headers, waited for if need be."""
        if self._answer is None:
            self._answer = self.connection.getresponse()
        return self._answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> http.client.HTTPMessage:
        return self.answer.headers

    def response(self) -> Response:
        """The whole answer."""
        return Response(self.status, self.headers, self.answer.read())

    def pieces(self) -> Iterator[Piece]:
        """The body as it arrives."""
        while data := self.answer.read1(1 << 20):
            yield Piece(time.monotonic(), data)

    def lines(self) -> Iterator[Piece]:
        """The lines of the body, without their ends, as they arrive."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece.data).split(b"\n")
            yield from (Piece(piece.at_s, line) for line in whole)
        if rest:
            yield Piece(time.monotonic(), rest)

    def events(self) -> Iterator[Any]:
        """The values of an NDJSON body, as they arrive."""
        return (json.loads(line.data) for line in self.lines() if line.data)

    def vanish(self, *, reset: bool = False) -> float:
        """Be gone, as a client that died (FIN), or with ``reset`` as one whose machine forgot it; when that was."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.socket.shutdown(socket.SHUT_RDWR)
        self.close()
        return time.monotonic()

    def close(self) -> None:
        """Close the connection; harmless when it is closed."""
        if self._answer is not None:
            self._answer.close()
        self.connection.close()
        self.socket.close()


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to one address; JSON unless the body is bytes."""

    port: int
    headers: Headers = field(default_factory=dict)
    host: str = "127.0.0.1"

    def send(
        self, method: str, path: str, body: Any = None, *, headers: Headers | None = None, timeout_s: float = 60.0
    ) -> Exchange:
        """Send a request and return at once."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        connection.connect()
        assert isinstance(connection.sock, socket.socket)
        sock = connection.sock
        fields = {**self.headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            fields.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, fields)
        except OSError:
            connection.close()
            raise
        return Exchange(connection, sock, time.monotonic())

    def request(
        self, method: str, path: str, body: Any = None, *, headers: Headers | None = None, timeout_s: float = 60.0
    ) -> Response:
        """Send a request and wait for the whole answer."""
        with self.send(method, path, body, headers=headers, timeout_s=timeout_s) as exchange:
            return exchange.response()

    def get(self, path: str, *, headers: Headers | None = None) -> Response:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, *, headers: Headers | None = None) -> Response:
        return self.request("POST", path, body, headers=headers)

    def prompt(self, prompt: str, backend: str = "claude", **fields: Any) -> Response:
        """A plain prompt through the native API."""
        return self.post("/api/v1/prompt", {"backend": backend, "prompt": prompt, **fields})

    def stream(self, prompt: str, backend: str = "claude", **fields: Any) -> Exchange:
        """A streamed prompt through the native API, as NDJSON."""
        body = {"backend": backend, "prompt": prompt, "output_format": "stream-json", **fields}
        return self.send("POST", "/api/v1/prompt", body)

    def raw(self, data: bytes, timeout_s: float = 60.0) -> socket.socket:
        """A bare connection on which these bytes were sent; the caller closes it."""
        sock = socket.create_connection((self.host, self.port), timeout=timeout_s)
        sock.sendall(data)
        return sock
