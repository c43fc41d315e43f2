"""Where the server is, and the key that it wants: named by hand, or as the server's own configuration says."""

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from app.addresses import bind_address
from app.client.errors import EXIT_USAGE, ClientError
from app.config import load_config
from app.source import first_key, memory_bytes
from services.errors import ClinvkError
from services.settings import Config

UNIX = "unix:"
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a server listens on, not where we go
"""A server that listens everywhere is asked where only this machine can reach it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address; ``socket`` is the path of its unix socket, "" where it has none."""

    url: str
    socket: str = ""

    def __str__(self) -> str:
        return UNIX + self.socket if self.socket else self.url

    @property
    def is_local(self) -> bool:
        """Whether it is surely on this machine."""
        host = urlsplit(self.url).hostname or ""
        if self.socket or host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """The address that a person has named.  Raises ClientError."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX).removeprefix("//")
        if path:
            return Address("http://localhost", str(Path(path).absolute()))
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
        good = good and not parts.username and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        message = f"{text!r} is no address of a server: such are http://127.0.0.1:8080, https://name and unix:/path"
        raise ClientError(message, EXIT_USAGE)
    return Address(text.rstrip("/"))


def listening_address(host: str, port: int) -> Address:
    """The address of a server that listens there."""
    if host.startswith(UNIX):
        return Address("http://localhost", host.removeprefix(UNIX))
    return Address(f"http://{bind_address(ANY_ADDRESS.get(host, host), port)}")


class Surroundings:
    """What the environment, the configuration and the command line say; the configuration is read when needed."""

    def __init__(self, file: Path | None, url: str | None, environ: Mapping[str, str] = os.environ) -> None:
        self._file = file
        self._environ = environ
        self._named = url or environ.get("CLINVK_URL") or ""

    @cached_property
    def config(self) -> Config:
        """The server's configuration.  Raises ConfigError."""
        return load_config(self._file, environ=self._environ, memory_bytes=memory_bytes())

    @cached_property
    def address(self) -> Address:
        """Where the server is.  Raises ClientError and ConfigError."""
        if self._named:
            return parse_address(self._named)
        server = self.config.server
        if not server.port and not server.host.startswith(UNIX):
            message = "the server takes a free port (server.port is 0): name its address by --url or CLINVK_URL"
            raise ClientError(message, EXIT_USAGE)
        return listening_address(server.host, server.port)

    def key(self, read: Callable[[Config], str] = first_key) -> str:
        """The API key to send, "" for none.  Raises ClientError and ConfigError.

        The server's own keys stay on its machine: an address elsewhere gets what CLINVK_API_KEY says, or nothing.
        """
        if own := self._environ.get("CLINVK_API_KEY"):
            return own.strip()
        if self._named and not self.address.is_local:
            return ""
        try:
            return read(self.config)
        except ClinvkError as error:
            raise ClientError(f"{error.message}; CLINVK_API_KEY can give one") from error
