"""Fill the table: every client, with every backend, in every way.

``python -m tests.e2e.clients [--write] [WORDS …]`` prints it, and with ``--write`` puts it into ``docs/clients.md``.
Only cells whose names (``openai (Python) - claude - plain``) have all the words are tried.  Exit code 1 when one fails.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from tests.e2e.clients import table
from tests.e2e.clients.cells import CELLS, Cell, fill
from tests.e2e.clients.field import Field, playing

FAILED = "FAILED"
MOST = 2000
"""So much of a failure is printed."""


def attempt(cell: Cell, field: Field) -> str:
    """What the table shows; the reason of a failure is printed."""
    began_s = time.monotonic()
    try:
        shown = fill(cell, field)
    except AssertionError as error:
        shown = FAILED
        print(f"{cell}: {str(error)[:MOST]}", file=sys.stderr)
    print(f"{time.monotonic() - began_s:6.2f} s  {cell}: {shown}", file=sys.stderr, flush=True)
    return shown


def run(cells: Iterable[Cell]) -> dict[Cell, str]:
    """Try cells, all with one server."""
    with tempfile.TemporaryDirectory(prefix="clinvk-") as top:
        numbers = count()

        def new_folder(name: str) -> Path:
            folder = Path(top) / f"{name}{next(numbers)}"
            folder.mkdir()
            return folder

        with playing(new_folder) as field:
            return {cell: attempt(cell, field) for cell in cells}


def main() -> int:
    """Print the table; 1 when a cell failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"put the results into {table.PAGE.name}")
    parser.add_argument("words", nargs="*", help="only cells whose names have all these words")
    given = parser.parse_args()
    results = run(cell for cell in CELLS if all(word in str(cell) for word in given.words))
    print(table.markdown([line for line in table.rows(results) if any(line[2:])]))
    if given.write:
        table.write(results)
    return int(FAILED in results.values())


if __name__ == "__main__":
    sys.exit(main())
