"""``gemini -o stream-json``: the whole of stdin is the prompt, which it echoes."""

from __future__ import annotations

import json
import os
import signal

from tests.fake_cli.dialect import Dialect
from tests.fake_cli.gemini_chats import home
from tests.fake_cli.script import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SESSION = "3672b761-74fa-4edd-96ae-5fe25e9e16b6"


NAMES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


def settings() -> dict[str, Any]:
    """The settings in the CLI's home."""
    path = os.path.join(home(), "settings.json")
    found: dict[str, Any] = json.loads(read(path)) if os.path.exists(path) else {}
    return found


def generation() -> dict[str, Any]:
    """What the settings say of the requests of a chat, whatever the model."""
    overrides = settings().get("modelConfigs", {}).get("customOverrides", [])
    chosen: dict[str, Any] = {}
    for override in overrides:
        if override["match"] == {"isChatModel": True}:
            chosen.update(override["modelConfig"]["generateContentConfig"])
    return chosen


def extra_body() -> dict[str, Any]:
    """What takes the place of parts of a request."""
    body: dict[str, Any] = generation().get("httpOptions", {}).get("extraBody", {})
    return body


def tools() -> list[str]:
    """The tools that the model is told of."""
    chosen = settings().get("tools", {}).get("core", ["run_shell_command"])
    found: list[str] = extra_body().get("tools", chosen)
    return found


def system_prompt() -> str:
    """The system prompt, and what the settings add to it from files of the CLI's home."""
    if instruction := extra_body().get("systemInstruction"):
        return "".join(part["text"] for part in instruction["parts"])
    if path := os.environ.get("GEMINI_SYSTEM_MD", ""):
        return read(path) + memory()
    return memory()


def memory() -> str:
    """The files that ``context.fileName`` of the settings names, as far as they are there."""
    names = settings().get("context", {}).get("fileName", [])
    paths = (os.path.join(home(), name) for name in ([names] if isinstance(names, str) else names))
    return "".join(read(path) for path in paths if os.path.exists(path))


def read(path: str) -> str:
    with open(path, encoding="utf-8") as handle:
        return handle.read()


def error_body(status: int, message: str) -> str:
    """The provider's own words for a failure, which the CLI passes on."""
    return json.dumps({"error": {"code": status, "message": message, "status": NAMES.get(status, "INTERNAL")}})


class Gemini(Dialect):
    """Answers once, after the end of stdin; ends with exit code 0 when it is killed."""

    version = "0.61.0"
    signal_exits: Mapping[int, int] = {signal.SIGTERM: 0, signal.SIGINT: 0}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.exit_code = 0
        self.model = self.option("-m", "--model") or "gemini-fake"

    def run(self) -> int:
        prompt = self.terminal.everything().decode().removeprefix("\n")
        if not prompt.strip():
            os.write(2, b"No input provided via stdin.\n")
            return 42
        self.ask(Asked(prompt, model=self.model, system=system_prompt()))
        return self.exit_code

    # -- what is printed

    def emit(self, kind: str, **fields: Any) -> None:
        self.terminal.json({"type": kind, "timestamp": "2026-11-22T17:48:51.278Z", **fields})

    def begin(self, asked: Asked) -> None:
        self.emit("init", session_id=self.option("--session-id") or SESSION, model=self.model)
        self.emit("message", role="user", content=asked.prompt)

    def text(self, text: str) -> None:
        self.emit("message", role="assistant", content=text, delta=True)

    def tool_use(self, tool_id: str, command: str) -> None:
        self.emit("tool_use", tool_name="run_shell_command", tool_id=tool_id, parameters={"command": command})

    def tool_result(self, tool_id: str, command: str, output: str, code: int) -> None:
        status = (
            {"status": "success"} if code == 0 else {"status": "error", "error": {"type": "x", "message": "failed"}}
        )
        self.emit("tool_result", tool_id=tool_id, output=output.strip(), **status)

    def result(self, **fields: Any) -> None:
        used = {"total_tokens": 17, "input_tokens": 5, "output_tokens": 9, "cached": 2, "input": 3}
        self.emit("result", **fields, stats={**used, "duration_ms": 10, "tool_calls": 0, "models": {self.model: used}})

    def finish(self) -> None:
        self.result(status="success")

    def fail(self, status: int, message: str) -> None:
        error = {"type": "unknown", "message": f"[API Error: {error_body(status, message)}]"}
        self.result(status="error", error=error)
        os.write(2, f"Attempt 1 failed with status {status}. Max attempts reached\n".encode())
        self.exit_code = status % 256
