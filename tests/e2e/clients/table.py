"""The table of results, as it stands in ``docs/clients.md``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.clients.cells import KINDS, Cell
from tests.e2e.clients.roster import ENTRIES
from tests.support.guard import ROOT

PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- printed by python -m tests.e2e.clients -->", "<!-- end of the table -->"
HEAD = ("client", "backend", *KINDS)
PLACE = re.compile(f"(?<={BEGIN}\n\n).*?(?=\n\n{END})", re.DOTALL)


def rows(results: Mapping[Cell, str]) -> list[tuple[str, ...]]:
    """The lines of the table: a client with a backend, and what came of each kind ("" where it was not tried)."""
    return [
        (entry.name, backend.name, *(results.get(Cell(entry, backend, kind), "") for kind in KINDS))
        for entry in ENTRIES
        for backend in entry.backends
    ]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table for a page."""
    rule = ["---"] * len(HEAD)
    return "\n".join(f"| {' | '.join(line)} |" for line in (HEAD, rule, *lines))


def parsed(page: str) -> list[tuple[str, ...]]:
    """The lines of the page's table, its head first."""
    found = PLACE.search(page)
    assert found is not None, "the page has no place for the table"
    head, _, *lines = (tuple(cell.strip() for cell in line.strip("| ").split(" | ")) for line in found[0].splitlines())
    return [head, *lines]


def write(results: Mapping[Cell, str], page: Path = PAGE) -> None:
    """Put the results into their places on the page; what was not tried stays as it was."""
    text = page.read_text()
    before = {line[:2]: line for line in parsed(text)[1:]}
    lines = [merged(line, before.get(line[:2], line)) for line in rows(results)]
    page.write_text(PLACE.sub(lambda _: markdown(lines), text))


def merged(line: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """A line, with what stood there before in its empty cells."""
    return tuple(new or old for new, old in zip(line, before, strict=True))
