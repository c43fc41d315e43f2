"""More than a server can carry, and all that can happen to processes that wait: ``python -m tests.capacity``."""

import pytest

from tests.capacity.cases import CASES
from tests.capacity.findings import table
from tests.support.server import ServerFactory


@pytest.mark.parametrize("name", CASES)
def test_a_server_carries_what_it_can(name: str, start_server: ServerFactory) -> None:
    found = list(CASES[name](start_server))
    print(table(found))
    assert found
    assert [finding for finding in found if not finding.good] == []
