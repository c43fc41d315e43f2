"""What the installed program runs."""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.fake_cli.claude import Claude
from tests.fake_cli.codex import Codex
from tests.fake_cli.dialect import Dialect
from tests.fake_cli.gemini import Gemini
from tests.fake_cli.gemini_acp import GeminiAcp
from tests.fake_cli.plain import Plain
from tests.fake_cli.terminal import Terminal
from tests.support.words import Words

DIALECTS: dict[str, type[Dialect]] = {"claude": Claude, "codex": Codex, "gemini": Gemini, "gemini --acp": GeminiAcp}
"""By the CLI, or by the CLI and its first argument."""


def main(name: str, dialect: str, diary: str, always: str) -> None:
    """Be the CLI of that name; ends the process."""
    terminal = Terminal(diary)
    kind = DIALECTS.get(" ".join([dialect, *sys.argv[1:2]]), DIALECTS.get(dialect, Plain))
    if "--version" in sys.argv[1:]:
        terminal.note("version", name=name)
        terminal.write(kind.version.encode() + b"\n")
        code = 0
    else:
        code = talk(kind(name, terminal, sys.argv[1:], always), Words(always))
    try:
        terminal.flush()
    except BrokenPipeError:
        code = 141
    terminal.note("end", code=code)
    os._exit(code)


def talk(dialect: Dialect, always: Words) -> int:
    terminal = dialect.terminal
    marker = os.environ.get("CLINVK_RUN_ID", "")
    about = {"name": dialect.name, "argv": sys.argv, "cwd": os.getcwd(), "run_id": marker}
    terminal.note("start", ppid=os.getppid(), env=sorted(os.environ), **about)
    for number, code in dialect.signal_exits.items():
        signal.signal(number, lambda got, _, code=code: leave(terminal, got, code))  # type: ignore[misc]
    time.sleep(always.number("startdelay"))
    if always.has("startexit"):
        return int(always.number("startexit"))
    try:
        return dialect.run()
    except SystemExit as end:
        return int(end.code or 0)
    except BrokenPipeError:
        return 141


def leave(terminal: Terminal, number: int, code: int) -> None:
    terminal.note("signal", number=number)
    os._exit(code)
