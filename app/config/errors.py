"""What is wrong with a configuration, told so that it can be mended without reading code."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from services.errors import Problem

EXIT_CONFIG = 2
"""The exit code of a program whose configuration is at fault."""


class ConfigError(Exception):
    """A configuration that cannot be used.

    ``problems`` names every key at fault (its location is "" where it is the file as a whole); ``source`` is the file
    that was read, "" when there was none.
    """

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [f"{problem.location}: {problem.message}".removeprefix(": ") for problem in self.problems]
        where = f" in {self.source}" if self.source else ""
        if len(lines) == 1:
            return f"configuration error{where}: {lines[0]}"
        return "\n".join([f"{len(lines)} configuration errors{where}:", *(f"  {line}" for line in lines)])


def refuse(message: str) -> NoReturn:
    """Say why there will be no server, and end."""
    print(f"clinvk: {message}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_CONFIG)
