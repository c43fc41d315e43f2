"""Where the program keeps conversations as gemini, and how: a file of JSON lines for each."""

from __future__ import annotations

import json
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Chat:
    """One conversation in a file of its own."""

    def __init__(self, ident: str, path: str, messages: list[dict[str, Any]]) -> None:
        self.ident = ident
        self.path = path
        self.messages = messages

    @classmethod
    def begin(cls) -> Chat:
        """A new one."""
        ident = new_id()
        os.makedirs(folder(), exist_ok=True)
        chat = cls(ident, os.path.join(folder(), f"session-2026-11-22T21-34-{ident[:8]}.jsonl"), [])
        chat.write({"sessionId": ident, "projectHash": "fake", "kind": "main"})
        return chat

    @classmethod
    def latest(cls, ident: str) -> Chat | None:
        """The one that is kept, by the name that it is asked for; None when nothing has been said in any."""
        names = sorted(os.listdir(folder())) if os.path.isdir(folder()) else []
        for name in names:
            path = os.path.join(folder(), name)
            with open(path, encoding="utf-8") as handle:
                messages = [record for record in map(json.loads, handle) if "id" in record]
            if messages:
                return cls(ident, path, messages)
        return None

    @property
    def turns(self) -> int:
        """How often the user has spoken."""
        return sum(message["type"] == "user" for message in self.messages)

    @property
    def sent(self) -> list[tuple[str, str]]:
        """What the model gets to see of it: who said what, without what was only thought or is empty."""
        return [(message["type"], text) for message in self.messages if (text := text_of(message, thoughts=False))]

    def add(self, kind: str, text: str) -> None:
        """Record what was said."""
        message = {"id": new_id(), "type": kind, "content": [{"text": text}] if kind == "user" else text}
        self.messages.append(message)
        self.write(message)

    def write(self, record: dict[str, Any]) -> None:
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(record) + "\n")


def text_of(message: dict[str, Any], *, thoughts: bool = True) -> str:
    """The text of a message, whose content is a text or a list of parts."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if thoughts or not part.get("thought"))


def home() -> str:
    """The CLI's folder."""
    return os.path.join(os.environ.get("GEMINI_CLI_HOME") or os.environ.get("HOME", "/"), ".gemini")


def folder() -> str:
    """Where the conversations in this working folder are."""
    try:
        with open(os.path.join(home(), "projects.json"), encoding="utf-8") as handle:
            projects = json.load(handle)["projects"]
    except FileNotFoundError:
        projects = {}
    name = re.sub(r"[^a-z0-9]+", "-", os.path.basename(os.getcwd()).lower()).strip("-")
    return os.path.join(home(), "tmp", projects.get(os.getcwd(), name), "chats")


def new_id() -> str:
    """A random UUID."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
