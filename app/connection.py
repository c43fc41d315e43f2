"""A client's connection, on which nothing is waited for longer than the configuration says."""

import errno
import fcntl
import math
import re
import select
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gunicorn.http.errors import InvalidRequestLine, NoMoreData, ParseException
from gunicorn.workers.gthread import TConn
from werkzeug.exceptions import BadRequest, RequestTimeout

BUFFER_BYTES = 64 * 1024
"""A request up to this size is received without a thread; of a larger one, a thread reads the rest."""
HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
CHUNKED = re.compile(rb"^transfer-encoding:[ \t]*chunked[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
WATCHING = re.compile(rb"(?:GET|HEAD) /(?:health|metrics)[ ?]")
LAST_CHUNK = b"0\r\n\r\n"

BODY_IS_LOADED = "clinvk.body_is_loaded"
"""In the environ of a request that fills one of the few places for large bodies: what gives it to the next."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker waits for.

    ``read_timeout_s``: from the start of a request (of the connection, for its first one) to its last byte;
    ``write_timeout_s``: how long a client may take nothing of what is being sent to it;
    ``idle_timeout_s``: how long a connection stays open between two requests;
    ``graceful_timeout_s``: how long runs may go on when the server stops.
    """

    read_timeout_s: float
    write_timeout_s: float
    idle_timeout_s: float
    graceful_timeout_s: float


class ClientSocket(socket.socket):
    """A client's socket, on which receiving and sending end in time.

    While it blocks, :meth:`recv` raises TimeoutError once ``read_by`` (time.monotonic) has passed, however often a few
    bytes arrive, and :meth:`sendall` raises BrokenPipeError when the client takes nothing for ``write_timeout_s``.
    ``has_begun`` is called when the application has made of a body what it needs, and when its answer begins.
    """

    read_by: float = math.inf
    write_timeout_s: float = math.inf
    dropped: bool = False
    has_begun: Callable[[], None] | None = None

    @classmethod
    def adopt(cls, plain: socket.socket, write_timeout_s: float) -> "ClientSocket":
        """Take over an accepted socket."""
        own = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        own.write_timeout_s = write_timeout_s
        return own

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive, waiting until ``read_by`` at most (and no longer than a timeout that is set)."""
        timeout_s = self.gettimeout()
        if timeout_s != 0:
            own_end = math.inf if timeout_s is None else time.monotonic() + timeout_s
            self._wait_for_data(min(self.read_by, own_end))
        return super().recv(bufsize, flags)

    def _wait_for_data(self, by: float) -> None:
        if by == math.inf:
            return
        poll = select.poll()
        poll.register(self, select.POLLIN)
        if not poll.poll(max(0.0, by - time.monotonic()) * 1000):
            # with this number gunicorn lets it pass without a traceback in the log
            raise TimeoutError(errno.ECONNRESET, "the request did not arrive in time")

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything.  A client that takes nothing is dropped, with what waits for it in the kernel."""
        if self.gettimeout() == 0:
            super().sendall(data, flags)
            return
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.send(rest, flags | socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._wait_for_client()

    def _wait_for_client(self) -> None:
        """Wait until more can be sent, as long as the client goes on taking what has been.

        That it can be written to again is told only when a third of its buffer is free, which a slow client may need
        long for; what it has acknowledged in the meantime shows that it is there.
        """
        poll = select.poll()
        poll.register(self, select.POLLOUT)
        waiting = self._unacknowledged_bytes()
        while not poll.poll(self.write_timeout_s * 1000):
            before, waiting = waiting, self._unacknowledged_bytes()
            if waiting >= before:
                self.dropped = True
                self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise BrokenPipeError(errno.EPIPE, f"the client took nothing for {self.write_timeout_s:g} s")

    def _unacknowledged_bytes(self) -> int:
        answer = fcntl.ioctl(self, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, sys.byteorder)


class Connection(TConn):  # type: ignore[misc]  # gunicorn is untyped
    """A client's connection: gunicorn's, and the part of the next request that has arrived."""

    sock: ClientSocket
    is_reading: bool = False
    lingers_until: float = 0.0
    drained_bytes: int = 0

    def __init__(
        self,
        cfg: Any,
        sock: ClientSocket,
        client: Any,
        server: Any,
        *,
        limits: Limits,
        linger: Callable[["Connection"], bool],
    ) -> None:
        super().__init__(cfg, sock, client, server)
        self._limits = limits
        self._linger = linger
        self._received = bytearray()
        self.data_ready = True  # a thread gets it with data, and need not wait

    def begin_request(self) -> None:
        """From here on the client has ``read_timeout_s`` to send the whole request."""
        self.sock.read_by = time.monotonic() + self._limits.read_timeout_s
        if self.parser is not None:
            self._received += self.parser.unreader.take_buffered()

    def receive(self) -> bool:
        """Take what has arrived, without waiting; whether a thread can go on with it."""
        self.sock.setblocking(False)
        while not self._is_enough():
            try:
                data = self.sock.recv(BUFFER_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                return True  # the thread will see it, too
            if not data:
                return True
            self._received += data
        return True

    def _is_enough(self) -> bool:
        return self.is_whole() or len(self._received) >= BUFFER_BYTES or self._is_no_request()

    def has_head(self) -> bool:
        """Whether there is something that can be answered."""
        return HEAD_END in self._received

    def is_whole(self) -> bool:
        """Whether the request has arrived to its last byte, so that its thread will not wait for any of it.

        An estimate from the head as it stands; what the request really is, gunicorn's parser judges.
        """
        head_bytes = self._received.find(HEAD_END) + len(HEAD_END)
        if head_bytes < len(HEAD_END):
            return False
        head = bytes(self._received[:head_bytes])
        if CHUNKED.search(head):
            return self._received.endswith(LAST_CHUNK)
        length = CONTENT_LENGTH.search(head)
        return length is None or len(self._received) - head_bytes >= int(length[1])

    def is_watching(self) -> bool:
        """Whether the request asks how the server is."""
        return WATCHING.match(self._received) is not None and self.is_whole()

    def _is_no_request(self) -> bool:
        """Whether this is no HTTP at all, such as TLS: to be told now, not when the time is up."""
        start = self._received[:1]
        return bool(start) and not (start.isalpha() or start in b"\r\n")

    def init(self) -> None:
        """Before each request, in its thread: make the parser if there is none, and give it what has arrived."""
        super().init()
        if self._is_no_request():
            raise InvalidRequestLine(bytes(self._received[:16]))
        if self._received:
            self.parser.unreader.unread(bytes(self._received))
            self._received.clear()

    def set_timeout(self) -> None:
        """A kept-alive connection is closed when this has passed."""
        self.timeout = time.monotonic() + self._limits.idle_timeout_s

    def close(self, graceful: bool = False) -> None:
        """Close; ``graceful`` says that nothing more will be sent and leaves the rest to the poller, if it can."""
        if self.sock.dropped or not (graceful and self._linger(self)):
            super().close()


class _TimedBody:
    """A request's body that lets the application answer who was too slow (408), or whose chunks are none (400)."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, *size: int) -> bytes:
        with _told():
            return bytes(self._body.read(*size))

    def readline(self, *size: int) -> bytes:
        with _told():
            return bytes(self._body.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        with _told():
            return list(self._body.readlines(*hint))

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise RequestTimeout("the request's body did not arrive in time (server.read_timeout_secs)") from error
    except (ParseException, NoMoreData) as error:
        raise BadRequest(f"the request's body is not framed as HTTP wants it: {error}") from error


def telling_timeouts(application: Application) -> Application:
    """The application, to which a body that is too slow raises werkzeug's RequestTimeout, and a wrong one BadRequest.

    (Unless it is told, an application takes both for faults of its own.)
    """

    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        sock = environ.get("gunicorn.socket")
        environ["wsgi.input"] = _TimedBody(environ["wsgi.input"])
        if not isinstance(sock, ClientSocket) or sock.has_begun is None:
            return application(environ, start_response)
        environ[BODY_IS_LOADED] = sock.has_begun
        try:
            return application(environ, start_response)
        finally:
            sock.has_begun()

    return wrapped
