"""Any other command line: text, or lines of JSON with ``--jsonl``."""

from __future__ import annotations

from tests.fake_cli.dialect import Dialect
from tests.fake_cli.script import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Plain(Dialect):
    """The prompt comes on stdin, after ``--prompt`` or in the file named after ``--file``."""

    version = "fake-cli 1.2.3"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.jsonl = "--jsonl" in self.arguments
        self.exit_code = 0

    def run(self) -> int:
        prompt = self.option("--prompt")
        if path := self.option("--file"):
            with open(path, encoding="utf-8", newline="") as handle:
                prompt = handle.read()
        prompt = prompt or self.terminal.everything().decode()
        self.ask(Asked(prompt, model=self.option("--model") or "plain-fake", system=self.option("--system")))
        return self.exit_code

    def begin(self, asked: Asked) -> None:
        if self.jsonl:
            self.terminal.json({"type": "start", "session": {"id": "plain-session"}})

    def text(self, text: str) -> None:
        if self.jsonl:
            self.terminal.json({"type": "text", "part": {"text": text}})
        else:
            self.terminal.write(text.encode())

    def finish(self) -> None:
        if self.jsonl:
            self.terminal.json({"type": "end", "usage": {"input": 5, "output": 9, "cached": 2}})

    def fail(self, status: int, message: str) -> None:
        self.exit_code = 1
        if self.jsonl:
            self.terminal.json({"type": "failure", "error": {"message": f"{status} {message}"}})
        else:
            self.terminal.write(f"Error: {status} {message}\n".encode())
