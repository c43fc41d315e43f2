"""A server with the fake CLIs, and ``clinvk`` typed at it."""

import io
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.cli import main
from tests.app.conftest import GUNICORN
from tests.support.guard import clean_environment
from tests.support.server import Server, ServerFactory

CLINVK = GUNICORN.with_name("clinvk")


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Typist:
    """Types ``clinvk …`` where a server is known by CLINVK_URL: in this process, which saves the start of another."""

    folder: Path
    url: str
    capsys: pytest.CaptureFixture[str]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """For a process of its own."""
        return clean_environment(self.folder, "/usr/bin:/bin") | {"CLINVK_URL": self.url} | dict(more or {})

    def __call__(self, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Done:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLINVK_URL", self.url)
            for name, value in (environ or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.chdir(self.folder)
            try:
                code = main(arguments)
            except SystemExit as ended:
                code = int(str(ended.code))
        return Done(code, *self.capsys.readouterr())

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Type it in a process of its own."""
        return subprocess.Popen(
            [str(CLINVK), *arguments], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )


@pytest.fixture(scope="module")
def server(servers: ServerFactory) -> Server:
    """What ``clinvk serve --demo`` starts, with fakes in place of the CLIs."""
    return servers(arguments=("--demo",))


@pytest.fixture
def typed(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Typist:
    return Typist(tmp_path, f"http://127.0.0.1:{server.port}", capsys)
