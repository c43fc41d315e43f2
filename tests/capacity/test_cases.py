"""The cases that take little time; all of them are tried end to end."""

import pytest

from tests.capacity.cases import CASES
from tests.support.server import ServerFactory

QUICK = ("dead", "worker killed", "memory", "vanished", "one key", "order", "together on 2")


@pytest.mark.parametrize("name", QUICK)
def test_a_server_carries_what_it_can(name: str, start_server: ServerFactory) -> None:
    found = list(CASES[name](start_server))
    assert found
    assert [finding for finding in found if not finding.good] == []
