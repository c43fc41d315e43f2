"""Waiting for something to become true, and finding a free port."""

import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(check: Callable[[], T], timeout_s: float = 10.0, what: str = "", *, every_s: float = 0.01) -> T:
    """Call ``check`` until it returns something true, and return that; AssertionError after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not (result := check()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or check}"
        time.sleep(every_s)
    return result


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, below those that the kernel gives to clients."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
