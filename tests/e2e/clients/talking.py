"""Asking a client, and what it gave: the same for a program that uses a library and for a command."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.e2e.clients.programs.serving import End, Question
from tests.support.guard import ROOT

PATIENCE_S = 60.0
"""A client that has not answered by then never will."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of an answer and when the client gave it (monotonic seconds)."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the client's user sees it: its class and base classes (none for a command), status and message."""

    classes: tuple[str, ...]
    status: int
    message: str


@dataclass(slots=True)
class Reply:
    """What a client gave.  ``left_s`` is when it went away, if it did."""

    pieces: list[Piece] = field(default_factory=list)
    end: End | None = None
    error: Failure | None = None
    left_s: float = 0.0

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    def add(self, text: str) -> None:
        """Keep a piece that came just now."""
        if text:
            self.pieces.append(Piece(time.monotonic(), text))


class Client(Protocol):
    """A client that can be asked any number of questions, one after the other."""

    def ask(self, question: Question, before_leaving: Callable[[], None]) -> Reply:
        """Everything that it gave; ``before_leaving`` is called in the middle of an answer that is to be left."""

    def close(self) -> None: ...


def nothing() -> None:
    """Nothing is to be done before leaving."""


@contextmanager
def patience(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the client when it takes for ever, so that reading from it ends."""
    timer = threading.Timer(PATIENCE_S, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Program:
    """A program that speaks by lines of JSON, loaded; see :mod:`tests.e2e.clients.programs.serving`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._log = folder / "stderr"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        with patience(self._process):
            assert self._read() == {"ready": True}

    def ask(self, question: Question, before_leaving: Callable[[], None] = nothing) -> Reply:
        reply = Reply()
        with patience(self._process):
            self._write(json.dumps(asdict(question)))
            while reply.end is None and reply.error is None:
                match self._read():
                    case {"said": text}:
                        reply.add(text)
                    case {"waiting": True}:
                        before_leaving()
                        reply.left_s = time.monotonic()
                        self._write("")
                    case {"end": end}:
                        reply.end = End(**end)
                    case {"error": error}:
                        reply.error = Failure(tuple(error["classes"]), error["status"], error["message"])
        return reply

    def _write(self, line: str) -> None:
        self._stdin.write(line.encode() + b"\n")
        self._stdin.flush()

    def _read(self) -> dict[str, Any]:
        line = self._stdout.readline()
        assert line.startswith(b"{"), f"the client said {line!r}\n{self._log.read_text()[-4000:]}"
        value: dict[str, Any] = json.loads(line)
        return value

    def close(self) -> None:
        """Let the program end; kill it when it does not."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
