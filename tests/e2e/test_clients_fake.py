"""LangChain, with a server in front of the fake claude; the providers' own SDKs have files of their own in tests/."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients.cells import CELLS, Cell, fill
from tests.e2e.clients.field import Field, playing


def is_tried(cell: Cell) -> bool:
    return cell.backend.name == "claude" and "LangChain" in cell.entry.name


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """A server with fake CLIs, and the clients, shared by the tests of this module."""
    with playing(tmp_path_factory.mktemp, real=False) as found:
        yield found


@pytest.mark.parametrize("cell", [cell for cell in CELLS if is_tried(cell)], ids=str)
def test_a_client_gets_what_it_would_get_from_the_provider(cell: Cell, field: Field) -> None:
    assert fill(cell, field)
