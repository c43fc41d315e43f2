"""What a client makes of a server's answers, also of one that is no server of ours."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from app.client.address import Address
from app.client.connection import Connection
from app.client.errors import ClientError, exit_code_of
from tests.app.client.conftest import Typist
from tests.fake_cli.install import seen
from tests.support.server import ServerFactory
from tests.support.waiting import wait_until

STREAM = {"Content_Type": "application/x-ndjson"}


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[Address]:
    """A server that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield Address(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


def refused(address: Address) -> ClientError:
    with pytest.raises(ClientError) as told, Connection(address) as server:
        list(server.stream("/api/v1/prompt", {"prompt": "x"}))
    return told.value


def test_lines_end_at_newlines_only() -> None:
    text = "a\u2028b\x85c\x0bd"
    body = f'{{"type":"message","content":{{"text":"{text}"}}}}\n{{"type":"done","content":{{}}}}\n'.replace(
        "\x0b", "\\u000b"
    )
    with answering(200, body.encode(), **STREAM) as address, Connection(address) as server:
        first, last = server.stream("/api/v1/prompt", {})
    assert (first["content"]["text"], last["type"]) == (text, "done")


def test_an_answer_that_breaks_off() -> None:
    with answering(200, b'{"type":"message","content":{"text":"x"}}\n', **STREAM) as address:
        assert "broke the answer off" in refused(address).message


def test_an_answer_that_is_cut_off() -> None:
    with answering(200, b'{"type":"mess', Content_Length="1000", **STREAM) as address:
        assert "broke off" in refused(address).message


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (404, b"<html>"), (500, b"{}"), (200, b"[1]\n")])
def test_one_that_is_no_server_of_ours(status: int, body: bytes) -> None:
    with answering(status, body) as address:
        error = refused(address)
    assert (error.message, error.exit_code) == (f"what answers at {address} is no clinvk server", 3)


@pytest.mark.parametrize(
    ("status", "body", "headers", "told", "code"),
    [
        (401, b'{"detail": "a key is needed"}', {}, "a key is needed (set CLINVK_API_KEY)", 1),
        (429, b'{"detail": "too many"}', {"Retry_After": "7"}, "too many (try again in 7 s)", 1),
        (502, b'{"detail": "it failed", "request_id": "r1", "exit_code": 9}', {}, "it failed [request r1]", 9),
        (502, b'{"detail": "it failed", "request_id": "r1", "exit_code": -1}', {}, "it failed [request r1]", 1),
    ],
)
def test_a_refusal(status: int, body: bytes, headers: dict[str, str], told: str, code: int) -> None:
    with answering(status, body, **headers) as address:
        error = refused(address)
    assert (error.message, error.exit_code) == (told, code)


def test_what_is_no_text_is_not_sent() -> None:
    with pytest.raises(ClientError, match="not UTF-8"), Connection(Address("http://127.0.0.1:1")) as server:
        server.post("/api/v1/prompt", {"prompt": "\udcff"})


def test_exit_codes() -> None:
    assert [exit_code_of(code) for code in (-9, -1, 0, 1, 125, 126, 255)] == [1, 1, 1, 1, 125, 1, 1]


def test_a_unix_socket_and_a_key(
    start_server: ServerFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = tmp_path / "s"
    server = start_server({"server": {"host": f"unix:{socket}"}}, environment={"CLINVK_API_KEYS": "k1,k2"}, wait=False)
    typed = Typist(tmp_path, f"unix:{socket}", capsys)
    wait_until(lambda: typed("prompt", "-b", "claude", "x").code != 3, 30, server.log)
    done = typed("prompt", "-b", "claude", "x")
    assert (done.code, "an API key is needed" in done.err, "set CLINVK_API_KEY" in done.err) == (1, True, True)
    assert seen(typed("prompt", "-b", "claude", "x", environ={"CLINVK_API_KEY": "k2"}).out)["chars"] == "1"
    assert seen(typed("prompt", "-b", "claude", "x", environ={"CLINVK_API_KEYS": "k1"}).out)["chars"] == "1"
