"""The words in a prompt by which a test tells the fake CLI or the fake model server what to do."""

from __future__ import annotations

import re

WORD = re.compile(r'FAKE:([\w-]+)(?:=("[^"]*"|\S+))?')


class Words:
    """``FAKE:name`` and ``FAKE:name=value`` (or ``="value with blanks"``), wherever they stand in a text."""

    def __init__(self, text: str) -> None:
        self.names = {name: (value or "").strip('"') for name, value in WORD.findall(text)}

    def has(self, name: str) -> bool:
        return name in self.names

    def text(self, name: str, default: str = "") -> str:
        return self.names.get(name, "") or default

    def number(self, name: str, default: float = 0) -> float:
        return float(self.names.get(name, "") or default)

    def status(self) -> int:
        """The provider's failure that is asked for, 0 for none."""
        return next((int(name) for name in self.names if name.isdigit()), 0)
