"""What a person types into a shell, typed."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.client import Client
from tests.support.waiting import wait_until

STRICT = ("bash", "-euo", "pipefail", "-c")
"""Ends at the first command that fails."""


def typed(
    command: str, environment: Mapping[str, str], folder: Path, *, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """What the command came to, in this folder and with nothing to read."""
    return subprocess.run(
        [*STRICT, command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def printed(command: str, environment: Mapping[str, str], folder: Path) -> str:
    """What the command prints; AssertionError with its complaints when it fails."""
    done = typed(command, environment, folder)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def serving(
    command: str, environment: Mapping[str, str], folder: Path, port: int, *, exit_code: int = 0
) -> Iterator[Client]:
    """A client of the server that the command starts there; in the end it is told to stop, and exits with that code."""
    path = folder / "serving.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [*STRICT, f"exec {command}"], cwd=folder, env=dict(environment), stdout=log, stderr=log
        )

    def answers() -> bool:
        assert process.poll() is None, path.read_text()
        with suppress(OSError):
            return Client(port).get("/health").status == 200
        return False

    try:
        wait_until(answers, 30, f"no answer to {command}")
        yield Client(port)
    finally:
        process.terminate()
        try:
            ended = process.wait(30)
        finally:
            process.kill()  # harmless when it has ended
        assert ended == exit_code, path.read_text()
