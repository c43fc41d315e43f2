"""Requests that a real nginx and the server might read in two ways."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.app import test_worker as directly
from tests.e2e.nginx import in_front_of
from tests.support.client import Client
from tests.support.server import Server, ServerFactory

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: hidden\r\n\r\n"
"""What nginx lets nobody ask for."""
LONG = f"Content-Length: {len(HIDDEN) + 5}\r\n"
REQUEST = "{} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nX-Request-Id: attempt\r\n{}\r\n"


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    return servers(entry="gunicorn", arguments=("--access-logfile", "-"))


@pytest.mark.parametrize("buffering", [True, False], ids=["whole bodies", "as they come"])
def test_nothing_gets_past_nginx_in_the_body_of_another_request(
    server: Server, tmp_path: Path, buffering: bool
) -> None:
    """Each attempt, and after it a request of somebody else over the same connection to the server."""
    with in_front_of(server.port, tmp_path, buffering=buffering) as client:
        for number, (headers, body) in enumerate(directly.TWO_WAYS):
            for target in ("POST /api/v1/prompt", "GET /health"):
                head = REQUEST.format(target, headers.replace(directly.LONG, LONG)).encode()
                send(client, head + body.removesuffix(directly.HIDDEN) + HIDDEN)
                ident = f"somebody-{number}"
                somebody = client.get("/health", headers={"X-Request-Id": ident})
                assert (somebody.status, somebody.headers["X-Request-Id"]) == (200, ident), (target, headers, body)
        assert client.get("/hidden").status == 403
    assert " attempt\n" in server.log, "the witness: some of them do get there"
    assert "hidden" not in server.log
    assert "Traceback" not in server.log


def send(client: Client, attempt: bytes) -> None:
    """Send it, and take what comes within a moment."""
    with client.raw(attempt, timeout_s=0.2) as sock, suppress(OSError):
        while sock.recv(1 << 16):
            pass
        sock.shutdown(socket.SHUT_RDWR)
