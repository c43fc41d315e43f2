"""A real nginx in front of a server, with all that it has in one temporary folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import trustme

from tests.support.client import Client
from tests.support.guard import ROOT
from tests.support.waiting import free_port, wait_until

PROGRAM = "/usr/sbin/nginx"
HOST = "clinvk.example.com"
"""What clients on other machines call it by.  On this one ``localhost`` reaches it, too."""
FRAME = """
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
    include {folder}/site.conf;
}}
"""
SITE = """
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
"""
"""Everybody's requests go over one connection to the server, but for what is ``/hidden``."""
DEPLOYED = ROOT / "deploy" / "nginx.conf"


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
    listen = free_port()
    (folder / "site.conf").write_text(
        SITE.format(port=port, listen=listen, tls=tls or "", buffering="on" if buffering else "off")
    )
    with _running(folder) as process:
        client = Client(listen)
        wait_until(lambda: _answers(client, process, folder))
        yield client


@dataclass(frozen=True, slots=True)
class Deployed:
    """An nginx with the site that we ship, in front of a port of loopback; ``ca`` is who signed its certificate."""

    process: subprocess.Popen[bytes]
    folder: Path
    tls_port: int
    plain_port: int
    ca: Path

    @property
    def address(self) -> str:
        """Where programs that cannot be told the address of a name find it."""
        return f"https://localhost:{self.tls_port}"

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that serve, those that are about to end among them."""
        return psutil.Process(self.process.pid).children()


@contextmanager
def deployed(port: int, folder: Path) -> Iterator[Deployed]:
    """The site of ``deploy/nginx.conf`` with what a person has to change in it changed, and ports of our own."""
    ca, certificate, key = (folder / name for name in ("ca.pem", "fullchain.pem", "privkey.pem"))
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, "localhost")
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    tls_port, plain_port = free_port(), free_port()
    changes = {
        "/etc/ssl/clinvk/fullchain.pem": str(certificate),
        "/etc/ssl/clinvk/privkey.pem": str(key),
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "listen 443": f"listen 127.0.0.1:{tls_port}",
        "listen [::]:443": f"listen 127.0.0.2:{tls_port}",
        "listen 80": f"listen 127.0.0.1:{plain_port}",
        "listen [::]:80": f"listen 127.0.0.2:{plain_port}",
    }
    text = DEPLOYED.read_text()
    assert f"server_name {HOST};" in text
    for ours, theirs in changes.items():
        assert ours in text
        text = text.replace(ours, theirs)
    (folder / "site.conf").write_text(text)
    with _running(folder) as process:
        plain = Client(plain_port)
        wait_until(lambda: _answers(plain, process, folder, path="/", status=403))
        yield Deployed(process, folder, tls_port, plain_port, ca)


@contextmanager
def _running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """nginx with the site in a folder."""
    if not shutil.which(PROGRAM):
        pytest.fail("nginx is not installed: apt-get install nginx-light", pytrace=False)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(FRAME.format(folder=folder, user=user))
    command = [PROGRAM, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def _answers(
    client: Client, process: subprocess.Popen[bytes], folder: Path, *, path: str = "/health", status: int = 200
) -> bool:
    assert process.poll() is None, (folder / "error.log").read_text()
    with suppress(OSError):
        return client.get(path).status == status
    return False
