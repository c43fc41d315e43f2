"""gunicorn's threaded worker, with the time limits that the configuration promises.

gunicorn's own gives a thread to a connection before anything has arrived on it, waits for ever for the rest of a
request, and lingers on a closing connection in the loop that accepts the others.  Here a thread is given to a request
whose head has arrived; until then the connection waits in the poller, and so does one that is being closed.
"""

import errno
import os
import socket
import threading
import time
from collections import deque
from functools import partial
from selectors import EVENT_READ
from types import FrameType
from typing import Any, Protocol

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from app.connection import ClientSocket, Connection, Limits, telling_timeouts
from app.refusals import ErrorsAsJson

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY_ACCEPT_S = 0.05
THREADS_END_WITHIN_S = 1.0
LINGER_S = 2.0
LINGER_BYTES = 64 * 1024


class Services(Protocol):
    """What the worker asks of the application's services (``app.extensions["clinvk"]``); each call is idempotent."""

    def begin_stop(self) -> None:
        """The server is stopping: let what goes on end by itself."""

    def end_all_runs(self) -> None:
        """The grace is over."""

    def close(self) -> None:
        """End and release everything."""


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """The worker of clinvk.  ``limits`` must be set before it starts (the server's post_fork hook does)."""

    limits: Limits
    services: Services | None = None
    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: deque[Connection] = deque()
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
        server = listener.getsockname()
        self.enqueue_req(Connection(self.cfg, sock, client, server, limits=self.limits, linger=self.linger))

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

    def murder_pending(self) -> None:
        """Close what has waited too long: for a head, or for the client to close."""
        super().murder_pending()
        now = time.monotonic()
        while self._lingering and self._lingering[0].lingers_until <= now:
            self._end_linger(self._lingering[0])

    # ------------------------------------------------------------------ closing connections

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
        conn.lingers_until = time.monotonic() + LINGER_S
        self._lingering.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self._drain, conn))
        return True

    def _drain(self, conn: Connection, _client: Any) -> None:
        try:
            data = conn.sock.recv(LINGER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.drained_bytes += len(data)
        if not data or conn.drained_bytes >= LINGER_BYTES:
            self._end_linger(conn)

    def _end_linger(self, conn: Connection) -> None:
        self._lingering.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    # ------------------------------------------------------------------ the application

    def load_wsgi(self) -> None:
        """Load the application, and find its services."""
        super().load_wsgi()
        self.services = self.wsgi.extensions["clinvk"]
        self.wsgi = telling_timeouts(self.wsgi)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that did not reach the application, or that it did not answer."""
        super().handle_error(req, ErrorsAsJson(client, exc), addr, exc)

    # ------------------------------------------------------------------ stopping

    def is_parent_alive(self) -> bool:
        """Whether the arbiter lives; without it, this worker stops."""
        if super().is_parent_alive():
            return True
        self.alive = False
        return False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """QUIT, INT: end now.  gunicorn's own takes a lock that the interrupted code may hold, and hangs."""
        super(ThreadWorker, self).handle_quit(sig, frame)

    def finish(self) -> None:
        """End what a worker has; the last thing it does.  A thread that hangs in sending is not waited for."""
        if self.services is not None:
            self.services.close()
        if self.tpool is not None:
            self.tpool.shutdown(wait=False, cancel_futures=True)
        give_up_s = time.monotonic() + THREADS_END_WITHIN_S
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join(max(0.0, give_up_s - time.monotonic()))
                if thread.is_alive():
                    os._exit(0)  # the interpreter would wait for it

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or cease to accept; ceasing for good is how a stop begins, whatever its reason."""
        super().set_accept_enabled(enabled)
        if not (enabled or self.alive or self._stopping):
            self._stopping = True
            self._begin_stop()

    def _begin_stop(self) -> None:
        soon = time.monotonic() + STOP_KEEPALIVE_LINGER
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, soon)
        if self.services is not None:
            self.services.begin_stop()
            timer = threading.Timer(self.limits.graceful_timeout_s, self.services.end_all_runs)
            timer.daemon = True
            timer.start()
