"""``docs/clients.md`` holds the table that ``python -m tests.e2e.clients`` prints."""

from pathlib import Path

from tests.e2e.clients import table
from tests.e2e.clients.cells import CELLS


def test_the_page_has_every_row_and_column_and_no_empty_cell() -> None:
    head, *lines = table.parsed(table.PAGE.read_text())

    assert head == table.HEAD
    assert [line[:2] for line in lines] == [row[:2] for row in table.rows({})]
    assert all(all(line) and "FAILED" not in line for line in lines)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(table.PAGE.read_text())
    results = {cell: f"{number} pieces" for number, cell in enumerate(CELLS)}
    table.write(results, page)
    later = dict.fromkeys(CELLS[3:9], "others")
    table.write(later, page)
    head, *lines = table.parsed(page.read_text())

    assert head == table.HEAD
    assert lines == table.rows(results | later)
    assert page.read_text().startswith(table.PAGE.read_text()[:1000])
