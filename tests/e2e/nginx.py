"""A real nginx in front of a server, with all that it has in one temporary folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.waiting import free_port, wait_until

PROGRAM = "/usr/sbin/nginx"
CONFIGURATION = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream clinvk {{
        server 127.0.0.1:{port};
        keepalive 1;
    }}
    server {{
        listen 127.0.0.1:{listen};
        {tls}
        location / {{
            proxy_pass http://clinvk;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_request_buffering {buffering};
            proxy_buffering off;
        }}
        location /hidden {{
            return 403;
        }}
    }}
}}
"""
"""Everybody's requests go over one connection to the server, but for what is ``/hidden``."""


@dataclass(frozen=True, slots=True)
class Tls:
    """A port that speaks TLS, with a certificate and its key in one file (PEM)."""

    port: int
    certificate: Path

    def __str__(self) -> str:
        """The directives."""
        names = f"ssl_certificate {self.certificate}; ssl_certificate_key {self.certificate};"
        return f"listen 127.0.0.1:{self.port} ssl; {names}"


@contextmanager
def in_front_of(port: int, folder: Path, *, buffering: bool, tls: Tls | None = None) -> Iterator[Client]:
    """An nginx that passes on to a port of loopback, with request bodies whole (``buffering``) or as they come.

    It listens on a port without TLS, which the client is for, and perhaps on one with it.  Fails, never skips, when it
    is not installed.
    """
    if not shutil.which(PROGRAM):
        pytest.fail("nginx is not installed: apt-get install nginx-light", pytrace=False)
    listen = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(
        folder=folder, port=port, listen=listen, tls=tls or "", user=user, buffering="on" if buffering else "off"
    )
    (folder / "nginx.conf").write_text(text)
    command = [PROGRAM, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    client = Client(listen)

    def answers() -> bool:
        assert process.poll() is None, (folder / "error.log").read_text()
        with suppress(OSError):
            return client.get("/health").status == 200
        return False

    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(answers)
            yield client
        finally:
            process.terminate()
