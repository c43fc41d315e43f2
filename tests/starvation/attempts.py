"""The kinds of clients: each presses for some seconds, and tells what it was answered."""

import gzip
import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from tests.support.client import Client

LASTS_S = 6.0
"""How long each goes on; longer than the read timeout that the server has here."""
KEY = {"X-Api-Key": "the-key-of-the-house"}
PROMPT = "/api/v1/prompt"
BODY_BYTES = 10 * 2**20
"""The largest body that the server takes."""
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: the-key-of-the-house\r\nContent-Type: application/json\r\n"
)

Answers = Counter[str]
"""How often what was answered."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One kind of client.  ``runs`` is how many CLIs may be at work at once because of it."""

    name: str
    press: Callable[[int], Answers]
    runs: int = 0


# ---------------------------------------------------------------------- connections


def hold(port: int, number: int, begun: bytes, drip: bytes = b"") -> Answers:
    """Open connections, send the beginning of something on each, and a byte now and then."""
    answers: Answers = Counter()
    end_s = time.monotonic() + LASTS_S
    with ExitStack() as stack:
        socks = []
        for _ in range(number):
            try:
                socks.append(stack.enter_context(Client(port).raw(begun, timeout_s=5)))
            except OSError as error:
                answers[type(error).__name__] += 1
        while time.monotonic() < end_s:
            for sock in socks if drip else ():
                with suppress(OSError):
                    sock.send(drip, socket.MSG_DONTWAIT)
            time.sleep(0.5)
        for sock in socks:
            answers[_answered(sock)] += 1
    return answers


def _answered(sock: socket.socket) -> str:
    """The status that came on a connection, if any."""
    sock.settimeout(0.01)
    try:
        return sock.recv(12).decode("latin-1")[9:] or "closed"
    except TimeoutError:
        return "open"
    except OSError:
        return "closed"


def half_heads(port: int) -> Answers:
    return hold(port, 500, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", b"y")


def half_bodies(port: int) -> Answers:
    return hold(port, 500, (HEAD.format(path=PROMPT) + "Content-Length: 1000\r\n\r\n{").encode(), b" ")


def half_large_bodies(port: int) -> Answers:
    begun = HEAD.format(path=PROMPT) + f"Content-Length: {BODY_BYTES}\r\n\r\n" + "{" + " " * 100_000
    return hold(port, 200, begun.encode(), b" " * 1000)


def slow_readers(port: int) -> Answers:
    """Ask for a hundred long answers on each connection, and take none."""
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return hold(port, 200, request * 100)


def idle(port: int) -> Answers:
    return hold(port, 4000, b"")


def idle_after_a_request(port: int) -> Answers:
    return hold(port, 2500, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: the-key-of-the-house\r\n\r\n")


# ---------------------------------------------------------------------- requests


def repeat(port: int, clients: int, ask: Callable[[Client, int], int], most: int = 1_000_000) -> Answers:
    """Let so many clients ask one request after the other, ``most`` in all."""
    answers: Answers = Counter()
    end_s = time.monotonic() + LASTS_S
    numbers = iter(range(most))
    lock = threading.Lock()

    def client() -> None:
        while time.monotonic() < end_s or most < 1_000_000:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                answer = str(ask(Client(port), number))
            except (OSError, http.client.HTTPException) as error:
                answer = type(error).__name__
            with lock:
                answers[answer] += 1

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def keys(port: int) -> Answers:
    """Guess ten thousand keys."""
    body = {"backend": "claude", "prompt": "hello"}
    return repeat(
        port, 32, lambda client, number: client.post(PROMPT, body, headers={"X-Api-Key": f"k{number}"}).status, 10_000
    )


def bomb(body: bytes, headers: Mapping[str, str] | None = None, path: str = PROMPT) -> Callable[[int], Answers]:
    """Send a body that is hard to digest, from many clients at once."""
    fields = {**KEY, "Content-Type": "application/json", **(headers or {})}
    return lambda port: repeat(port, 32, lambda client, _: client.request("POST", path, body, headers=fields).status)


def thousand(port: int) -> Answers:
    """A thousand prompts at the same moment."""
    body = {"backend": "claude", "prompt": "hello FAKE:n=2", "ephemeral": True}
    together = threading.Barrier(1000)

    def ask(client: Client, _: int) -> int:
        together.wait(60)
        return client.request("POST", PROMPT, body, headers=KEY, timeout_s=120).status

    return repeat(port, 1000, ask, 1000)


def messages() -> bytes:
    """As many messages as fit below the bound of values."""
    said = [{"role": "user", "content": "x"}] * 24_000
    return json.dumps({"model": "claude/--", "messages": said}).encode()


def attempts(slots: int) -> Iterator[Attempt]:
    """All of them; ``slots`` is how many CLIs the server runs at once."""
    yield Attempt("half heads", half_heads)
    yield Attempt("half bodies", half_bodies)
    yield Attempt("half large bodies", half_large_bodies)
    yield Attempt("slow readers", slow_readers)
    yield Attempt("4,000 idle connections", idle)
    yield Attempt("2,500 kept-alive connections", idle_after_a_request)
    yield Attempt("10,000 keys", keys)
    for name, body in bodies():
        yield Attempt(name, bomb(body))
    yield Attempt("24,000 messages", bomb(messages(), path="/openai/v1/chat/completions"))
    packed = gzip.compress(b'{"backend": "claude", "prompt": "' + b"x" * 100 * BODY_BYTES + b'"}')
    yield Attempt("1 GB, gzipped", bomb(packed, {"Content-Encoding": "gzip"}))
    yield Attempt("1,000 prompts at once", thousand, slots)


def bodies() -> Sequence[tuple[str, bytes]]:
    """JSON that is hard to read."""
    room = BODY_BYTES - 100
    return (
        ("deep JSON", b"[" * room),
        ("wide and deep JSON", b"[" + (b"[" * 60 + b"]" * 60 + b",") * (room // 121) + b"0]"),
        ("5 million numbers", b"[" + b"0," * (room // 2) + b"0]"),
        ("3 million texts", b'["' + b'","' * (room // 3) + b'"]'),
        ("a number of 10 MB", b'{"max_tokens": ' + b"9" * room + b"}"),
        ("a fraction of 10 MB", b'{"max_tokens": 0.' + b"1" * room + b"}"),
        ("10,000 fields", b"{" + b",".join(b'"%d":1' % number for number in range(10_000)) + b"}"),
        ("a field given 99,999 times", b"{" + b",".join([b'"a":1'] * 99_998) + b"}"),
        ("10 MB of no JSON", b'{"prompt": "' + b"\\u0041" * (room // 6)),
    )
