"""What the protocols have in common."""

from __future__ import annotations

import time

from tests.fake_cli.script import Asked, perform
from tests.fake_cli.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Dialect:
    """One CLI's protocol: takes questions from stdin and has words for what happens."""

    version = ""
    signal_exits: Mapping[int, int] = {}
    """Exit codes of the CLI that handles a signal itself."""

    def __init__(self, name: str, terminal: Terminal, arguments: list[str], always: str) -> None:
        self.name = name
        self.terminal = terminal
        self.arguments = arguments
        self.always = always
        self.deaf = False
        self.interrupted = False

    def run(self) -> int:
        """Answer until there is nothing more to answer; the exit code."""
        raise NotImplementedError

    def ask(self, asked: Asked) -> None:
        """Answer one question."""
        self.interrupted = False
        perform(self, asked, self.always)
        self.terminal.flush()

    def rest(self, seconds: float) -> bool:
        """Wait so long, listening meanwhile; True when the client has interrupted the answer."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            arrived = self.terminal.wait(max(0.0, left))
            if self.terminal.eof:
                self.hear_end()
            while arrived and (line := self.terminal.line(block=False)) is not None:
                self.hear(line)
            if self.interrupted and not self.deaf:
                self.stopped()
                return True
            if left <= 0 and not arrived:
                return False

    def option(self, *names: str) -> str:
        """The value of a flag, ``--flag value`` or ``--flag=value``; "" when it is not given."""
        for place, argument in enumerate(self.arguments):
            if argument in names:
                return "".join(self.arguments[place + 1 : place + 2])
            flag, _, value = argument.partition("=")
            if flag in names:
                return value
        return ""

    def hear(self, line: bytes) -> None:
        """Take a line that came during an answer."""

    def hear_end(self) -> None:
        """Stdin ended during an answer."""

    def begin(self, asked: Asked) -> None:
        """The model has been asked."""

    def thinking(self, text: str) -> None:
        """A piece of reasoning."""

    def text(self, text: str) -> None:
        """A piece of the answer."""

    def tool_use(self, tool_id: str, command: str) -> None:
        """The tool runs."""

    def tool_result(self, tool_id: str, command: str, output: str, code: int) -> None:
        """The tool has ended."""

    def approval(self, command: str) -> str:
        """Ask the client whether a command may run; its decision."""
        return "not-asked"

    def finish(self) -> None:
        """The answer is complete."""

    def fail(self, status: int, message: str) -> None:
        """The provider has refused."""

    def stopped(self) -> None:
        """The answer was interrupted."""
