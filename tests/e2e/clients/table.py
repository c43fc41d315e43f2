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


def write(table: str, page: Path = PAGE) -> None:
    """Put a table into its place on the page."""
    page.write_text(PLACE.sub(lambda _: table, page.read_text()))
