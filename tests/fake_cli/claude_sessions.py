"""What the fake claude keeps in its home, where the real one does."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def new_id() -> str:
    with open("/proc/sys/kernel/random/uuid", encoding="ascii") as handle:
        return handle.read().strip()


class Session:
    """A conversation of the folder that the program was started in: a line for each question."""

    def __init__(self, ident: str) -> None:
        self.ident = ident
        self.home = os.path.join(os.environ.get("HOME", "/"), ".claude")
        project = "".join(char if char.isascii() and char.isalnum() else "-" for char in os.getcwd())
        self.path = os.path.join(self.home, "projects", project, f"{ident}.jsonl")

    def exists(self) -> bool:
        return os.path.exists(self.path)

    def questions(self) -> list[dict[str, Any]]:
        if not self.exists():
            return []
        with open(self.path, encoding="utf-8") as handle:
            return [json.loads(line) for line in handle]

    def add(self, *questions: dict[str, Any]) -> None:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.writelines(json.dumps(question) + "\n" for question in questions)

    def use_tool(self) -> None:
        """A tool gets a folder for its environment, also when nothing is kept."""
        os.makedirs(os.path.join(self.home, "session-env", self.ident), exist_ok=True)
