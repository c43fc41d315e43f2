"""A backend whose CLI is a shell script of the test's, for tests of the engine without a server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from services.backends.base import Backend, Conversation, InRun, Options, Phase, Spawn
from services.descendants import worker_id
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message
from services.planning import Planner
from services.pool import Pool
from services.process import Engine
from services.registry import Registry
from services.runs import Runs
from services.settings import BackendSettings, ServerSettings, UnifiedFlags
from services.shelf import Bounds
from services.slots import Slots


class ScriptConversation(Conversation):
    """Each line is a message; the words INIT, LAST, PATIENCE and GIVE-UP at its start mean what they say."""

    def __init__(self, prompt: str, framing: Literal["lines", "raw"], keep_stdin: bool) -> None:
        super().__init__()
        self.framing = framing
        self._prompt = prompt
        self._keep_stdin = keep_stdin

    def start(self) -> None:
        self.send(self._prompt.encode())
        self.stdin_done = not self._keep_stdin

    def receive(self, line: bytes) -> Sequence[Event]:
        text = line.decode("utf-8", "replace")
        if text.startswith("INIT"):
            return [Init("the-model", text[5:])]
        if text.startswith("LAST"):
            self.phase = Phase.SETTLED
            return []
        if text.startswith("PATIENCE"):
            self.patience_s = float(text[9:])
            return []
        if text.startswith("GIVE-UP"):
            self.phase = Phase.ABANDONED
            return []
        return [Message(text)]

    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        if exit_code == 0 and self.phase is not Phase.ABANDONED:
            return Done()
        return Failed(ErrorCode.BACKEND_FAILED, stderr_tail or f"exit {exit_code}", exit_code or 1)

    def interrupt(self) -> signal.Signals | None:
        return signal.SIGTERM


class ScriptBackend(Backend):
    name = "script"
    owner = "tests"
    executable = "/bin/bash"
    install_hint = "install bash"
    extra_flags: Mapping[str, bool] = {"--name": True, "--loud": False, "--mode": True}
    mode_flags: Mapping[str, Mapping[str, str]] = {"--mode": {"yolo": "none", "ask": "always"}}

    def __init__(
        self,
        script: str = "cat",
        *,
        framing: Literal["lines", "raw"] = "lines",
        keep_stdin: bool = False,
        files: tuple[tuple[str, str], ...] = (),
        variables: tuple[tuple[str, str | InRun], ...] = (),
        leftovers: tuple[str, ...] = (),
        opening: bytes = b"",
        program: str = "/bin/bash",
    ) -> None:
        self.script = script
        self.framing: Literal["lines", "raw"] = framing
        self.keep_stdin = keep_stdin
        self.files = files
        self.variables = variables
        self.leftovers = leftovers
        self.opening = opening
        self.program = program

    def spawn(self, options: Options) -> Spawn:
        return Spawn(
            (self.program, "-c", self.script),
            options.workdir,
            environment=self.variables,
            files=self.files,
            opening=self.opening,
            leftovers=self.leftovers,
        )

    def conversation(self, options: Options, prompt: str) -> Conversation:
        return ScriptConversation(prompt, self.framing, self.keep_stdin)


def script_runs(  # noqa: PLR0917 - as many as a worker is made of
    backend: Backend,
    folder: Path,
    limits: ServerSettings | None = None,
    settings: BackendSettings | None = None,
    environment: Mapping[str, str] | None = None,
    make_pool: Callable[[Engine], Pool] = lambda engine: Pool(engine, Bounds(0, 0.0)),
) -> Runs:
    """The runs of a worker that knows one backend."""
    limits = limits or ServerSettings(max_concurrent_runs=2, max_queued_runs=2)
    planner = Planner({backend.name: backend}, {backend.name: settings or BackendSettings()}, UnifiedFlags(), limits)
    base = {"PATH": "/usr/bin:/bin", "HOME": str(folder)} if environment is None else environment
    slots = Slots(limits.max_concurrent_runs, limits.max_queued_runs)
    environment = {**base, "PATH": base.get("PATH", os.defpath)}
    registry = Registry(folder / "runs", worker_id())
    engine = Engine(folder / "runs")
    pool = make_pool(engine)
    return Runs(planner, engine, slots, limits, environment=environment, registry=registry, pool=pool)
