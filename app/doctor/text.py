"""A report as a person likes to read it, and as JSON."""

import io
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.text import Text

from app.doctor.findings import BackendReport, Finding, Level, Report
from app.sessions_text import plain

MARKS = {Level.GOOD: "✓", Level.NOTE: "·", Level.WARNING: "!", Level.FAULT: "✗"}
PLAIN_MARKS = {Level.GOOD: "+", Level.NOTE: "-", Level.WARNING: "!", Level.FAULT: "x"}
"""For a terminal whose encoding has no others."""
STYLES = {Level.GOOD: "green", Level.NOTE: "dim", Level.WARNING: "yellow", Level.FAULT: "red"}
LABEL_CHARS = 8
LEAST_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Row:
    """One line, or several when it is long: a mark, a label, a text."""

    text: str
    label: str = ""
    level: Level | None = None
    style: str = ""


def show(report: Report, *, as_json: bool) -> None:
    """Print a report on stdout: in colours on a terminal, unless NO_COLOR is set."""
    if as_json:
        print(json.dumps(to_json(report), indent=2, ensure_ascii=False))
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    for line in lines(report, width=console.width if console.is_terminal else 0, marks=_marks(console.encoding)):
        console.print(line, soft_wrap=True)


def to_json(report: Report) -> dict[str, object]:
    """The report for programs."""
    return asdict(report) | {"ready": report.ready, "exit_code": report.exit_code}


def _marks(encoding: str) -> dict[Level, str]:
    try:
        "".join(MARKS.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN_MARKS
    return MARKS


def lines(report: Report, *, width: int, marks: dict[Level, str] = MARKS) -> Iterator[Text]:
    """The report in lines of so many characters; 0: of any length."""
    yield Text(f"clinvk {report.version}, as {report.user} and with the environment of this shell sees it")
    for heading, rows in _sections(report):
        yield Text("")
        yield Text(heading, "bold")
        for row in rows:
            yield from _set(row, width, marks)
    yield Text("")
    yield _conclusion(report)


def _sections(report: Report) -> Iterator[tuple[str, Sequence[Row]]]:
    yield "Configuration", [*_rows(report.configuration)]
    if report.backends:
        yield "Backends", [row for backend in report.backends for row in _of_backend(backend)]
        yield "Folders", [*_rows(report.folders)]
        yield "Server", [*_rows(report.server)]


def _rows(findings: Sequence[Finding]) -> Iterator[Row]:
    for finding in findings:
        yield Row(finding.text, level=finding.level)
        if finding.fix:
            yield Row(finding.fix, "do", style="cyan")


def _of_backend(backend: BackendReport) -> Iterator[Row]:
    worst = max((finding.level for finding in backend.findings), key=list(Level).index, default=Level.GOOD)
    level = worst if backend.program else backend.findings[0].level
    yield Row(
        _headline(backend), backend.name, Level.GOOD if level is Level.NOTE and backend.program else level, "bold"
    )
    if backend.program:
        yield Row(backend.program, "program", style="dim")
    if backend.command:
        yield Row(backend.command, "runs", style="dim")
    for finding in backend.findings:
        if backend.program:
            yield Row(finding.text, MARKS_AS_WORDS[finding.level], style=STYLES[finding.level])
        if finding.fix:
            yield Row(finding.fix, "do", style="cyan")


MARKS_AS_WORDS = {Level.GOOD: "", Level.NOTE: "note", Level.WARNING: "warning", Level.FAULT: "fault"}


def _headline(backend: BackendReport) -> str:
    if not backend.program:
        return backend.findings[0].text
    version = backend.version or "version not known"
    if backend.tested:
        version += " (tested)"
    match backend.logged_in:
        case True:
            return f"{version}, logged in by {backend.login}"
        case False:
            return version
        case _:
            return f"{version}; whether it is logged in cannot be told: {backend.login}".removesuffix(": ")


def _set(row: Row, width: int, marks: dict[Level, str]) -> Iterator[Text]:
    """A row as lines: the text in a column of its own."""
    mark = marks[row.level] if row.level else " "
    label = f"{row.label:<{LABEL_CHARS}} " if row.label else ""
    before = f"  {mark} {label}"
    body = plain(row.text)
    room = max(LEAST_WIDTH, width - len(before)) if width else len(body) + 1
    pieces = textwrap.wrap(body, room, break_on_hyphens=False) or [""]
    first = Text(before, STYLES[row.level] if row.level else row.style)
    yield first.append(pieces[0], row.style if row.style not in ("", "bold") else "")
    for piece in pieces[1:]:
        yield Text(" " * len(before)).append(piece, row.style if row.style != "bold" else "")


def _conclusion(report: Report) -> Text:
    if any(finding.level is Level.FAULT for finding in report.configuration):
        return Text("No server starts with this configuration; the rest depends on it and was not looked at.", "red")
    if not report.ready:
        return Text("No backend can answer yet.", "red")
    names = ", ".join(report.ready)
    if report.exit_code:
        return Text(f"{names} could answer, but what is marked as a fault must be mended first.", "red")
    return Text(f"{names} can answer.", "green")
