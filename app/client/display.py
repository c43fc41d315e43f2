"""What a person sees of one run: plain text on a pipe, more on a terminal.

The answer alone goes to stdout.  Only where stdout and stderr are both a terminal there is a live line below it, and
what clients and models wrote is shown without its control characters, which could do anything to a terminal.
"""

import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from app.sessions_text import cost, plain

Event = Mapping[str, Any]

REFRESHES_PER_S = 8
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
KEPT = "\n\t"
"""Control characters that are harmless in an answer."""
FAILED = "red"
FAINT = "dim"


class Terminal:
    """Where a command prints: the answer to ``out``, all else to stderr by ``console``."""

    def __init__(self, out: TextIO, console: Console) -> None:
        self.out = out
        self.console = console

    @classmethod
    def own(cls) -> Self:
        """That of this process."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # an answer may have characters that the encoding lacks
        return cls(sys.stdout, Console(stderr=True, highlight=False))

    @property
    def is_live(self) -> bool:
        """Whether somebody looks on, at both streams."""
        return self.out.isatty() and self.console.is_terminal

    def say(self, text: str) -> None:
        """Print a piece of the answer, at once."""
        self.out.write(harmless(text) if self.out.isatty() else text)
        self.out.flush()

    def note(self, text: str, style: str = FAINT) -> None:
        """Print a line beside the answer."""
        self.console.print(Text(harmless(text), style), soft_wrap=True)

    def complain(self, text: str) -> None:
        """Say what went wrong."""
        self.note(f"clinvk: {text}", "")

    def print_json(self, value: object) -> None:
        """Print a value as JSON."""
        self.say(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class LivePart:
    """Lines at the end of the screen that change, and can be taken away and shown again."""

    def __init__(self, console: Console, render: Callable[[], RenderableType]) -> None:
        self._console = console
        self._render = render
        self._live: Live | None = None

    def start(self) -> None:
        """Show it from now on, where it is not shown yet."""
        if self._live is None:
            # a new one each time: a Live that is started again clears lines that are no longer its own
            self._live = Live(
                get_renderable=self._render,
                console=self._console,
                transient=True,
                refresh_per_second=REFRESHES_PER_S,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)

    def stop(self) -> None:
        """Take it away.  Idempotent."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class Display:
    """Shows the events of a run.  This one prints the answer, and complains; a context manager."""

    def __init__(self, terminal: Terminal, *, quiet: bool = False) -> None:
        self._terminal = terminal
        self._quiet = quiet
        self._last = "\n"
        """The last character that was printed."""

    def show(self, event: Event) -> None:
        """Show one event."""
        content = event["content"]
        match event["type"]:
            case "message":
                self._say(content["text"])
            case "done" | "error":
                self._end(event, content)

    def _say(self, text: str) -> None:
        if text:
            self._terminal.say(text)
            self._last = text[-1]

    def _end_line(self) -> None:
        if self._last != "\n":
            self._say("\n")

    def _end(self, event: Event, content: Mapping[str, Any]) -> None:
        self._end_line()
        if not self._quiet:
            for warning in content.get("warnings", ()):
                self._terminal.complain(f"warning: {warning}")
        if event["type"] == "error":
            self._terminal.complain(content["message"])
        if not self._quiet and self._terminal.console.is_terminal:
            self._terminal.note(summary(content, event.get("session_id", "")))

    def close(self) -> None:
        """Show no more.  Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RawDisplay(Display):
    """Prints the events themselves."""

    def show(self, event: Event) -> None:
        """Print one event as a line of JSON."""
        self._terminal.say(json.dumps(event, ensure_ascii=False) + "\n")


class LiveDisplay(Display):
    """Shows in a line below the answer what the backend does while it says nothing, and which tools it uses.

    The line is there only while the answer stands at the beginning of a line: both are on the same screen.
    """

    def __init__(self, terminal: Terminal, backend: str) -> None:
        super().__init__(terminal)
        self._backend = backend
        self._began_s = time.monotonic()
        self._doing = "waiting"
        self._thought = ""
        self._interrupted = False
        """Whether something else was printed since the last piece of the answer."""
        self._live = LivePart(terminal.console, self._line)
        self._live.start()

    def show(self, event: Event) -> None:
        """Show one event."""
        content = event["content"]
        match event["type"]:
            case "init" if content["model"]:
                self._backend = f"{event['backend']} ({content['model']})"
            case "thinking":
                self._thought = (self._thought + content["text"])[-1000:]
                self._await("thinking")
            case "tool_use":
                self._beside(f"• {content['tool_name']} {_brief(content['input'])}", FAINT)
                self._await(content["tool_name"])
            case "tool_result":
                if content["is_error"]:
                    self._beside(f"  ✗ {plain(content['output'])}", FAILED)
                self._await("working")
            case "progress":
                self._doing = content["message"]
            case _:
                super().show(event)

    def _say(self, text: str) -> None:
        if self._interrupted:
            text = text.lstrip("\n")  # the blank line between two messages
        if not text:
            return
        self._live.stop()
        self._interrupted = False
        super()._say(text)

    def _end(self, event: Event, content: Mapping[str, Any]) -> None:
        self._live.stop()
        super()._end(event, content)

    def _beside(self, text: str, style: str) -> None:
        """Print one line that is not of the answer, cut to the width of the screen."""
        self._live.stop()
        self._end_line()
        line = Text(plain(text), style, no_wrap=True, overflow="ellipsis")
        self._terminal.console.print(line)
        self._interrupted = True

    def _await(self, doing: str) -> None:
        """Show the live line, when there is room for it."""
        if doing != "thinking":
            self._thought = ""
        self._doing = doing
        if self._last != "\n":
            self._end_line()
            self._interrupted = True
        self._live.start()

    def _line(self) -> Text:
        """What is going on, in one line."""
        elapsed = f"{time.monotonic() - self._began_s:.0f} s"
        thought = f"  {plain(self._thought).strip()[-60:]}" if self._thought else ""
        line = Text.assemble(spinner(), (f" {self._backend} · {plain(self._doing)} · {elapsed}{thought}", FAINT))
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def close(self) -> None:
        """Take the live line away, also when the answer was broken off."""
        self._live.stop()
        self._end_line()


def spinner() -> str:
    """What turns while something goes on."""
    return SPINNER[int(time.monotonic() * REFRESHES_PER_S) % len(SPINNER)]


def display_for(terminal: Terminal, backend: str, *, quiet: bool, raw: bool) -> AbstractContextManager[Display]:
    """The display that suits the terminal and what was asked for."""
    if raw:
        return RawDisplay(terminal)
    if terminal.is_live and not quiet:
        return LiveDisplay(terminal, backend)
    return Display(terminal, quiet=quiet)


def harmless(text: str) -> str:
    """The text without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in KEPT else "\ufffd" for char in text)


def summary(content: Mapping[str, Any], session_id: str = "") -> str:
    """What a run has taken: session, tokens, money, time."""
    usage = content.get("token_usage", {})
    cached = f" ({usage['cached_tokens']:,} cached)" if usage.get("cached_tokens") else ""
    told = [
        f"session {session_id}" if session_id else "",
        f"{usage.get('input_tokens', 0):,} tokens in{cached}, {usage.get('output_tokens', 0):,} out",
        cost(content["cost_usd"]) if content.get("cost_usd") else "",
        f"{content.get('duration_ms', 0) / 1000:.1f} s",
    ]
    return " · ".join(filter(None, told))


def _brief(arguments: object) -> str:
    """A tool's arguments in one line: the value alone where there is one."""
    if isinstance(arguments, dict) and len(arguments) == 1:
        value = next(iter(arguments.values()))
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(arguments, ensure_ascii=False)
