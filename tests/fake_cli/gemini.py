"""``gemini -o stream-json``: the whole of stdin is the prompt, which it echoes."""

from __future__ import annotations

import os
import signal

from tests.fake_cli.dialect import Dialect
from tests.fake_cli.script import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SESSION = "3672b761-74fa-4edd-96ae-5fe25e9e16b6"


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
        self.ask(Asked(prompt, model=self.model, system=self.system_prompt()))
        return self.exit_code

    def system_prompt(self) -> str:
        path = os.environ.get("GEMINI_SYSTEM_MD", "")
        if not path:
            return ""
        with open(path, encoding="utf-8") as handle:
            return handle.read()

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
        names = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
        body = f'{{"error":{{"code":{status},"message":"{message}","status":"{names.get(status, "INTERNAL")}"}}}}'
        self.result(status="error", error={"type": "unknown", "message": f"[API Error: {body}]"})
        os.write(2, f"Attempt 1 failed with status {status}. Max attempts reached\n".encode())
        self.exit_code = status % 256
