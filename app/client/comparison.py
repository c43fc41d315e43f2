"""What a person sees of several runs: on a terminal a line for each while they go on; then what each has said."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.table import Table
from rich.text import Text

from app.client.display import FAILED, FAINT, Event, LivePart, Terminal, spinner, summary
from app.sessions_text import plain

RULE = "──"


@dataclass(slots=True)
class Column:
    """How far one of the backends is."""

    backend: str
    doing: str = "waiting"
    said: int = 0
    ended: str = ""
    failed: bool = False

    @property
    def mark(self) -> Text:
        """What shows how it stands."""
        if not self.ended:
            return Text(spinner())
        return Text("✗", FAILED) if self.failed else Text("✓", "green")


class Comparison:
    """Shows several runs while they go on; a context manager.  :meth:`print` shows what came of them."""

    def __init__(self, terminal: Terminal, backends: Sequence[str], *, quiet: bool = False) -> None:
        self._terminal = terminal
        self._quiet = quiet
        self._columns = [Column(backend) for backend in backends]
        self._began_s = time.monotonic()
        self._live = LivePart(terminal.console, self._table)

    def show(self, event: Event) -> None:
        """Take one event of one of the runs."""
        if "task" not in event:
            return
        column, content = self._columns[event["task"]], event["content"]
        match event["type"]:
            case "message":
                column.said += len(content["text"])
                column.doing = f"{column.said:,} characters"
            case "thinking":
                column.doing = "thinking"
            case "tool_use":
                column.doing = content["tool_name"]
            case "done":
                column.ended = f"{column.said:,} characters in {_seconds(content)}"
            case "error":
                column.ended, column.failed = content["message"], True

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        elapsed = f"{time.monotonic() - self._began_s:.0f} s"
        for column in self._columns:
            doing = plain(column.ended or f"{column.doing} · {elapsed}")
            table.add_row(column.mark, column.backend, Text(doing, FAINT, no_wrap=True, overflow="ellipsis"))
        return table

    def print(self, whole: Mapping[str, Any]) -> None:
        """Print what each has said, in the order in which they were asked."""
        for number, result in enumerate(whole["results"]):
            output = result["output"]
            between = "\n" if number else ""
            end = "" if output.endswith("\n") or not output else "\n"
            self._terminal.say(f"{between}{heading(result)}\n\n{output}{end}")
            if not self._quiet:
                for warning in result["warnings"]:
                    self._terminal.complain(f"{result['backend']}: warning: {warning}")
            if "error" in result:
                self._terminal.complain(f"{result['backend']}: {result['error']}")
            elif not self._quiet and self._terminal.console.is_terminal:
                self._terminal.note(summary(result))

    def __enter__(self) -> Self:
        if self._terminal.is_live and not self._quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def heading(result: Mapping[str, Any]) -> str:
    """The line above an answer."""
    model = f" ({plain(result['model'])})" if result["model"] else ""
    return f"{RULE} {result['backend']}{model} {RULE}"


def _seconds(content: Mapping[str, Any]) -> str:
    return f"{content['duration_ms'] / 1000:.1f} s"
