"""The time limits of connections, each against a real gunicorn."""

import itertools
import json
import os
import re
import select
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest

from app.server import CONNECTIONS
from app.worker import WORKING_THREADS, Worker
from tests.app.conftest import Running, Start
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

LIMIT_S = 1.0
LATE_S = 1.7  # the poller looks at the clock at least once a second
THREADS = 2 + 0 + 16  # runs, queue, reserve


@pytest.fixture(scope="module")
def running(start: Start) -> Running:
    return start(
        read_timeout_secs=LIMIT_S,
        write_timeout_secs=LIMIT_S,
        idle_timeout_secs=2 * LIMIT_S,
        max_concurrent_runs=2,
        max_queued_runs=0,
        trusted_proxies=["127.0.0.1"],
    )


def request(path: str, method: str = "GET", headers: str = "", body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body


def until_closed(sock: socket.socket, begun_s: float) -> tuple[float, bytes]:
    """How long it took the server to close the connection, and what it sent before."""
    received = b""
    sock.settimeout(10)
    with suppress(ConnectionResetError):
        while data := sock.recv(1 << 20):
            received += data
    return time.monotonic() - begun_s, received


def ends_with(sock: socket.socket, end: bytes) -> bytes:
    """What the server sends until this end."""
    received = b""
    while not received.endswith(end) and (data := sock.recv(1 << 16)):
        received += data
    return received if received.endswith(end) else b""


@contextmanager
def dripping(sock: socket.socket, data: bytes) -> Iterator[None]:
    """Send a byte every 50 ms."""
    stop = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            for byte in data:
                if stop.wait(0.05):
                    return
                sock.send(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def no_traceback(running: Running) -> Iterator[None]:
    """See that none is logged; other tests of the same server may have logged theirs."""
    before = running.log.count("Traceback")
    yield
    assert running.log.count("Traceback") == before, running.log


@pytest.mark.parametrize("begun", [b"", b"G", request("/health")[:-2]])
def test_a_client_that_falls_silent_before_its_request_is_whole_is_closed(running: Running, begun: bytes) -> None:
    begun_s = time.monotonic()
    with running.client.raw(begun) as sock:
        took_s, received = until_closed(sock, begun_s)
    assert received == b""
    assert LIMIT_S <= took_s <= LIMIT_S + LATE_S


def test_a_client_that_drips_its_head_is_closed(running: Running) -> None:
    begun_s = time.monotonic()
    with running.client.raw(b"GET /health HTTP/1.1\r\nX: ") as sock, dripping(sock, b"y" * 1000):
        took_s, _ = until_closed(sock, begun_s)
    assert LIMIT_S <= took_s <= LIMIT_S + LATE_S


def test_a_client_that_drips_a_head_too_long_for_the_poller_is_closed(running: Running) -> None:
    begun_s = time.monotonic()
    long = b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(70))
    with no_traceback(running), running.client.raw(long) as sock, dripping(sock, b"X: " + b"y" * 1000):
        took_s, _ = until_closed(sock, begun_s)
    assert LIMIT_S <= took_s <= LIMIT_S + LATE_S


def test_a_client_that_drips_its_body_is_told_408_and_closed(running: Running) -> None:
    begun_s = time.monotonic()
    with running.client.raw(request("/echo", "POST", "Content-Length: 1000\r\n")) as sock, dripping(sock, b"y" * 1000):
        took_s, received = until_closed(sock, begun_s)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert LIMIT_S <= took_s <= LIMIT_S + LATE_S


def test_head_and_body_have_one_time_limit_together(running: Running) -> None:
    begun_s = time.monotonic()
    with running.client.raw(b"") as sock, dripping(sock, request("/echo", "POST", "Content-Length: 9\r\n")[:12]):
        time.sleep(0.8 * LIMIT_S)
        sock.sendall(request("/echo", "POST", "Content-Length: 9\r\n")[12:])
        took_s, _ = until_closed(sock, begun_s)
    assert took_s <= LIMIT_S + LATE_S


def test_a_body_that_nobody_reads_has_the_same_time_limit(running: Running) -> None:
    begun_s = time.monotonic()
    with running.client.raw(request("/refuse", "POST", "Content-Length: 1000\r\n")) as sock, dripping(sock, b"y" * 999):
        took_s, received = until_closed(sock, begun_s)
    assert received.startswith(b"HTTP/1.1 401 ")
    assert LIMIT_S <= took_s <= LIMIT_S + LATE_S


def test_a_request_in_time_takes_as_long_as_it_needs(running: Running) -> None:
    answer = running.client.get(f"/run?secs={2 * LIMIT_S + 1}")
    assert answer.text == "begun done"


def test_each_request_of_a_connection_has_the_whole_time(running: Running) -> None:
    with running.client.raw(b"") as sock:
        sock.settimeout(5)
        for _ in range(3):
            time.sleep(0.6 * LIMIT_S)
            sock.sendall(request("/echo", "POST", "Content-Length: 4\r\n", b"body"))
            assert ends_with(sock, b'{"bytes":4}\n')


def test_an_idle_connection_is_closed_after_its_own_time(running: Running) -> None:
    with running.client.raw(request("/health")) as sock:
        sock.settimeout(5)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        took_s, _ = until_closed(sock, time.monotonic())
    assert 2 * LIMIT_S - 0.1 <= took_s <= 2 * LIMIT_S + LATE_S


def test_pipelined_requests_are_all_answered(running: Running) -> None:
    echo = request("/echo", "POST", "Content-Length: 4\r\n", b"body")
    with running.client.raw(request("/health") + echo + request("/health")[:10]) as sock:
        time.sleep(0.3 * LIMIT_S)
        sock.sendall(request("/health")[10:])
        _, received = until_closed(sock, time.monotonic())
    assert received.count(b"HTTP/1.1 200 ") == 3


def test_a_client_that_takes_nothing_is_dropped(running: Running) -> None:
    with no_traceback(running), socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", running.port))
        begun_s = time.monotonic()
        sock.sendall(request("/endless?name=untaken"))
        wait_until(lambda: "endless: untaken ended" in running.log, LIMIT_S + 5)
        took_s = time.monotonic() - begun_s
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        assert poll.poll(500), "the connection is not reset"
    assert LIMIT_S <= took_s <= LIMIT_S + LATE_S


def test_a_client_that_takes_little_but_something_is_served(running: Running) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", running.port))
        sock.sendall(request("/endless"))
        begun_s = time.monotonic()
        while time.monotonic() < begun_s + 3.5 * LIMIT_S:
            time.sleep(0.05)
            assert sock.recv(1024)


def test_what_is_no_http_is_refused_at_once(running: Running) -> None:
    begun_s = time.monotonic()
    with running.client.raw(b"\x16\x03\x01\x02\x00") as sock:
        took_s, received = until_closed(sock, begun_s)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert took_s < LIMIT_S / 2


@pytest.mark.parametrize("begun", [b"", request("/health")[:-2]], ids=["silent", "half a head"])
def test_clients_that_send_nothing_take_no_thread(running: Running, begun: bytes) -> None:
    socks = [running.client.raw(begun) for _ in range(3 * THREADS)]
    try:
        begun_s = time.monotonic()
        assert running.client.get("/health").status == 200
        assert time.monotonic() - begun_s < LIMIT_S / 2
    finally:
        for sock in socks:
            sock.close()


def test_clients_that_do_not_close_do_not_hold_up_the_others(running: Running) -> None:
    socks = [running.client.raw(request("/close")) for _ in range(5)]
    try:
        for sock in socks:
            sock.settimeout(5)
            assert sock.recv(65536)
        begun_s = time.monotonic()
        assert running.client.get("/health").status == 200
        assert time.monotonic() - begun_s < LIMIT_S / 2
    finally:
        for sock in socks:
            sock.close()


def test_a_closed_connection_ends_although_the_client_does_not_close(running: Running) -> None:
    with running.client.raw(request("/close")) as sock:
        sock.settimeout(5)
        while sock.recv(65536):
            pass
        poll = select.poll()
        poll.register(sock, select.POLLERR | select.POLLHUP)
        time.sleep(0.1)
        deadline_s = time.monotonic() + 2 + LATE_S
        while time.monotonic() < deadline_s:
            try:
                sock.send(b"x")  # is answered by a reset once the server has closed
            except OSError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("the server keeps the connection")


def test_the_scheme_of_a_trusted_proxy_counts_and_nothing_else_of_it(running: Running) -> None:
    answer = running.client.get("/health", headers={"X-Forwarded-Proto": "https", "Script-Name": "/evil"})
    assert answer.json() | {"worker": 0} == {"worker": 0, "scheme": "https", "script": ""}
    answer = running.client.get("/health", headers={"X-Forwarded-Ssl": "on"})
    assert answer.json()["scheme"] == "http"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (request("/health", headers="Bad Name: x\r\n"), 400),
        (request("/health", headers="Transfer-Encoding: unheard-of\r\n"), 501),
        (request("/" + "x" * 9000), 414),
        (request("/health", headers="X: " + "y" * 9000 + "\r\n"), 431),
        (request("/health", headers="".join(f"X-{n}: y\r\n" for n in range(200))), 431),
        (request("/broken"), 500),
    ],
)
def test_what_the_application_cannot_answer_is_answered_in_json(running: Running, data: bytes, status: int) -> None:
    with running.client.raw(data) as sock:
        _, received = until_closed(sock, time.monotonic())
    head, _, body = received.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/problem+json" in head
    assert f"X-Request-Id: {told['request_id']}".encode() in head
    assert (told["status"], told["error"]) == (status, "internal" if status == 500 else "invalid_request")
    assert told["detail"] == told["message"]
    assert b"s3cret" not in received


LARGE = 1 << 19
FILLED = 64 * 1024


@pytest.mark.parametrize(
    "begun",
    [
        request("/echo", "POST", "Content-Length: 10\r\n", b"half"),
        request("/echo", "POST", f"Content-Length: {LARGE}\r\n", b"x" * FILLED),
        request("/echo", "POST", "Transfer-Encoding: chunked\r\n", b"10000\r\n" + b"x" * FILLED),
        request("/echo", "POST", "Content-Length: 10\r\nContent-Length: 10\r\n", b"half"),
    ],
    ids=["small", "large", "chunked", "said twice"],
)
def test_clients_that_send_half_a_body_leave_threads_for_the_others(running: Running, begun: bytes) -> None:
    begun_s = time.monotonic()
    socks = [running.client.raw(begun) for _ in range(3 * THREADS)]
    try:
        assert running.client.get("/health").status == 200
        assert running.client.request("POST", "/echo", b"whole", headers={"Content-Type": "text/plain"}).status == 200
        assert time.monotonic() - begun_s < LIMIT_S  # a thread that reads a half body is free after that
    finally:
        for sock in socks:
            sock.close()


def test_large_bodies_are_read_a_few_at_a_time_and_all_answered(running: Running) -> None:
    rest = b"x" * (LARGE - FILLED)
    begun = request("/echo", "POST", f"Content-Length: {LARGE}\r\n", b"x" * FILLED)
    socks = [running.client.raw(begun) for _ in range(2 * THREADS)]
    try:
        for sock in socks:
            threading.Thread(target=sock.sendall, args=(rest,)).start()
        for sock in socks:
            sock.settimeout(10)
            assert f'"bytes":{LARGE}'.encode() in ends_with(sock, b"}\n")
    finally:
        for sock in socks:
            sock.close()


@pytest.fixture(scope="module")
def crowded(start: Start) -> Running:
    return start(max_concurrent_runs=2, max_queued_runs=0, read_timeout_secs=60, idle_timeout_secs=60)


@pytest.mark.parametrize("begun", [b"", request("/health"), request("/close")], ids=["silent", "idle", "unclosed"])
def test_the_connection_that_has_waited_longest_makes_room(crowded: Running, begun: bytes) -> None:
    socks = []
    try:
        for _ in range(CONNECTIONS + 200):
            socks.append(crowded.client.raw(begun))
        crowded.client.get("/health")  # what has come by now has been dealt with
        begun_s = time.monotonic()
        assert crowded.client.get("/health").status == 200
        assert time.monotonic() - begun_s < 1
        socks[0].settimeout(5)
        with suppress(ConnectionResetError):
            while socks[0].recv(1 << 16):
                pass
        assert crowded.client.get("/health").status == 200
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("reuse", [False, True])
def test_what_was_told_of_a_connection_that_has_been_closed_since_is_forgotten(reuse: bool) -> None:
    worker = Worker.__new__(Worker)
    worker.poller = selectors.DefaultSelector()
    pairs = [socket.socketpair() for _ in range(2)]
    called = []

    def close_other(mine: socket.socket) -> None:
        called.append(mine)
        (other,) = [ours for ours, _ in pairs if ours is not mine]
        number = other.fileno()
        worker.poller.unregister(other)
        other.close()
        if reuse:  # a connection that is accepted now gets the same number
            os.dup2(mine.fileno(), number)
            worker.poller.register(number, selectors.EVENT_READ, called.append)

    for ours, theirs in pairs:
        worker.poller.register(ours, selectors.EVENT_READ, close_other)
        theirs.send(b"x")
    with worker.poller:
        worker.wait_for_and_dispatch_events(5)
        assert len(called) == 1
        for key in list(worker.poller.get_map().values()) if reuse else ():
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
    for sock in itertools.chain(*pairs):
        sock.close()


def test_who_asks_how_the_server_is_does_not_wait_behind_others(crowded: Running) -> None:
    """Every thread has a client that takes nothing, and as many wait for one."""
    socks = [crowded.client.raw(request("/endless")) for _ in range(2 * THREADS)]
    try:
        wait_until(lambda: len(select.select(socks, [], [], 0)[0]) == THREADS)
        for method, headers in (("GET", {}), ("GET", {"Connection": "close"}), ("HEAD", {})):
            assert crowded.client.request(method, "/health", headers=headers, timeout_s=20).status == 200
    finally:
        for sock in socks:
            sock.close()


def test_a_few_requests_are_worked_on_at_a_time_and_all_answered(running: Running) -> None:
    with ThreadPoolExecutor(4 * WORKING_THREADS) as pool:
        answers = list(pool.map(lambda _: running.client.get("/work").json(), range(4 * WORKING_THREADS)))
    assert 1 < max(answer["most"] for answer in answers) <= WORKING_THREADS


def test_answers_that_have_begun_do_not_hold_up_other_requests(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(WORKING_THREADS + 2):
            stack.enter_context(running.client.raw(request("/run?secs=60")))
        assert running.client.request("GET", "/work", timeout_s=10).status == 200


def test_requests_that_wait_before_they_answer_do_not_hold_up_others(running: Running) -> None:
    with ThreadPoolExecutor(WORKING_THREADS + 2) as pool:
        held = [pool.submit(running.client.get, "/hold") for _ in range(WORKING_THREADS + 2)]
        assert running.client.request("GET", "/release", timeout_s=20).status == 200
        assert [future.result().json() for future in held] == [{"released": True}] * len(held)


HIDDEN = b"GET /dumpable HTTP/1.1\r\nHost: x\r\n\r\n"
"""What a proxy in front would take for a part of another request."""
CHUNKED = "Transfer-Encoding: chunked\r\n"
LONG = f"Content-Length: {len(HIDDEN) + 5}\r\n"
END = b"0\r\n\r\n"


TWO_WAYS = [
    (f"{LONG}{CHUNKED}", END + HIDDEN),
    (f"{CHUNKED}{LONG}", END + HIDDEN),
    (f"Content-Length: 0\r\n{LONG}", b"x" * 5 + HIDDEN),
    (f"{LONG}Content-Length: 0\r\n", b"x" * 5 + HIDDEN),
    ("Content-Length: +0\r\n", HIDDEN),
    ("Content-Length: -0\r\n", HIDDEN),
    ("Content-Length: 0x0\r\n", HIDDEN),
    ("Content-Length: 0_0\r\n", HIDDEN),
    ("Content-Length: 0, 0\r\n", HIDDEN),
    ("Content-Length: \r\n", HIDDEN),
    ("Content-Length : 0\r\n", HIDDEN),
    (" Content-Length: 0\r\n", HIDDEN),
    (f"Transfer-Encoding : chunked\r\n{LONG}", END + HIDDEN),
    (f"Transfer-Encoding:\x0bchunked\r\n{LONG}", END + HIDDEN),
    (f"Transfer-Encoding: xchunked\r\n{LONG}", END + HIDDEN),
    (f"Transfer-Encoding: chunked, identity\r\n{LONG}", END + HIDDEN),
    (f"Transfer-Encoding: identity, chunked\r\n{LONG}", END + HIDDEN),
    (f"{CHUNKED}{CHUNKED}", END + HIDDEN),
    (f"{CHUNKED}Transfer-Encoding: gzip\r\n", END + HIDDEN),
    (f"{LONG}X: y\r\n {CHUNKED}", END + HIDDEN),
    (f"{LONG}X: y\n{CHUNKED}", END + HIDDEN),
    (f"{LONG}X: y\r{CHUNKED}", END + HIDDEN),
    (f"{LONG}X: y\0{CHUNKED}", END + HIDDEN),
    (f"{LONG}X: \n\n", b"x" * 5 + HIDDEN),
    (CHUNKED, b"0x0\r\n\r\n" + HIDDEN),
    (CHUNKED, b"-0\r\n\r\n" + HIDDEN),
    (CHUNKED, b"+0\r\n\r\n" + HIDDEN),
    (CHUNKED, b"0_0\r\n\r\n" + HIDDEN),
    (CHUNKED, b"0;x=\n\r\n" + HIDDEN),
    (CHUNKED, b"0\n\n" + HIDDEN),
    (CHUNKED, b" 0\r\n\r\n" + HIDDEN),
    (CHUNKED, b"1\r\nxx\r\n" + END + HIDDEN),
    (CHUNKED, b"2\r\nx\r\n0\r\n" + HIDDEN),
    (LONG, b"x" * 5 + HIDDEN),
]
"""Heads and bodies that servers have read in different ways."""


def test_no_request_hides_in_another(running: Running) -> None:
    """What could be read in two ways is refused, and nothing after it on that connection is answered."""
    attempts = [(*way, path) for way in TWO_WAYS for path in ("POST /echo", "GET /health")]
    sent = []
    try:
        for headers, body, target in attempts:
            method, path = target.split()
            sent.append(running.client.raw(request(path, method, headers, body)))
        for sock, attempt in zip(sent, attempts, strict=True):
            _, received = until_closed(sock, 0.0)
            first, *others = re.findall(rb"HTTP/1.1 (\d+) ", received)
            assert b'"dumpable":' not in received, attempt
            assert first in {b"200", b"400", b"408", b"501"}, attempt
            assert others in ([], [b"400"]), attempt
    finally:
        for sock in sent:
            sock.close()


def test_after_a_body_without_an_end_nothing_is_a_request(running: Running) -> None:
    with no_traceback(running):
        with running.client.raw(request("/echo", "POST", CHUNKED, b"nonsense\r\n")) as sock:
            sock.settimeout(10)
            assert b" 400 " in sock.recv(1 << 16)
            with suppress(OSError):
                sock.sendall(HIDDEN)
            _, received = until_closed(sock, 0.0)
        assert b"HTTP/1.1" not in received
        with running.client.raw(request("/echo", "POST", CHUNKED, b"9\r\nhalf")) as sock:
            sock.shutdown(socket.SHUT_WR)
            until_closed(sock, 0.0)


def test_a_header_by_another_spelling_is_none(running: Running) -> None:
    """A proxy that removes X-Forwarded-Proto lets X_Forwarded_Proto pass, which WSGI could not tell apart."""
    headers = {"X_Forwarded_Proto": "https", "Content_Length": "5", "Script_Name": "/x"}
    assert running.client.get("/health", headers=headers).json()["scheme"] == "http"


def shares(server: Server, connections: int) -> list[int]:
    """How many of so many connections, made while nobody looked, each worker has."""
    workers = server.workers()
    for worker in workers:
        worker.suspend()
    with ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(server.client.raw(b""))
        for worker in workers:
            worker.resume()

        def counts() -> list[int]:
            found = [worker.net_connections("tcp") for worker in workers]
            return [sum(one.status == psutil.CONN_ESTABLISHED for one in its) for its in found]

        wait_until(lambda: sum(counts()) == connections)
        return counts()


def test_of_many_connections_at_once_each_worker_gets_its_part(start_server: ServerFactory) -> None:
    server = start_server({"server": {"workers": 2}})
    wait_until(lambda: len(server.workers()) == 2)
    found = [min(shares(server, 16)) for _ in range(11)]
    assert sorted(found)[5] >= 4, found
