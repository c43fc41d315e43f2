"""What the fake claude would send to its model."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ModelRequest:
    """How the model is asked, as flags and control requests say, and the conversation so far."""

    def __init__(self, tools: list[str]) -> None:
        self.tools = tools
        self.messages: list[tuple[str, str]] = []
        self._settings: dict[str, Any] = {"env": {}}
        self._thinking_tokens: int | None = None

    def apply(self, settings: dict[str, Any]) -> None:
        """Take settings: each takes the place of the one of its name, the variables as a whole."""
        self._settings.update(settings)

    def limit_thinking(self, tokens: int | None) -> None:
        self._thinking_tokens = tokens

    def variable(self, name: str) -> str:
        """A variable as claude sees it; those of the settings go before those of the process."""
        value: str = self._settings["env"].get(name, os.environ.get(name, ""))
        return value

    @property
    def limit(self) -> int:
        """The most pieces of text that an answer may have; 0 for any number."""
        return int(self.variable("CLAUDE_CODE_MAX_OUTPUT_TOKENS") or 0)

    @property
    def attaches(self) -> bool:
        """Whether files that a text names would be read."""
        return not self.variable("CLAUDE_CODE_DISABLE_ATTACHMENTS")

    def generation(self) -> dict[str, Any]:
        """The fields of the request that say how to sample, as far as they are chosen."""
        fields: dict[str, Any] = {}
        if self.limit:
            fields["max_tokens"] = self.limit
        if self._thinking_tokens is not None:
            fields["thinking"] = self._thinking_tokens
        if effort := self._settings.get("effortLevel"):
            fields["effort"] = effort
        return {**fields, **json.loads(self.variable("CLAUDE_CODE_EXTRA_BODY") or "{}")}
