"""gunicorn's threaded worker, with the time limits that the configuration promises.

gunicorn's own gives a thread to a connection before anything has arrived on it, waits for ever for the rest of a
request, lingers on a closing connection in the loop that accepts the others, and accepts nobody while it has as many
connections as it may.  Here a thread is given to a request that has arrived, or as much of it as we keep in memory;
until then the connection waits in the poller, and so does one that is being closed.  A few threads at most wait for the
rest of large bodies, and the connection that has waited longest makes room for a new one.
"""

import errno
import os
import socket
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from types import FrameType
from typing import Any, Protocol

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from app.connection import ClientSocket, Connection, Limits, telling_timeouts
from app.refusals import ErrorsAsJson

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
RETRY_ACCEPT_S = 0.05
YIELD_S = 0.0005
"""How long one of several workers leaves the next connection to the others when it has just accepted one: else one that
is awake takes all that come at once, and their runs wait for its slots while those of the others are free."""
CROWD = 64
"""Of more connections than these each worker takes what it can."""
TELL_EVERY_S = 1.0
"""How often the arbiter is told that this worker lives: gunicorn's own tells it at each event, by a call that costs."""
THREADS_END_WITHIN_S = 1.0
LINGER_S = 2.0
LINGER_BYTES = 64 * 1024
READING_THREADS = 12
"""Threads that may wait for the rest of a body or have a large one: fewer than those for requests that need no run."""
WORKING_THREADS = 6
"""Threads that may work on a request until its body is loaded or its answer begins: more of them would only take turns,
and let the thread that accepts wait for its own."""
PROBABLY_WAITS_S = 0.5
"""A request that has been worked on for so long is waiting for something, and no longer counts among those."""
WATCHING_THREADS = 2
"""Threads for those who ask how the server is, and must not wait behind a thousand others for the answer."""


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
        self._reading = 0
        self._to_read: deque[Connection] = deque()
        self._working: dict[Connection, float] = {}  # since when, the oldest first
        self._to_work: deque[Connection] = deque()
        self._work = threading.Lock()
        self._watching: ThreadPoolExecutor | None = None
        self._stopping = False
        self._told_s = 0.0
        self._accepted_s = 0.0

    def notify(self) -> None:
        """Tell the arbiter that this worker lives."""
        now_s = time.monotonic()
        if now_s >= self._told_s + TELL_EVERY_S:
            self._told_s = now_s
            super().notify()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """The threads for most requests, when the worker begins."""
        self._watching = ThreadPoolExecutor(WATCHING_THREADS, "watching")
        return ThreadPoolExecutor(self.cfg.threads, "request")

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Deal with what happens within ``timeout`` seconds.

        What was told of a connection is forgotten when another one's event has closed it since.
        """
        for key, _ in self.poller.select(timeout):
            if self.poller.get_map().get(key.fd) is key:
                key.data(key.fileobj)

    # ------------------------------------------------------------------ connections

    def accept(self, listener: Any) -> None:
        """Accept a connection; it gets a thread when a request's head has arrived."""
        self._let_others_have_it()
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
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        sock = ClientSocket.adopt(plain, self.limits.write_timeout_s)
        server = listener.getsockname()
        self.enqueue_req(Connection(self.cfg, sock, client, server, limits=self.limits, linger=self.linger))

    def _let_others_have_it(self) -> None:
        """Leave a connection for a moment to the other workers, if the last one was ours, too."""
        before_s, self._accepted_s = self._accepted_s, time.monotonic()
        if self.cfg.workers > 1 and self.nr_conns < CROWD and self._accepted_s - before_s < 2 * YIELD_S:
            time.sleep(YIELD_S)
            self._accepted_s = time.monotonic()

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client, if any has."""
        if self._lingering:
            self._end_linger(self._lingering[0])
            return
        waiting = self.pending_conns or self.keepalived_conns
        if waiting:
            conn = self._stop_waiting(waiting)
            self.nr_conns -= 1
            conn.close()

    def _stop_waiting(self, waiting: deque[Connection]) -> Connection:
        """Take the connection that has waited longest."""
        conn = waiting.popleft()
        with suppress(KeyError):  # one that is to be read by a thread is not in the poller
            self.poller.unregister(conn.sock)
        return conn

    def enqueue_req(self, conn: Connection) -> None:
        """A request begins: to a thread with it if enough of it is here, else to the poller."""
        conn.begin_request()
        if conn.receive():
            self._hand_over(conn)
            return
        self._keep_waiting(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:
        """More of a request has arrived."""
        if conn.receive():
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._hand_over(conn)

    def _keep_waiting(self, conn: Connection) -> None:
        conn.timeout = conn.sock.read_by
        self.pending_conns.append(conn)

    def _hand_over(self, conn: Connection) -> None:
        """Give a thread to a request, or let it wait for one when it is not whole and too many of those have one."""
        if not conn.is_whole():
            if self._reading >= READING_THREADS:
                self._keep_waiting(conn)
                self._to_read.append(conn)
                return
            self._reading += 1
            conn.is_reading = True
            conn.sock.has_begun = partial(self._has_begun, conn)
            self._submit(self.tpool, conn)  # it will mostly wait
            return
        self._give_thread(conn)

    def _give_thread(self, conn: Connection) -> None:
        """Give a thread to a request, at once or when others have let go of theirs."""
        if self._watching is not None and conn.is_watching():
            self._submit(self._watching, conn)
            return
        conn.sock.has_begun = partial(self._has_begun, conn)
        with self._work:
            self._to_work.append(conn)
        self._work_on()

    def _submit(self, pool: ThreadPoolExecutor, conn: Connection) -> None:
        answered = pool.submit(self.handle, conn)
        answered.add_done_callback(partial(self.method_queue.defer, self.finish_request, conn))

    def _has_begun(self, conn: Connection) -> None:
        """A request's body is loaded, or its answer begins: from now on its thread mostly waits.  In any thread."""
        if conn.is_reading:
            self.method_queue.defer(self._has_loaded, conn)
        with self._work:
            self._working.pop(conn, None)
        self._work_on()

    def _work_on(self) -> None:
        """Let threads begin with the requests that wait for one, as many as may."""
        with self._work:
            while self._to_work and len(self._working) < WORKING_THREADS:
                conn = self._to_work.popleft()
                self._working[conn] = time.monotonic()
                self._submit(self.tpool, conn)

    def _let_go(self, since_s: float) -> None:
        """Count no more the requests that have been worked on since before ``since_s``."""
        with self._work:
            for conn in [conn for conn, began_s in self._working.items() if began_s < since_s]:
                del self._working[conn]
        self._work_on()

    def _has_loaded(self, conn: Connection) -> None:
        """A thread waits no more for the rest of a request, and does not need its body any more."""
        if not conn.is_reading:
            return
        conn.is_reading = False
        self._reading -= 1
        while self._to_read and self._reading < READING_THREADS:
            following = self._to_read.popleft()
            if following in self.pending_conns:
                self.pending_conns.remove(following)
                self._hand_over(following)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """A request has been answered, or given up."""
        self._has_loaded(conn)
        self._has_begun(conn)
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """End what has waited too long: for a request, or for the client to close."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            conn = self._stop_waiting(self.pending_conns)
            if conn.has_head():
                conn.sock.read_by = now
                self._give_thread(conn)  # which will see that the time is up, and say so
            else:
                self.nr_conns -= 1
                conn.close()
        while self._lingering and self._lingering[0].lingers_until <= now:
            self._end_linger(self._lingering[0])
        self._let_go(now - PROBABLY_WAITS_S)

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
        self._to_work.clear()
        for pool in filter(None, (self.tpool, self._watching)):
            pool.shutdown(wait=False, cancel_futures=True)
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
        for listener in self.sockets:
            listener.close()  # what nobody accepts is better refused; and another server may want to listen there
        soon = time.monotonic() + STOP_KEEPALIVE_LINGER
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, soon)
        if self.services is not None:
            self.services.begin_stop()
            timer = threading.Timer(self.limits.graceful_timeout_s, self.services.end_all_runs)
            timer.daemon = True
            timer.start()
