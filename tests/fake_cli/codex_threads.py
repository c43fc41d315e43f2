"""The threads of the program as codex, and where it keeps them."""

from __future__ import annotations

import json
import os

from tests.fake_cli.codex_settings import home, memory, tools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODES = {"approvalPolicy": "on-request", "sandbox": "read-only"}
SANDBOX_TYPES = {
    "read-only": "readOnly",
    "workspace-write": "workspaceWrite",
    "danger-full-access": "dangerFullAccess",
}
LAST = {"totalTokens": 14, "inputTokens": 5, "cachedInputTokens": 2, "outputTokens": 9, "reasoningOutputTokens": 3}


class Thread:
    """One thread; unless it is ephemeral it is kept from its first turn on, as it was last opened."""

    def __init__(self, kept: dict[str, Any]) -> None:
        self.kept = kept
        self.tools: list[str] = []
        self.ident: str = kept["id"]

    @classmethod
    def start(cls, params: dict[str, Any], folder: str) -> Thread:
        fresh = {"id": _new_id(), "model": "codex-fake", "cwd": folder, "turns": 0, "responses": 0, "base": "", **MODES}
        fresh |= {"instructions": memory(), "said": []}
        fresh["ephemeral"] = bool(params.get("ephemeral"))
        fresh["developer"] = params.get("developerInstructions") or ""
        thread = cls(fresh)
        thread.open(params)
        return thread

    @classmethod
    def find(cls, ident: str) -> Thread | None:
        """The thread that is kept under this id."""
        try:
            with open(_path(ident), encoding="utf-8") as handle:
                return cls(json.load(handle))
        except FileNotFoundError:
            return None

    def open(self, params: dict[str, Any]) -> None:
        """Take over what is named, and leave the rest as it was.  Raises ConfigError."""
        self.tools = tools(params.get("config") or {})
        names = {"model": "model", "cwd": "cwd", "approvalPolicy": "approvalPolicy", "baseInstructions": "base"}
        for name, mine in names.items():
            self.kept[mine] = params.get(name) or self.kept[mine]
        self.kept["sandbox"] = (
            params.get("sandbox") or params.get("permissions", "").lstrip(":") or self.kept["sandbox"]
        )

    def reopen(self, params: dict[str, Any]) -> Thread:
        """The same, opened once more."""
        self.open(params)
        return self

    def copy(self, params: dict[str, Any]) -> Thread:
        """Another thread with the same history; the model is the default one's."""
        said = [*self.kept["said"]]
        copied = Thread({**self.kept, "id": _new_id(), "model": "codex-fake", "said": said})
        copied.open(params)
        return copied

    def save(self) -> None:
        if self.kept["ephemeral"]:
            return
        os.makedirs(_folder(), exist_ok=True)
        with open(_path(self.ident), "w", encoding="utf-8") as handle:
            json.dump(self.kept, handle)

    def delete(self) -> None:
        os.unlink(_path(self.ident))

    def add(self, role: str, text: str) -> None:
        """Put a message into it."""
        if role == "developer":
            self.kept["developer"] += text
        else:
            self.kept["said"].append([role, text])

    @property
    def asked(self) -> list[str]:
        """The messages of the user's."""
        return [text for role, text in self.kept["said"] if role == "user"]

    @property
    def sent(self) -> list[list[str]]:
        """What the model gets to see of it: who said what."""
        instructions = self.kept["instructions"]
        return [*([["user", instructions]] if instructions else []), *self.kept["said"]]

    @property
    def system(self) -> str:
        """What the model is told beside the prompt."""
        return str(self.kept["base"] + self.kept["developer"])

    def opened(self) -> dict[str, Any]:
        """What codex answers when it has opened the thread."""
        sandbox = self.kept["sandbox"]
        return {
            "thread": self.about(),
            "modelProvider": "fake",
            "model": self.kept["model"],
            "cwd": self.kept["cwd"],
            "approvalPolicy": self.kept["approvalPolicy"],
            "sandbox": {"type": SANDBOX_TYPES[sandbox]},
            "activePermissionProfile": {"id": f":{sandbox}"} if sandbox == MODES["sandbox"] else None,
        }

    def about(self) -> dict[str, Any]:
        return {"id": self.ident, "ephemeral": self.kept["ephemeral"], "model": self.kept["model"], "turns": []}

    def used(self) -> dict[str, Any]:
        """The tokens of one more response, and of all the thread's together."""
        self.kept["responses"] += 1
        total = {name: count * self.kept["responses"] for name, count in LAST.items()}
        return {"total": total, "last": LAST, "modelContextWindow": 258400}


def _new_id() -> str:
    digits = os.urandom(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _folder() -> str:
    return os.path.join(home(), "sessions")


def _path(ident: str) -> str:
    return os.path.join(_folder(), f"rollout-{ident.replace('/', '_')}.jsonl")
