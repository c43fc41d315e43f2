"""gunicorn's threaded worker, with the time limits that the configuration promises.

gunicorn's own gives a thread to a connection before anything has arrived on it, waits for ever for the rest of a
request, and lingers on a closing connection in the loop that accepts the others.  Here a thread is given to a request
whose head has arrived; until then the connection waits in the poller, and so does one that is being closed.

- ``read_timeout_s``: from the start of a request (or of the connection) until its last byte has been read;
- ``write_timeout_s``: how long a client may read nothing while something is being sent to it;
- ``idle_timeout_s``: how long a connection is kept open between two requests.
"""

import errno
import math
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ
from typing import Any, Protocol

from gunicorn.http.errors import InvalidRequestLine
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker
from werkzeug.exceptions import RequestTimeout

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

HEAD_BYTES = 64 * 1024
"""A head that is longer is read by a thread, up to gunicorn's own limits."""
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY_ACCEPT_S = 0.05
LINGER_S = 2.0
LINGER_BYTES = 64 * 1024


class Services(Protocol):
    """What the worker asks of the application's services (``app.extensions["clinvk"]``); each call is idempotent."""

    def begin_stop(self) -> None:
        """The server is stopping: take no new runs, let those that go on end by themselves."""

    def end_all_runs(self) -> None:
        """The grace is over."""

    def close(self) -> None:
        """End and release everything."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The time limits of a worker."""

    read_timeout_s: float
    write_timeout_s: float
    idle_timeout_s: float
    graceful_timeout_s: float


class ClientSocket(socket.socket):
    """A client's socket, on which receiving and sending end in time.

    In blocking mode :meth:`recv` raises TimeoutError once ``read_by`` (time.monotonic) has passed, however often a few
    bytes arrive, and :meth:`sendall` raises BrokenPipeError when the client reads nothing for ``write_timeout_s``.
    """

    read_by: float = math.inf
    write_timeout_s: float = math.inf

    @classmethod
    def adopt(cls, plain: socket.socket, write_timeout_s: float) -> "ClientSocket":
        """Take over an accepted socket."""
        own = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        own.write_timeout_s = write_timeout_s
        whole, part = divmod(write_timeout_s, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(whole), max(1, int(part * 1e6))))
        return own

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive, waiting until ``read_by`` at most (and no longer than a timeout that is set)."""
        timeout_s = self.gettimeout()
        if timeout_s != 0:
            by = self.read_by if timeout_s is None else min(self.read_by, time.monotonic() + timeout_s)
            self._wait_for_data(by)
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
        try:
            super().sendall(data, flags)
        except BlockingIOError as error:  # SO_SNDTIMEO
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            message = f"the client read nothing for {self.write_timeout_s:g} s"
            raise BrokenPipeError(errno.EPIPE, message) from error


class Connection(TConn):  # type: ignore[misc]  # gunicorn is untyped
    """A client's connection: gunicorn's, and the part of the next request's head that has arrived."""

    sock: ClientSocket

    def __init__(self, worker: "Worker", sock: ClientSocket, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, sock, client, server)
        self._worker = worker
        self._head = bytearray()
        self.data_ready = True  # a thread gets it with data, and need not wait

    def begin_request(self) -> None:
        """From here on the client has ``read_timeout_s`` to send the whole request."""
        self.sock.read_by = time.monotonic() + self._worker.limits.read_timeout_s
        if self.parser is not None:
            self._head += self.parser.unreader.take_buffered()

    def receive_head(self) -> bool:
        """Take what has arrived, without waiting; whether a thread can go on with it."""
        self.sock.setblocking(False)
        while not self._head_is_here():
            try:
                data = self.sock.recv(HEAD_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                return True  # the thread will see it, too
            if not data:
                return True
            self._head += data
        return True

    def _head_is_here(self) -> bool:
        return b"\r\n\r\n" in self._head or len(self._head) >= HEAD_BYTES or self._is_no_request()

    def _is_no_request(self) -> bool:
        """Whether this is no HTTP at all, such as TLS: to be told now, not when the time is up."""
        return bool(self._head) and not (self._head[:1].isalpha() or self._head[:1] in b"\r\n")

    def init(self) -> None:
        """Before each request, in its thread: make the parser if there is none, and give it what has arrived."""
        super().init()
        if self._is_no_request():
            raise InvalidRequestLine(bytes(self._head[:16]))
        if self._head:
            self.parser.unreader.unread(bytes(self._head))
            self._head.clear()

    def set_timeout(self) -> None:
        """A kept-alive connection is closed when this has passed."""
        self.timeout = time.monotonic() + self._worker.limits.idle_timeout_s

    def close(self, graceful: bool = False) -> None:
        """Close, or say that nothing more will come and let the poller wait until the client has read it."""
        if not (graceful and self._worker.linger(self)):
            super().close()


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """The worker of clinvk.  ``limits`` must be set before it starts (the server's post_fork hook does)."""

    limits: Limits
    services: Services | None = None
    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: deque[tuple[float, Connection]] = deque()
        self._stopping = False

    # ------------------------------------------------------------------ connections

    def accept(self, listener: Any) -> None:
        """Accept a connection; it gets a thread when a request's head has arrived."""
        try:
            plain, client = listener.accept()
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self.log.error("cannot accept a connection: %s", error.strerror)
                time.sleep(RETRY_ACCEPT_S)  # nothing else can be accepted either
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self.nr_conns += 1
        sock = ClientSocket.adopt(plain, self.limits.write_timeout_s)
        self.enqueue_req(Connection(self, sock, client, listener.getsockname()))

    def enqueue_req(self, conn: Connection) -> None:
        """A request begins: to a thread with it if its head is here, else to the poller."""
        conn.begin_request()
        if conn.receive_head():
            super().enqueue_req(conn)
            return
        conn.timeout = conn.sock.read_by
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:
        """More of a head has arrived."""
        if conn.receive_head():
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            super().enqueue_req(conn)

    def linger(self, conn: Connection) -> bool:
        """Close the sending side and wait in the poller for the client to close its own; False if it is gone.

        Closing at once would let the kernel answer what the client still sends with a reset, which can overtake the
        end of the response (RFC 9112, section 9.6).
        """
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        self.nr_conns += 1
        self._lingering.append((time.monotonic() + LINGER_S, conn))
        self.poller.register(conn.sock, EVENT_READ, partial(self._drain, conn, [0]))
        return True

    def _drain(self, conn: Connection, drained: list[int], _client: Any) -> None:
        try:
            data = conn.sock.recv(LINGER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        drained[0] += len(data)
        if not data or drained[0] >= LINGER_BYTES:
            self._lingering = deque(entry for entry in self._lingering if entry[1] is not conn)
            self._end_linger(conn)

    def _end_linger(self, conn: Connection) -> None:
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Close what has waited too long: for a head, or for the client to close."""
        super().murder_pending()
        now = time.monotonic()
        while self._lingering and self._lingering[0][0] <= now:
            self._end_linger(self._lingering.popleft()[1])

    # ------------------------------------------------------------------ application

    def load_wsgi(self) -> None:
        """Load the application, and find its services."""
        super().load_wsgi()
        self.services = self.wsgi.extensions["clinvk"]
        self.wsgi = _telling_timeouts(self.wsgi)

    # ------------------------------------------------------------------ stopping

    def is_parent_alive(self) -> bool:
        """Whether the arbiter lives; without it, this worker stops."""
        if super().is_parent_alive():
            return True
        self.alive = False
        return False

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or cease to accept; ceasing for good is the beginning of the stop."""
        super().set_accept_enabled(enabled)
        if not (enabled or self.alive or self._stopping):
            self._stopping = True
            self._begin_stop()

    def _begin_stop(self) -> None:
        soon = time.monotonic() + STOP_KEEPALIVE_LINGER
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, soon)
        if self.services is None:
            return
        self.services.begin_stop()
        timer = threading.Timer(self.limits.graceful_timeout_s, self.services.end_all_runs)
        timer.daemon = True
        timer.start()


class _TimedBody:
    """A request's body that tells a client it was too slow, in the application's own words (408)."""

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


def _telling_timeouts(application: Application) -> Application:
    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"] = _TimedBody(environ["wsgi.input"])
        return application(environ, start_response)

    return wrapped
